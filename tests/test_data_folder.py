from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compofa_tf import data as ct_data
from compofa_tf.data import images
from compofa_tf.errors import InputError
from compofa_tf.recipes.settings import DataSettings

SETTINGS = DataSettings(val_fraction=0.25, max_bad_share=0.5)


def pixels(seed: int = 0, size: tuple[int, int] = (12, 10)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def fill(folder: Path, count: int, *, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i:03d}.jpg").write_bytes(encoded(pixels(seed + i)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(("cat", "ant", "Bee")):
        fill(tmp_path / "set" / name, 8, seed=100 * seed)
    return tmp_path / "set"


def load(root: Path, **changes) -> ct_data.Data:
    arguments = {name: changes.pop(name) for name in ("seed", "workdir") if name in changes}
    return ct_data.load(f"folder:{root}", dataclasses.replace(SETTINGS, **changes), **arguments)


def refused(source: Path | str, match: str, **changes) -> str:
    with pytest.raises(InputError, match=match) as caught:
        ct_data.load(
            source if isinstance(source, str) else f"folder:{source}", dataclasses.replace(SETTINGS, **changes)
        )
    message = str(caught.value)
    assert "\n" not in message
    return message


def all_labels(dataset) -> np.ndarray:
    return np.concatenate([labels for _, labels in dataset.as_numpy_iterator()])


def test_classes_are_the_folders_sorted_by_name(root):
    data = load(root)
    assert data.labels == ("Bee", "ant", "cat")
    assert data.name == "set"
    assert (data.train_size, data.val_size) == (18, 6)
    labels = all_labels(data.eval(resolution=8, batch_size=4))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, [0, 0, 1, 1, 2, 2])


def test_labels_belong_to_their_images(tmp_path):
    for value, name in ((0, "black"), (255, "white")):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("RGB", (20, 20), (value,) * 3).save(tmp_path / name / f"{i}.png")
    data = load(tmp_path)
    resolutions = np.full(4, 8, np.int32)
    for x, y in data.train(batch_size=6, steps=4, resolutions=resolutions, seed=0).as_numpy_iterator():
        # Brightness may darken white by an eighth.
        np.testing.assert_array_equal(x.mean(axis=(1, 2, 3)) > 0.5, y == 1)


def test_the_automatic_split_is_stratified_and_follows_the_seed(root):
    first, again, other = load(root), load(root), load(root, seed=1)
    np.testing.assert_array_equal(first.val_ids, again.val_ids)
    assert set(first.val_ids) != set(other.val_ids)
    np.testing.assert_array_equal(np.bincount(other.images.labels[other.val_ids]), [2, 2, 2])


def test_an_image_keeps_its_side_when_another_is_added(root):
    before = load(root)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.jpg"))
    (root / "cat" / "zzz.jpg").write_bytes(encoded(pixels(999)))
    after = load(root)
    kept = {names[i] for i in before.val_ids}
    names.append("cat/zzz.jpg")
    assert len(kept - {sorted(names)[i] for i in after.val_ids}) <= 1


def test_train_and_val_folders_are_the_split(tmp_path):
    for split, count in (("train", 5), ("val", 2)):
        for name in ("a", "b"):
            fill(tmp_path / split / name, count)
    fill(tmp_path / "test" / "c", 1)
    data = load(tmp_path)
    assert (data.labels, data.train_size, data.val_size) == (("a", "b"), 10, 4)


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path / "train", 4)
    fill(tmp_path / "tram", 4)
    assert load(tmp_path).labels == ("train", "tram")


def test_hidden_and_other_files_are_ignored_and_subfolders_are_not(root):
    (root / ".git").mkdir()
    (root / "README.txt").write_text("about")
    (root / "cat" / "._000.jpg").write_bytes(b"resource fork")
    (root / "cat" / "notes.txt").write_text("none")
    (root / "cat" / ".thumbs").mkdir()
    (root / "cat" / ".thumbs" / "0.jpg").write_bytes(b"x")
    fill(root / "cat" / "more", 3, seed=50)
    (root / "cat" / "UPPER.PNG").write_bytes(encoded(pixels(7), "PNG"))
    data = load(root)
    assert data.skipped == ()
    assert data.train_size + data.val_size == 24 + 4


