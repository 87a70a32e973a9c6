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
    with pytest.raises(InputError, match=r"one of symmetric, imagenet. Received: normalization='torch'"):
        Normalization.named("torch")
    with pytest.raises(InputError, match="must be positive"):
        Normalization(mean=(0.5, 0.5, 0.5), std=(1.0, 0.0, 1.0))
    with pytest.raises(InputError, match=r"three finite numbers. Received: mean=\(0.5,\)"):
        Normalization(mean=(0.5,), std=(1.0, 1.0, 1.0))


def test_no_tensorflow_is_imported():
    code = "import sys, compofa_tf.data, compofa_tf.data.normalization\n"
    code += "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
