from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from compofa_tf.data import Normalization
from compofa_tf.errors import InputError


@pytest.mark.parametrize("name", ["symmetric", "imagenet"])
def test_normalization_is_the_same_for_numpy_and_tensors(name):
    normalization = Normalization.named(name)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    expected = (pixels / 255 - np.asarray(normalization.mean)) / np.asarray(normalization.std)
    for given in (pixels, pixels.astype(np.float64), tf.constant(pixels, tf.float32)):
        got = np.asarray(normalization.apply(given))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert normalization.to_json() == {"name": name, "mean": list(normalization.mean), "std": list(normalization.std)}


def test_impossible_normalizations_are_refused():
    with pytest.raises(
        InputError, match=r"one of symmetric, imagenet, pixels, centered. Received: normalization='torch'"
    ):
        Normalization.named("torch")
    with pytest.raises(InputError, match="must be positive"):
        Normalization(mean=(0.5, 0.5, 0.5), std=(1.0, 0.0, 1.0))
    with pytest.raises(InputError, match=r"three finite numbers. Received: mean=\(0.5,\)"):
        Normalization(mean=(0.5,), std=(1.0, 1.0, 1.0))


def test_no_tensorflow_is_imported():
    code = "import sys, compofa_tf.data, compofa_tf.normalization\n"
    code += "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["symmetric", "imagenet", "pixels", "centered"])
def test_images_that_were_normalised_otherwise(name):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    other = Normalization.named(name)
    for own in map(Normalization.named, ("symmetric", "imagenet", "pixels")):
        np.testing.assert_allclose(own.change(own.apply(pixels), to=other), other.apply(pixels), atol=2e-4)
    assert other.uniform == (name != "imagenet")


def test_pixels_and_centered_keep_every_pixel():
    pixels = np.arange(256, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    np.testing.assert_array_equal(Normalization.named("pixels").apply(pixels).round(3), pixels)
    np.testing.assert_allclose(Normalization.named("centered").apply(pixels), (pixels - 128) / 128, atol=1e-6)
