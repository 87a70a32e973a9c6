from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from pictures import batches, take

from compofa_tf.data import dataset


@pytest.mark.parametrize("name", ["digits", "photos"])
def test_batches_have_the_promised_types_and_one_resolution_each(name, request):
    data = request.getfixturevalue(name)
    resolutions = np.asarray([8, 20, 12, 8, 9], np.int32)
    pipeline = data.train(batch_size=5, steps=5, resolutions=resolutions, seed=0)
    found, promised = batches(pipeline), pipeline.element_spec
    for (x, y), resolution in zip(found, resolutions):
        assert x.shape == (5, resolution, resolution, 3)
        assert (x.dtype, y.dtype, y.shape) == (np.float32, np.int32, (5,))
        assert x.min() >= -1
        assert x.max() <= 1
    assert promised[0].shape.as_list() == [5, None, None, 3]
    assert promised[1] == tf.TensorSpec([5], tf.int32)


@pytest.mark.parametrize("name", ["digits", "photos"])
def test_a_resumed_run_gets_what_the_uninterrupted_one_gets(name, request):
    data = request.getfixturevalue(name)
    resolutions = np.resize(np.asarray([8, 12, 10], np.int32), 8)
    whole = take(data, batch_size=7, steps=8, resolutions=resolutions)
    for start in (3, 7):
        rest = take(data, batch_size=7, start_step=start, steps=8 - start, resolutions=resolutions)
        assert len(rest) == 8 - start
        for (x, y), (u, v) in zip(whole[start:], rest):
            np.testing.assert_array_equal(x, u)
            np.testing.assert_array_equal(y, v)


def test_seed_and_step_change_the_batch(digits):
    first = take(digits)
    assert all((x == u).all() for (x, _), (u, _) in zip(first, take(digits)))
    assert not (first[0][0] == take(digits, seed=1)[0][0]).all()
    assert not (first[0][0] == first[1][0]).all()


def test_batches_may_be_larger_than_the_training_set(photos):
    (_, labels), *_ = take(photos, batch_size=3 * photos.train_size, steps=1)
    np.testing.assert_array_equal(np.bincount(labels), [3 * photos.train_size // 2] * 2)


def test_eval_has_a_fixed_order_and_a_balanced_subset(digits):
    whole = np.concatenate([y for _, y in batches(digits.eval(resolution=8, batch_size=100))])
    np.testing.assert_array_equal(whole, digits.images.labels[digits.val_ids])
    some = batches(digits.eval(resolution=8, batch_size=20, limit=50))
    assert [len(y) for _, y in some] == [20, 20, 10]
    np.testing.assert_array_equal(np.bincount(np.concatenate([y for _, y in some])), [5] * 10)
    again = batches(digits.eval(resolution=8, batch_size=20, limit=50))
    np.testing.assert_array_equal(some[0][0], again[0][0])
    everything = batches(digits.eval(resolution=8, batch_size=1000, limit=10_000))
    assert len(everything[0][1]) == digits.val_size


def test_calibration_takes_training_images_without_augmentation(digits):
    found = batches(digits.calibration(resolution=8, batch_size=32, count=45))
    assert [len(y) for _, y in found] == [32, 13]
    labels = np.concatenate([y for _, y in found])
    assert np.bincount(labels).min() == 4
    assert np.bincount(labels).max() == 5
    assert [len(set(y)) for _, y in found] == [10, len(set(found[1][1]))] and len(set(found[1][1])) > 4
    x = np.concatenate([x for x, _ in found])
    # At the native 8 pixels eval preprocessing changes nothing: each image is found again among the training ones.
    known = digits.images.pixels.numpy()[digits.train_ids][:, :, 0, :].reshape(-1, 64)
    mine = np.round((x[..., 0].reshape(-1, 64) + 1) * 127.5).astype(np.uint8)
    assert {row.tobytes() for row in mine} <= {row.tobytes() for row in known}
    other = batches(digits.calibration(resolution=8, batch_size=45, count=45, seed=1))[0][0]
    assert not (other == x).all()
    assert len(batches(digits.calibration(resolution=8, batch_size=5000, count=5000))[0][1]) == digits.train_size


def test_impossible_counts_are_named(digits):
    with pytest.raises(ValueError, match=r"Every step needs its resolution.*start_step=99, steps=2, 100 resolutions"):
        take(digits, start_step=99, steps=2)
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        take(digits, batch_size=0)
    with pytest.raises(ValueError, match="Received: limit=0"):
        digits.eval(resolution=8, batch_size=4, limit=0)
    with pytest.raises(ValueError, match="Received: count=0"):
        digits.calibration(resolution=8, batch_size=4, count=0)


@pytest.mark.parametrize("count", [1, 7, 9, 100])
def test_samples_have_the_class_shares_of_the_whole(count):
    labels = np.repeat([0, 1, 2], [200, 30, 10])
    chosen = dataset._sample(np.arange(240), labels, count, seed=0)
    assert len(set(chosen)) == count
    shares = np.bincount(labels[chosen], minlength=3) - np.asarray([200, 30, 10]) * count / 240
    assert np.abs(shares).max() < 1
    np.testing.assert_array_equal(chosen, dataset._sample(np.arange(240), labels, count, seed=0))


def test_a_sample_of_all_is_all():
    assert sorted(dataset._sample(np.arange(5, 9), np.zeros(9, np.int32), 10, seed=1)) == [5, 6, 7, 8]
