from __future__ import annotations

import numpy as np
import pytest
from pictures import BAD, encoded, fill, load_folder, noise, refused

from compofa_tf.data import load


def test_digits_are_the_uci_set_with_a_fixed_stratified_split(digits):
    assert (digits.name, digits.classes, digits.labels) == ("digits", 10, tuple("0123456789"))
    assert (digits.train_size, digits.val_size, digits.skipped) == (1438, 359, ())
    per_class = np.bincount(digits.images.labels[digits.val_ids])
    assert per_class.min() >= 35
    assert per_class.max() <= 37
    assert not set(digits.train_ids) & set(digits.val_ids)
    again = load("digits", digits.settings, seed=5)
    np.testing.assert_array_equal(again.val_ids, digits.val_ids)


def test_digits_pixels_are_those_of_scikit_learn(digits):
    sklearn = pytest.importorskip("sklearn.datasets", reason="compares with the set as scikit-learn ships it")
    theirs = sklearn.load_digits()
    ours = digits.images.pixels.numpy()[:, :, 0, :]
    np.testing.assert_array_equal(ours, np.round(theirs.images * 255 / 16))
    np.testing.assert_array_equal(digits.images.labels, theirs.target)


def test_the_automatic_split_is_stratified_and_follows_the_seed(root):
    first, again, other = load_folder(root), load_folder(root), load_folder(root, seed=1)
    np.testing.assert_array_equal(first.val_ids, again.val_ids)
    assert set(first.val_ids) != set(other.val_ids)
    np.testing.assert_array_equal(np.bincount(other.images.labels[other.val_ids]), [2, 2, 2])


def test_an_image_keeps_its_side_when_another_is_added(root):
    before = load_folder(root)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.jpg"))
    (root / "cat" / "zzz.jpg").write_bytes(encoded(noise(999)))
    after = load_folder(root)
    kept = {names[i] for i in before.val_ids}
    names.append("cat/zzz.jpg")
    assert len(kept - {sorted(names)[i] for i in after.val_ids}) <= 1


def test_too_many_undecodable_images_stop_the_load(root):
    for name, content in BAD.items():
        (root / "ant" / name).write_bytes(content)
    message = refused(root, r"7 of 31 images \(22.6%\) cannot be decoded, more than the 10.0%", max_bad_share=0.1)
    assert "ant/empty.jpg (the file is empty or may not be read)" in message
    assert "and 4 more" in message
    assert len(list((root / "ant").iterdir())) == 8 + len(BAD)


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
    assert hint in refused(
        source, r'"digits", "folder:PATH", "csv:FILE", "images:PATH" or "tfds:NAME".*Received: source='
    )


def test_a_bare_path_is_answered_with_the_prefix(root):
    refused(str(root), f"write folder:{root}")
