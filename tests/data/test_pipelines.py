from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf
from pictures import batches, take

from compofa_tf.data import Data, images, inputs, pipelines


def with_settings(data: Data, **changes) -> Data:
    return dataclasses.replace(data, settings=dataclasses.replace(data.settings, **changes))


def test_every_epoch_is_a_fresh_permutation_without_gaps():
    order = pipelines._order(10, batch_size=4, start_step=0, steps=10, seed=3)
    row = np.concatenate(list(order.as_numpy_iterator()))
    epochs = row.reshape(4, 10)
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == 4
    later = pipelines._order(10, batch_size=4, start_step=7, steps=3, seed=3)
    np.testing.assert_array_equal(np.concatenate(list(later.as_numpy_iterator())), row[28:])


def test_crops_have_the_sizes_and_places_of_random_resized_crop():
    count, height, width = 4000, 60, 90
    sizes = (tf.fill([count], height), tf.fill([count], width))
    crops = pipelines.random_crops(*sizes, min_scale=0.2, seed=0, step=tf.constant(5, tf.int64)).numpy()
    top, left, tall, wide = crops.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= height).all()
    assert (left + wide <= width).all()
    area, aspect = tall * wide / (height * width), wide / tall
    assert 0.19 < area.min() < 0.23
    # Of uniform areas in [0.2, 1], with mean 0.6, the large ones fit less often.
    assert 0.4 < area.mean() < 0.6
    assert 0.73 < aspect.min() < 0.78
    assert 1.28 < aspect.max() < 1.37
    # Free positions are uniform: their mean share of the room is a half, and both ends are reached.
    room = height - tall
    share = top[room > 5] / room[room > 5]
    assert abs(share.mean() - 0.5) < 0.02
    assert share.min() == 0
    assert share.max() == 1


def test_crops_of_a_square_are_as_often_tall_as_wide():
    sizes = (tf.fill([4000], 100), tf.fill([4000], 100))
    crops = pipelines.random_crops(*sizes, min_scale=0.08, seed=0, step=tf.constant(5, tf.int64)).numpy()
    logarithms = np.log(crops[:, 3] / crops[:, 2])
    # Uniform in +-0.288: the mean of 4,000 has a standard error of 0.0026.
    assert abs(logarithms.mean()) < 0.01
    assert abs(logarithms.std() - np.log(4 / 3) / np.sqrt(3)) < 0.015


def test_crops_of_a_very_long_image_fall_back_to_its_centre():
    crops = pipelines.random_crops(
        tf.constant([10, 400]), tf.constant([400, 10]), min_scale=0.9, seed=0, step=tf.constant(0, tf.int64)
    ).numpy()
    np.testing.assert_array_equal(crops, [[0, 193, 10, 13], [193, 0, 13, 10]])


def test_half_of_the_images_are_mirrored_and_none_without_flip(digits):
    plain = with_settings(digits, min_scale=1.0, flip=False, brightness=0.0, saturation=0.0)
    fixed, _ = take(plain, batch_size=200, steps=1, resolutions=[8])[0]
    mirrored, _ = take(with_settings(plain, flip=True), batch_size=200, steps=1, resolutions=[8])[0]
    same = (fixed == mirrored).all(axis=(1, 2, 3))
    turned = np.isclose(fixed[:, :, ::-1], mirrored, atol=1e-6).all(axis=(1, 2, 3))
    assert (same | turned).all()
    assert 70 < turned.sum() < 130


def test_color_distortion_follows_its_formula_within_its_bounds():
    pixels = tf.constant(np.random.default_rng(0).uniform(60, 120, (500, 2, 2, 3)), tf.float32)
    step = tf.constant(0, tf.int64)
    bright = pipelines.distort_color(pixels, 0.125, 0.0, seed=0, step=step).numpy() / pixels.numpy()
    factors = bright.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(bright, np.broadcast_to(factors[:, None, None, None], bright.shape), rtol=1e-5)
    assert 0.875 <= factors.min() < 0.88
    assert 1.12 < factors.max() <= 1.125
    vivid = pipelines.distort_color(pixels, 0.0, 0.5, seed=0, step=step).numpy()
    weights = np.asarray([0.299, 0.587, 0.114], np.float32)
    grey = (pixels.numpy() @ weights)[..., None]
    np.testing.assert_allclose(vivid @ weights, grey[..., 0], rtol=1e-5)
    factor = (vivid - grey)[:, 0, 0, 0] / (pixels.numpy() - grey)[:, 0, 0, 0]
    assert 0.49 < factor.min() < 0.53
    assert 1.47 < factor.max() < 1.51
    assert pipelines.distort_color(pixels * 3, 0.125, 0.5, seed=0, step=step).numpy().max() == 255
    assert pipelines.distort_color(pixels, 0.0, 0.0, seed=0, step=step) is pixels


def test_eval_resizes_the_shorter_side_and_takes_the_centre(photos):
    resolution = 49  # 49 / 0.875 = 56
    found = batches(photos.eval(resolution=resolution, batch_size=3))
    assert [len(y) for _, y in found] == [3, 1]
    i = int(photos.val_ids[0])
    raw = images.decode(photos.images.contents[i]).numpy()
    height, width = raw.shape[:2]
    assert min(height, width) > inputs.THUMBNAIL
    shorter = min(height, width)
    resized = tf.image.resize(raw, [height * 56 // shorter, width * 56 // shorter], antialias=True).numpy()
    top, left = (round((size - resolution) / 2) for size in resized.shape[:2])
    expected = resized[top : top + resolution, left : left + resolution]
    np.testing.assert_allclose(found[0][0][0], photos.normalization.apply(expected), atol=2e-3)


def test_eval_keeps_the_whole_square_of_a_thumbnail():
    scales, shifts = inputs.eval_geometry(np.asarray([32, 64, 65, 300]), np.asarray([32, 128, 65, 400]), 28)
    np.testing.assert_allclose(scales, [[28 / 32] * 2, [28 / 64, 56 / 128], [32 / 65] * 2, [32 / 300, 42 / 400]])
    np.testing.assert_allclose(shifts, [[0, 0], [0, -14], [-2, -2], [-2, -7]])
