"""Images however they come: arrays and batches, with labels and without."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from compofa_tf.errors import InputError
from compofa_tf.nets.batches import image_batches

X = np.random.default_rng(0).normal(size=(5, 8, 6, 3)).astype(np.float32)
LABELS = np.arange(5)


@pytest.mark.parametrize(
    ("images", "sizes"),
    [
        (X, [2, 2, 1]),
        (tf.constant(X), [2, 2, 1]),
        (tf.data.Dataset.from_tensor_slices(X).batch(3), [3, 2]),
        (tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(4), [4, 1]),
        ([X[:1], tf.constant(X[1:])], [1, 4]),
        ([(X, LABELS)], [5]),
        ([], []),
    ],
    ids=["array", "tensor", "dataset", "labelled", "list", "pairs", "none"],
)
def test_every_image_comes_once_and_in_order(images, sizes):
    batches = list(image_batches(images, batch_size=2))
    assert [len(batch) for batch in batches] == sizes
    assert all(isinstance(batch, np.ndarray) and batch.dtype == np.float32 for batch in batches)
    if sizes:
        np.testing.assert_array_equal(np.concatenate(batches), X)


def test_whole_numbers_become_floats():
    (batch,) = image_batches(np.full((2, 4, 4, 3), 7, np.uint8), batch_size=2)
    assert batch.dtype == np.float32 and (batch == 7).all()


@pytest.mark.parametrize(
    ("images", "shape", "message"),
    [
        (X[0], (None, None, 3), r"Images must be \[count, height, width, 3\]\. Received: shape=\(2, 6, 3\)"),
        ([X[..., :1]], (None, None, 3), r"Images must be \[count, height, width, 3\]\. .*shape=\(5, 8, 6, 1\)"),
        (X, (8, 8, 3), r"Images must be \[count, 8, 8, 3\]\. Received: shape=\(2, 8, 6, 3\)"),
        (X * np.inf, (8, 6, 3), r"Images must be finite"),
    ],
)
def test_other_images_are_refused(images, shape, message):
    with pytest.raises(InputError, match=message):
        list(image_batches(images, batch_size=2, shape=shape))