GOOD = {
    "cmyk.jpg": encoded(pixels().convert("CMYK")),
    "grey.jpg": encoded(pixels().convert("L")),
    "alpha.png": encoded(pixels().convert("RGBA"), "PNG"),
    "palette.png": encoded(pixels().convert("P"), "PNG"),
    "bits.png": encoded(pixels().convert("1"), "PNG"),
    "sixteen.png": encoded(Image.fromarray(np.arange(120, dtype=np.uint16).reshape(12, 10) * 500), "PNG"),
    "animated.png": encoded(pixels(), "PNG", save_all=True, append_images=[pixels(1)]),
    "gif.png": encoded(pixels(), "GIF", save_all=True, append_images=[pixels(1)]),
    "png.jpg": encoded(pixels(), "PNG"),
}
BAD = {
    "truncated.jpg": encoded(pixels(size=(80, 80)))[:-900],
    "truncated.png": encoded(pixels(), "PNG")[:-90],
    "header.jpg": encoded(pixels())[:40],
    "empty.jpg": b"",
    "text.jpg": b"this is no picture at all",
    "webp.png": encoded(pixels(), "WEBP", save_all=True, append_images=[pixels(1)]),
    "scan.tiff": encoded(pixels(), "TIFF"),
}


@pytest.mark.parametrize("cache", [True, False])
def test_unusual_images_are_read_as_rgb(root, cache):
    for name, content in GOOD.items():
        (root / "cat" / name).write_bytes(content)
    data = load(root, cache=cache)
    assert data.skipped == ()
    assert data.train_size + data.val_size == 24 + len(GOOD)
    both = np.concatenate([data.train_ids, data.val_ids])
    resolutions = np.full(8, 10, np.int32)
    for x, _ in data.train(batch_size=8, steps=8, resolutions=resolutions, seed=0).as_numpy_iterator():
        assert x.shape == (8, 10, 10, 3)
        assert np.isfinite(x).all()
    assert len(both) == len(set(both))


@pytest.mark.parametrize("name", ["cmyk.jpg", "sixteen.png", "alpha.png", "gif.png", "grey.jpg"])
def test_the_decoder_agrees_with_pillow(name):
    image = Image.open(io.BytesIO(GOOD[name]))
    if image.mode.startswith("I"):
        expected = np.repeat((np.asarray(image) >> 8)[..., None], 3, axis=2)
    else:
        expected = np.asarray(image.convert("RGB"))
    # Up to 6 levels of 255 between the two JPEG decoders; the other formats are exact.
    difference = np.abs(images.decode(GOOD[name]).numpy().astype(int) - expected)
    assert difference.max() <= (6 if name.endswith("jpg") else 0)


