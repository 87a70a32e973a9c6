from __future__ import annotations

import numpy as np
import pytest
from pictures import SETTINGS, all_labels, encoded, fill, load_folder, noise, refused
from PIL import Image

from compofa_tf.data import load
from compofa_tf.errors import InputError


def test_classes_are_the_folders_sorted_by_name(root):
    data = load_folder(root)
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
    data = load_folder(tmp_path)
    resolutions = np.full(4, 8, np.int32)
    for x, y in data.train(batch_size=6, steps=4, resolutions=resolutions, seed=0).as_numpy_iterator():
        # Brightness may darken white by an eighth.
        np.testing.assert_array_equal(x.mean(axis=(1, 2, 3)) > 0.5, y == 1)


def test_train_and_val_folders_are_the_split(tmp_path):
    for split, count in (("train", 5), ("val", 2)):
        for name in ("a", "b"):
            fill(tmp_path / split / name, count)
    fill(tmp_path / "test" / "c", 1)
    data = load_folder(tmp_path)
    assert (data.labels, data.train_size, data.val_size) == (("a", "b"), 10, 4)


def test_hidden_and_other_files_are_ignored_and_subfolders_are_not(root):
    (root / ".git").mkdir()
    (root / "README.txt").write_text("about")
    (root / "cat" / "._000.jpg").write_bytes(b"resource fork")
    (root / "cat" / "notes.txt").write_text("none")
    (root / "cat" / ".thumbs").mkdir()
    (root / "cat" / ".thumbs" / "0.jpg").write_bytes(b"x")
    fill(root / "cat" / "more", 3, seed=50)
    (root / "cat" / "UPPER.PNG").write_bytes(encoded(noise(7), "PNG"))
    data = load_folder(root)
    assert data.skipped == ()
    assert data.train_size + data.val_size == 24 + 4


def test_folders_that_are_no_data_set_are_refused_by_name(tmp_path):
    refused(tmp_path / "gone", r"does not exist.*Received: folder:.*gone")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "is not a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no class folders")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "0.jpg").write_bytes(encoded(noise()))
    refused(tmp_path / "flat", "put the images of each class into a folder of its own")
    fill(tmp_path / "one" / "cat", 3)
    refused(tmp_path / "one", "Only one class was found, 'cat'")
    fill(tmp_path / "hole" / "cat", 3)
    (tmp_path / "hole" / "dog").mkdir()
    refused(tmp_path / "hole", r"class folder .*hole/dog is empty")
    fill(tmp_path / "single" / "cat", 3)
    fill(tmp_path / "single" / "dog", 1)
    refused(tmp_path / "single", r"Class 'dog' has 1 usable image")


def test_splits_that_do_not_match_are_refused(tmp_path):
    fill(tmp_path / "train" / "a", 2)
    fill(tmp_path / "train" / "b", 2)
    fill(tmp_path / "val" / "a", 2)
    refused(tmp_path, r"train has 1 class folder\(s\) that .*val lacks: b")
    fill(tmp_path / "val" / "b", 2)
    fill(tmp_path / "val" / "c", 2)
    refused(tmp_path, r"val has 1 class folder\(s\) that .*train lacks: c")
    fill(tmp_path / "only" / "val" / "a", 1)
    refused(tmp_path / "only", "a val/ but no train/")


def test_images_of_any_folders_without_classes(tmp_path):
    fill(tmp_path / "photos" / "holiday" / "sea", 3, seed=1)
    fill(tmp_path / "photos", 2, seed=2)
    fill(tmp_path / "photos" / ".hidden", 2, seed=3)
    data = load(f"images:{tmp_path / 'photos'}", SETTINGS)
    assert (data.labels, data.labelled, data.train_size, data.val_size) == ((), False, 5, 0)
    with pytest.raises(InputError, match="Training needs images with classes"):
        data.train(batch_size=2, steps=1, resolutions=np.array([16]), seed=0)
    with pytest.raises(InputError, match=r"Evaluation needs images with classes.*'photos', images without"):
        data.eval(resolution=16, batch_size=2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, message in (("empty", "holds no picture"), ("file", "is not a folder"), ("none", "does not exist")):
        refused(f"images:{tmp_path / name}", message)
