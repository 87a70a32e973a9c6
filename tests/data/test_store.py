"""Pictures in another form: made once, kept by content and setting, and shared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pictures import SETTINGS as PLAIN
from pictures import picture

from compofa_tf.data import load, pictures, sources, store
from compofa_tf.errors import InputError

SETTINGS = dataclasses.replace(PLAIN, resolutions=(32, 48))
SIDE = 128
"""What ``wanted_side`` says for these."""


@pytest.fixture
def photos(tmp_path):
    """Four large photos of two classes, one of them turned, and two small ones."""
    for k, name in enumerate(("sea", "wood")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(2):
            picture(900, 600, seed=10 * k + i).save(tmp_path / "photos" / name / f"{i}.jpg", quality=95)
        picture(60, 50, seed=20 + k).save(tmp_path / "photos" / name / "small.png")
    return tmp_path / "photos"


def loaded(photos, **changes):
    said = []
    data = load(
        f"folder:{photos}",
        dataclasses.replace(SETTINGS, **{"val_fraction": 0.34, **changes}),
        workdir=photos.parent / "run",
        log=said.append,
    )
    return data, said


def made(photos):
    return sorted(path for path in (photos.parent / "run" / "pictures").rglob("*") if path.is_file())


def test_large_pictures_are_made_smaller_once_and_said(photos):
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    data, said = loaded(photos)
    assert len(made(photos)) == 4
    assert len(said) == 1 and "Preparing 4 pictures in" in said[0] and "at most 192 px" in said[0]
    assert sorted(data.images.heights) == [50, 50, SIDE, SIDE, SIDE, SIDE]
    stamps = [path.stat().st_mtime_ns for path in made(photos)]
    again, said = loaded(photos)
    assert said == [] and [path.stat().st_mtime_ns for path in made(photos)] == stamps
    np.testing.assert_array_equal(again.images.contents, data.images.contents)
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before


def test_another_setting_has_files_of_its_own(photos):
    loaded(photos)
    loaded(photos, resolutions=(96,))
    assert len(made(photos)) == 8
    assert {path.parents[1].name for path in made(photos)} == {"128-upright", "192-upright"}


def test_the_same_content_elsewhere_is_not_made_again(photos):
    loaded(photos)
    stamps = [path.stat().st_mtime_ns for path in made(photos)]
    photos.rename(photos.parent / "moved")
    load(f"folder:{photos.parent / 'moved'}", SETTINGS, workdir=photos.parent / "run")
    assert [path.stat().st_mtime_ns for path in made(photos)] == stamps


def test_a_damaged_file_of_the_store_is_made_again(photos):
    loaded(photos)
    first, *_ = made(photos)
    first.write_bytes(b"torn")
    data, said = loaded(photos)
    assert "Preparing 1 pictures" in said[0] and first.stat().st_size > 1000
    assert not data.skipped


def test_a_picture_that_broke_since_the_check_is_named(photos):
    listing, findings = sources.find(f"folder:{photos}", SETTINGS)
    (photos / "sea" / "0.jpg").write_bytes(b"gone")
    usable = store.usable(listing, findings, settings=SETTINGS, folder=photos.parent / "run")
    assert [one.reason for one in usable.findings if one.reason] == ["the file can no longer be read"]
    assert usable.widths[0] == 0


def test_a_full_disk_is_one_sentence(photos, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.files, "atomic_write", full)
    with pytest.raises(InputError, match=r"cannot be prepared in \S+run/pictures/128-upright .*No space.*make room"):
        loaded(photos)


def test_pictures_held_in_memory_are_made_smaller_there(photos, tmp_path):
    listing, findings = sources.find(f"folder:{photos}", SETTINGS)
    held = dataclasses.replace(listing, items=[Path(path).read_bytes() for path in listing.items])
    usable = store.usable(held, findings, settings=SETTINGS, folder=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert all(isinstance(item, bytes) for item in usable.items)
    assert sorted(usable.heights) == [50, 50, SIDE, SIDE, SIDE, SIDE]


def test_a_smaller_form_gives_the_same_inputs_within_noise(photos, monkeypatch):
    """The pictures differ by less than one coding as JPEG changes them."""
    small, _ = loaded(photos)
    monkeypatch.setattr(pictures, "ENLARGED", 100.0)
    direct, _ = loaded(photos)
    assert direct.images.heights.max() == 600
    for (x, labels), (u, same) in zip(*(d.eval(resolution=48, batch_size=8) for d in (small, direct))):
        np.testing.assert_array_equal(labels, same)
        assert np.abs(x - u).mean() < 0.02  # of the range [-1, 1]


def test_the_expected_size_is_about_right(photos):
    _, findings = sources.find(f"folder:{photos}", SETTINGS)
    todo = store.to_prepare(findings, SETTINGS)
    loaded(photos)
    real = sum(path.stat().st_size for path in made(photos))
    assert 0.2 < real / store.expected_bytes([findings[i] for i in todo], SETTINGS) < 3
