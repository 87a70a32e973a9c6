"""Folders as people have them: what is understood of each, and what is refused because it can mean two things."""

from __future__ import annotations

import re

import numpy as np
import pytest
from folder_cases import CASES, COLOURS, classes, fill
from pictures import SETTINGS

from compofa_tf.data import load
from compofa_tf.data.survey import Survey
from compofa_tf.errors import InputError


def surveyed(root, **changes) -> Survey:
    return Survey.of(f"folder:{root}", SETTINGS.__class__(**{"val_fraction": 0.25, **changes}))


@pytest.mark.parametrize("name", CASES)
def test_folders_are_understood(name, tmp_path):
    case = CASES[name]
    case.make(tmp_path / "set")
    survey = surveyed(tmp_path / "set")
    train, val, test = map(len, survey.ids)
    assert survey.listing.classes == case.classes
    assert (train + val, test) == case.counts
    assert case.val is None or val == case.val
    assert sum(one.count for one in survey.listing.ignored) == case.ignored
    assert survey.unusable == ()
    assert survey.counts.sum() == train + val + test and survey.counts[:2].min() > 0


@pytest.mark.parametrize(
    "name", ["formats", "orientation", "training and testing", "composed names", "odd names of files"]
)
def test_every_picture_arrives_with_its_colour_label_and_turn(name, tmp_path):
    case = CASES[name]
    case.make(tmp_path / "set")
    data = load(f"folder:{tmp_path / 'set'}", SETTINGS, workdir=tmp_path / "run")
    seen = 0
    for role in ("train", "val", "test"):
        ids = {"train": data.train_ids, "val": data.val_ids, "test": data.test_ids}[role]
        if not len(ids):
            continue
        for x, labels in data.eval(resolution=40, batch_size=8, role=role).as_numpy_iterator():
            pixels = (x + 1) * 127.5
            for image, label in zip(pixels, labels):
                colour = {"plain": 0, "kinds": 1, "turned": 2}.get(case.classes[label], label)
                assert np.abs(image[20, 20] - COLOURS[colour]).max() < 25
                if case.classes[label] != "turned":  # the square of a wide picture has no edge
                    assert image[:, :3].mean() > image[:, -3:].mean() + 15
                seen += 1
    assert seen == sum(case.counts)
    turned = [(w, h) for w, h in zip(data.images.widths, data.images.heights) if w != h]
    assert turned == ([(64, 40)] * 8 if name == "orientation" else [])


def test_orientation_can_be_left_alone(tmp_path):
    CASES["orientation"].make(tmp_path / "set")
    data = load(f"folder:{tmp_path / 'set'}", SETTINGS.__class__(exif_orientation=False))
    assert sorted(zip(data.images.widths.tolist(), data.images.heights.tolist()))[:4] == [(40, 64)] * 4


AMBIGUOUS = {
    "a split name among class names": (
        ("cat", "dog", "test"),
        (),
        r"'cat', 'dog', 'test'.*'cat', 'dog'.*test/ without",
    ),
    "train and tram": (("train", "tram"), (), r"'train', 'tram'.*'tram'.*train/ without"),
    "class folders beside each other": ((), ("left", "right"), r"'left', 'right'.*'cat', 'dog'.*left/ and right/ are"),
    "class folders again inside": (("cat", "dog"), ("pets",), r"'cat', 'dog', 'pets'.*'cat', 'dog'.*pets/ are parts"),
    "a split among class folders": (("cat", "dog"), ("train",), r"'cat', 'dog', 'train'.*'cat', 'dog'.*train/ are"),
}
"""Folders with pictures, folders with the class folders cat and dog, and the two readings."""


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_can_mean_two_things_is_refused_with_both_and_each_can_be_chosen(name, tmp_path):
    flat, nested, message = AMBIGUOUS[name]
    root = tmp_path / "my set"
    for i, folder in enumerate(flat):
        fill(root / folder, i % 3, 6, first=100 * i)
    for i, folder in enumerate(nested):
        classes(root / folder, 6, names=("cat", "dog"), first=50 * (i + 1))
    with pytest.raises(InputError, match="in two ways") as caught:
        surveyed(root)
    text = str(caught.value)
    assert re.search(message, text), text
    assert text.count(f"--data 'folder:{root}'") == 2
    assert surveyed(root, layout="classes").listing.classes == tuple(sorted((*flat, *nested)))
    inner = surveyed(root, layout="splits").listing.classes if name != "train and tram" else ("cat", "dog")
    assert inner == ("cat", "dog")


