"""What is said of a data set."""

from __future__ import annotations

import pytest
from folder_cases import CASES, classes, fill
from pictures import BAD, SETTINGS, picture

from compofa_tf.data import store
from compofa_tf.data.survey import Survey
from compofa_tf.recipes.settings import DataSettings


def said(root, **changes) -> str:
    return "\n".join(Survey.of(f"folder:{root}", DataSettings(**{"val_fraction": 0.25, **changes})).lines())


def made(name, tmp_path):
    CASES[name].make(tmp_path / "set")
    return tmp_path / "set"


def test_classes_with_counts_per_split(tmp_path):
    lines = said(made("three splits", tmp_path)).splitlines()
    assert lines[0].endswith("3 classes, 51 pictures (splits: train/; valid/ is val; test/).")
    assert [line.split() for line in lines[1:6]] == [
        ["class", "train", "val", "test"],
        ["daisy", "10", "3", "4"],
        ["rose", "10", "3", "4"],
        ["tulip", "10", "3", "4"],
        ["all", "30", "9", "12"],
    ]
    assert "Ignored: 1 not a picture: README.dataset.txt." in lines


def test_what_is_wrong_with_a_set_is_said(tmp_path):
    text = said(made("copies", tmp_path))
    assert "Warning: 2 times the same picture in two splits" in text
    assert "train/cat/p003.jpg = val/cat/copy_of_p003.jpg" in text
    assert "Warning: 1 times the same picture under two classes: train/cat/p005.jpg = train/dog/p005_again.jpg." in text


def test_uneven_and_small_classes_are_said(tmp_path):
    text = said(made("uneven", tmp_path))
    assert "Uneven: common has 12 times as many training pictures as scarce (60 and 5)" in text
    assert "Small: scarce has 5 training pictures, the fewest of all." in text


def test_turned_pictures_are_said(tmp_path):
    root = made("orientation", tmp_path)
    assert "EXIF says that 7 pictures are turned; they are turned upright." in said(root)
    assert "they are left as stored" in said(root, exif_orientation=False)


def test_unusable_pictures_are_named_with_the_reason(tmp_path):
    classes(tmp_path, 9)
    for name, content in BAD.items():
        (tmp_path / "rose" / name).write_bytes(content)
    text = said(tmp_path, max_bad_share=0.5)
    assert f"Unusable: {len(BAD)}, left out: rose/empty.jpg (the file is empty or may not be read)" in text
    assert f"and {len(BAD) - 3} more." in text


def test_automatic_splits_and_a_test_that_is_missing_are_said(tmp_path):
    classes(tmp_path, 12)
    text = said(tmp_path)
    assert "val: 25% of each class, chosen by name." in text and "No test split" in text
    text = said(tmp_path, test_fraction=0.25)
    assert "test: 25%" in text and "No test split" not in text


def test_groups_are_said(tmp_path):
    for name, colour in (("cat", 0), ("dog", 1)):
        for burst in range(4):
            fill(tmp_path / name / f"burst{burst}", colour, 3, first=10 * burst)
    assert "val: 25% of each class, chosen by name, kept together by folder." in said(tmp_path, group_by="folder")


def test_many_classes_are_not_all_listed(tmp_path):
    for i in range(30):
        fill(tmp_path / f"class{i:02}", i % 3, 2 + i % 5, first=10 * i)
    lines = said(tmp_path).splitlines()
    assert sum(line.startswith("  class") for line in lines) == 25
    assert "  (the 12 largest and smallest classes are shown)" in lines


@pytest.mark.parametrize(
    ("side", "limit", "message"),
    [
        (40, 1 << 30, "all pictures are held decoded, about 1 MiB."),
        (900, 1 << 30, "12 are brought into another form once"),
        (40, 100, "pictures are read from disk, batch by batch."),
    ],
)
def test_memory_is_estimated(tmp_path, monkeypatch, side, limit, message):
    monkeypatch.setattr(store, "MEMORY_LIMIT_BYTES", limit)
    for k, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i in range(6):
            picture(side, side, seed=10 * k + i).save(tmp_path / name / f"{i}.jpg")
    assert message in said(tmp_path, resolutions=(64,))


def test_pictures_without_classes_have_no_table(tmp_path):
    fill(tmp_path / "x", 0, 3)
    lines = Survey.of(f"images:{tmp_path}", SETTINGS).lines()
    assert lines[0].endswith(": 3 pictures (pictures without classes).") and len(lines) == 3