@pytest.mark.parametrize("cache", [True, False])
def test_undecodable_images_are_counted_named_and_skipped(root, cache, tmp_path):
    for name, content in BAD.items():
        (root / "cat" / name).write_bytes(content)
    (root / "cat" / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    data = load(root, cache=cache)
    assert [name for name, _ in data.skipped] == sorted(f"cat/{name}" for name in [*BAD, "dangling.jpg"])
    assert all(reason and "\n" not in reason for _, reason in data.skipped)
    assert (data.train_size, data.val_size) == (18, 6)
    resolutions = np.full(6, 9, np.int32)
    total = sum(len(y) for _, y in data.train(batch_size=6, steps=6, resolutions=resolutions, seed=0))
    assert total == 36
    assert len(all_labels(data.eval(resolution=9, batch_size=4))) == 6


def test_too_many_undecodable_images_stop_the_load(root):
    for name, content in BAD.items():
        (root / "ant" / name).write_bytes(content)
    message = refused(root, r"7 of 31 images \(22.6%\) cannot be decoded, more than the 10.0%", max_bad_share=0.1)
    assert "ant/empty.jpg (the file is empty or may not be read)" in message
    assert "and 4 more" in message
    assert len(list((root / "ant").iterdir())) == 8 + len(BAD)


def test_one_bad_image_among_many_good_batches_is_found(tmp_path):
    fill(tmp_path / "a", 70)
    fill(tmp_path / "b", 70)
    (tmp_path / "b" / "050.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    data = load(tmp_path, max_bad_share=0.01)
    assert [name for name, _ in data.skipped] == ["b/050.jpg"]
    assert data.train_size + data.val_size == 139


def test_images_of_one_size_are_held_decoded_and_others_are_not(root):
    assert load(root).images.pixels.shape == (24, 12, 3, 10)
    (root / "cat" / "other.png").write_bytes(encoded(pixels(size=(9, 9)), "PNG"))
    mixed = load(root).images
    assert mixed.pixels is None
    assert mixed.in_memory


def test_sets_above_the_memory_limit_are_read_from_disk(root, monkeypatch):
    held = load(root)
    monkeypatch.setattr(images, "MEMORY_LIMIT_BYTES", 1000)
    streamed = load(root)
    assert not streamed.images.in_memory
    assert streamed.images.pixels is None
    arguments = {"batch_size": 8, "steps": 2, "resolutions": np.full(2, 11, np.int32), "seed": 4}
    for (x, y), (u, v) in zip(held.train(**arguments), streamed.train(**arguments)):
        # Decoding a part of a JPEG smooths the colour at its border without knowing the neighbours.
        assert np.abs(x - u).mean() < 0.02
        np.testing.assert_array_equal(y, v)


def test_the_index_spares_the_second_scan_and_notices_changes(root, tmp_path, monkeypatch):
    (root / "cat" / "text.jpg").write_bytes(b"no picture")
    first = load(root, workdir=tmp_path / "run")
    assert (tmp_path / "run" / "data_index.json").is_file()
    probed: list[int] = []
    real = images._probe
    monkeypatch.setattr(images, "_probe", lambda *a: (probed.append(len(a[2])), real(*a)))
    second = load(root, workdir=tmp_path / "run")
    assert second.skipped == first.skipped
    np.testing.assert_array_equal(second.images.heights, first.images.heights)
    np.testing.assert_array_equal(second.val_ids, first.val_ids)
    (root / "cat" / "text.jpg").write_bytes(encoded(pixels(5)))
    assert load(root, workdir=tmp_path / "run").skipped == ()
    assert probed == [0, 1]


def test_a_damaged_index_is_made_anew(root, tmp_path):
    (tmp_path / "data_index.json").write_text('{"kind": "data_ind')
    assert load(root, workdir=tmp_path).train_size == 18
    assert (tmp_path / "data_index.json").read_text().endswith("}\n")


def test_the_index_of_another_folder_is_not_believed(root, tmp_path):
    load(root, workdir=tmp_path / "run")
    twin = tmp_path / "twin"
    for path in root.rglob("*.jpg"):
        target = twin / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x" * path.stat().st_size)
        os.utime(target, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    with pytest.raises(InputError, match="24 of 24 images"):
        load(twin, workdir=tmp_path / "run")


def test_names_that_are_not_utf8_or_very_long_are_read(root, tmp_path):
    odd = os.fsencode(root / "cat") + b"/caf\xe9.jpg"
    try:
        Path(os.fsdecode(odd)).write_bytes(encoded(pixels(3)))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    Path(os.fsdecode(os.fsencode(root / "cat") + b"/bad\xff.jpg")).write_bytes(b"no picture")
    (root / "cat" / ("x" * 251 + ".jpg")).write_bytes(encoded(pixels(4)))
    os.rename(root / "ant", os.fsencode(root) + b"/\xfcber")
    for cache in (True, False):
        data = load(root, cache=cache, workdir=tmp_path / "run")
        assert data.labels == ("Bee", "cat", "\\xfcber")
        assert data.train_size + data.val_size == 26
        assert [name for name, _ in data.skipped] == ["cat/bad\\xff.jpg"]
        assert len(all_labels(data.eval(resolution=8, batch_size=9))) == data.val_size
        str(data.skipped).encode("utf-8")


def test_folders_that_are_no_data_set_are_refused_by_name(tmp_path):
    refused(tmp_path / "gone", r"does not exist.*Received: folder:.*gone")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "is not a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no class folders")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "0.jpg").write_bytes(encoded(pixels()))
    refused(tmp_path / "flat", "put the images of each class into a folder of its own")
    fill(tmp_path / "one" / "cat", 3)
    refused(tmp_path / "one", "Only one class was found, 'cat'")
    fill(tmp_path / "hole" / "cat", 3)
    (tmp_path / "hole" / "dog").mkdir()
    refused(tmp_path / "hole", r"class folder .*hole/dog holds no JPEG or PNG image")
    fill(tmp_path / "single" / "cat", 3)
    fill(tmp_path / "single" / "dog", 1)
    refused(tmp_path / "single", r"Class 'dog' has 1 usable image")


def test_splits_that_do_not_match_are_refused(tmp_path):
    fill(tmp_path / "train" / "a", 2)
    fill(tmp_path / "train" / "b", 2)
    message = refused(tmp_path, "a train/ but no val/")
    assert f"folder:{tmp_path}/train" in message
    (tmp_path / "val").mkdir()
    refused(tmp_path, "a train/ but no val/")
    fill(tmp_path / "val" / "a", 2)
    refused(tmp_path, r"train has 1 class folder\(s\) that .*val lacks: b")
    fill(tmp_path / "val" / "b", 2)
    fill(tmp_path / "val" / "c", 2)
    refused(tmp_path, r"val has 1 class folder\(s\) that .*train lacks: c")
    fill(tmp_path / "only" / "val" / "a", 1)
    refused(tmp_path / "only", "a val/ but no train/")


def test_a_class_of_broken_images_is_refused(tmp_path):
    for split in ("train", "val"):
        fill(tmp_path / split / "a", 9)
        (tmp_path / split / "b").mkdir()
        (tmp_path / split / "b" / "0.jpg").write_bytes(b"no")
    refused(tmp_path, "Class 'b' has no usable training image")


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("digit", "did you mean digits"),
        ("folders:x", "did you mean folder"),
        ("tfds:", "did you mean tfds"),
        ("", "NAME"),
    ],
)
def test_unknown_sources_name_the_known_ones(source, hint):
    assert hint in refused(source, r'"digits", "folder:PATH", "images:PATH" or "tfds:NAME".*Received: source=')


def test_a_bare_path_is_answered_with_the_prefix(root):
    refused(str(root), f"write folder:{root}")


def test_images_of_any_folders_without_classes(tmp_path):
    fill(tmp_path / "photos" / "holiday" / "sea", 3, seed=1)
    fill(tmp_path / "photos", 2, seed=2)
    fill(tmp_path / "photos" / ".hidden", 2, seed=3)
    data = ct_data.load(f"images:{tmp_path / 'photos'}", SETTINGS)
    assert (data.labels, data.labelled, data.train_size, data.val_size) == ((), False, 5, 0)
    with pytest.raises(InputError, match="Training needs images with classes"):
        data.train(batch_size=2, steps=1, resolutions=np.array([16]), seed=0)
    with pytest.raises(InputError, match=r"Evaluation needs images with classes.*'photos', images without"):
        data.eval(resolution=16, batch_size=2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, message in (("empty", "holds no JPEG or PNG"), ("file", "is not a folder"), ("none", "does not exist")):
        refused(f"images:{tmp_path / name}", message)