def test_splits_alone_without_class_folders_are_refused(tmp_path):
    for name in ("train", "test"):
        fill(tmp_path / name, 0, 3)
    with pytest.raises(InputError, match=r"test/ and train/ hold pictures and no class folders.*csv:FILE"):
        surveyed(tmp_path)


def test_pictures_beside_class_folders_are_named(tmp_path):
    classes(tmp_path, 4)
    fill(tmp_path, 0, 2, first=50)
    (found,) = {one.reason for one in surveyed(tmp_path).listing.ignored}
    assert found == "in no class folder"
    assert [one.name for one in surveyed(tmp_path).listing.ignored] == ["p050.jpg", "p051.jpg"]


@pytest.mark.parametrize("splits", [False, True])
def test_work_directories_beside_the_pictures_are_no_class(tmp_path, splits):
    for i, split in enumerate(("train", "validation", "test") if splits else (".",)):
        classes(tmp_path / split, 6, first=50 * i)
    fill(tmp_path / "runs" / "flowers" / "pictures" / "ab", 0, 3)
    (tmp_path / "runs" / "flowers" / "recipe.json").write_text("{}")
    survey = surveyed(tmp_path)
    assert survey.listing.classes == ("daisy", "rose", "tulip")
    assert [(one.name, one.reason) for one in survey.listing.ignored] == [
        ("runs/flowers", "a work directory of a training")
    ]


def test_other_folders_beside_splits_are_left_out(tmp_path):
    for i, split in enumerate(("train", "validation")):
        classes(tmp_path / split, 6, first=50 * i)
    fill(tmp_path / "previews" / "small", 0, 3, first=200)
    survey = surveyed(tmp_path)
    assert survey.counts.sum() == 36
    assert [one.name for one in survey.listing.ignored] == ["previews/"]


def test_a_test_split_may_lack_a_class_and_labels_do_not_slip(tmp_path):
    names = ("0", "90", "180", "270")
    for k, name in enumerate(names):
        fill(tmp_path / "train" / name, k % 3, 5, first=20 * k)
        if name != "180":
            fill(tmp_path / "test" / name, k % 3, 3, first=200 + 20 * k)
    survey = surveyed(tmp_path)
    assert survey.listing.classes == ("0", "180", "270", "90")
    assert survey.counts[2].tolist() == [3, 0, 3, 3]
    for i in survey.ids[2]:
        assert survey.listing.names[i].split("/")[1] == survey.listing.classes[survey.listing.labels[i]]


def test_names_are_one_line(tmp_path):
    classes(tmp_path, 4)
    (tmp_path / "rose" / "p000.jpg").rename(tmp_path / "rose" / "a\nb\x1b[31m.jpg")
    (name,) = [name for name in surveyed(tmp_path).listing.names if "\\n" in name]
    assert name == "rose/a\\nb\\x1b[31m.jpg"


def test_a_folder_of_other_files_is_no_class(tmp_path):
    classes(tmp_path, 4)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "p000.xml").write_text("<a/>")
    survey = surveyed(tmp_path)
    assert survey.listing.classes == ("daisy", "rose", "tulip")
    assert [one.name for one in survey.listing.ignored] == ["annotations/p000.xml"]


def test_a_test_split_trains_nothing_and_chooses_nothing(tmp_path):
    classes(tmp_path / "train", 8)
    classes(tmp_path / "TEST", 3, first=100)
    survey = surveyed(tmp_path)
    names = [{survey.listing.names[i].partition("/")[0] for i in ids} for ids in survey.ids]
    assert names == [{"train"}, {"train"}, {"TEST"}]
