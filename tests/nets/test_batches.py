"""Images however they come: arrays and batches, with labels and without."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from compofa_tf.errors import InputError
from compofa_tf.nets.batches import image_batches, repeatable

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


def twice(images):
    """The images of two passes."""
    return [[np.concatenate(list(image_batches(images, batch_size=2)))] for _ in range(2)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: X,
        lambda: [X[:2], X[2:]],
        lambda: (X[i : i + 1] for i in range(5)),
        lambda: iter([(X, LABELS)]),
        lambda: lambda: ([X[i : i + 1]] for i in range(5)),
        lambda: tf.data.Dataset.from_generator(lambda: iter(X), output_signature=tf.TensorSpec((8, 6, 3))).batch(2),
    ],
    ids=["array", "list", "generator", "labelled iterator", "function", "dataset of a generator"],
)
def test_images_can_be_gone_through_again(make):
    kept = repeatable(make())
    for (found,) in twice(kept):
        np.testing.assert_array_equal(found, X)


@pytest.mark.parametrize(
    "make",
    [
        lambda: itertools.repeat(X),
        lambda: lambda: itertools.repeat(X),
        lambda: tf.data.Dataset.from_tensors(X).repeat(),
    ],
    ids=["iterator", "function", "dataset"],
)
def test_what_never_ends_is_cut_and_said_once(make, capsys):
    kept = repeatable(make(), most=12)
    assert [len(found) for (found,) in twice(kept)] == [15, 15]
    assert capsys.readouterr().out.count("the first 15 are used, for nobody knows whether they end.") == 1


def test_known_lengths_are_never_cut():
    known = tf.data.Dataset.from_tensors(X).repeat(10)
    assert repeatable(known, most=12) is known
    assert repeatable(X, most=2) is X and repeatable(None) is None
