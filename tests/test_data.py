from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from compofa_tf import data as ct_data
from compofa_tf.data import Normalization, dataset, images, pipelines, resizing
from compofa_tf.errors import InputError
from compofa_tf.recipes.settings import DataSettings

SETTINGS = DataSettings(min_scale=0.25)


@pytest.fixture(scope="module")
def digits() -> ct_data.Data:
    return ct_data.load("digits", SETTINGS)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> ct_data.Data:
    """Two classes of images of different sizes, JPEG and PNG, smooth so that crops are comparable."""
    root = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("left", "right")):
        (root / name).mkdir()
        for i in range(6):
            picture(60 + 13 * i, 50 + 9 * i, seed=10 * label + i).save(root / name / f"{i}.{'jpg' if i % 2 else 'png'}")
    return ct_data.load(f"folder:{root}", dataclasses.replace(SETTINGS, val_fraction=0.34))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def batches(ds: tf.data.Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x, y) for x, y in ds.as_numpy_iterator()]


def take(data: ct_data.Data, **changes) -> list[tuple[np.ndarray, np.ndarray]]:
    arguments = {"batch_size": 16, "steps": 3, "resolutions": np.full(100, 12, np.int32), "seed": 0, **changes}
    return batches(data.train(**arguments))


def with_settings(data: ct_data.Data, **changes) -> ct_data.Data:
    return dataclasses.replace(data, settings=dataclasses.replace(data.settings, **changes))


def test_digits_are_the_uci_set_with_a_fixed_stratified_split(digits):
    assert (digits.name, digits.classes, digits.labels) == ("digits", 10, tuple("0123456789"))
    assert (digits.train_size, digits.val_size, digits.skipped) == (1438, 359, ())
    per_class = np.bincount(digits.images.labels[digits.val_ids])
    assert per_class.min() >= 35
    assert per_class.max() <= 37
    assert not set(digits.train_ids) & set(digits.val_ids)
    again = ct_data.load("digits", SETTINGS, seed=5)
    np.testing.assert_array_equal(again.val_ids, digits.val_ids)


def test_digits_pixels_are_those_of_scikit_learn(digits):
    sklearn = pytest.importorskip("sklearn.datasets", reason="compares with the set as scikit-learn ships it")
    theirs = sklearn.load_digits()
    ours = digits.images.pixels.numpy()[:, :, 0, :]
    np.testing.assert_array_equal(ours, np.round(theirs.images * 255 / 16))
    np.testing.assert_array_equal(digits.images.labels, theirs.target)


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


def test_every_epoch_is_a_fresh_permutation_without_gaps():
    order = pipelines._order(10, batch_size=4, start_step=0, steps=10, seed=3)
    row = np.concatenate(list(order.as_numpy_iterator()))
    epochs = row.reshape(4, 10)
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == 4
    later = pipelines._order(10, batch_size=4, start_step=7, steps=3, seed=3)
    np.testing.assert_array_equal(np.concatenate(list(later.as_numpy_iterator())), row[28:])


def test_batches_may_be_larger_than_the_training_set(photos):
    (_, labels), *_ = take(photos, batch_size=3 * photos.train_size, steps=1)
    np.testing.assert_array_equal(np.bincount(labels), [3 * photos.train_size // 2] * 2)


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


def test_both_ways_of_resizing_agree(digits):
    one_by_one = ct_data.load("digits", dataclasses.replace(SETTINGS, cache=False))
    assert digits.images.pixels is not None
    assert one_by_one.images.pixels is None
    for resolution in (5, 24):
        changes = {"resolutions": [resolution] * 3, "steps": 1}
        (x, y), (u, v) = take(digits, **changes)[0], take(one_by_one, **changes)[0]
        # Float rounding of two orders of summation, in units of the normalised range [-1, 1].
        np.testing.assert_allclose(x, u, atol=5e-6)
        np.testing.assert_array_equal(y, v)
        pair = [batches(data.eval(resolution=resolution, batch_size=99, limit=99)) for data in (digits, one_by_one)]
        np.testing.assert_allclose(pair[0][0][0], pair[1][0][0], atol=5e-6)


def test_resizing_is_the_antialiased_bilinear_one_of_tensorflow():
    pixels = np.asarray(picture(41, 29))
    crop = [3, 5, 20, 30]
    held = images.Images(
        contents=tf.constant([], tf.string), in_memory=True, pixels=tf.constant(pixels.transpose(0, 2, 1)[None]),
        labels=np.zeros(1, np.int32), heights=np.asarray([29]), widths=np.asarray([41]), jpeg=np.zeros(1, bool),
        skipped=(),
    )  # fmt: skip
    for resolution in (7, 16, 40):
        got = resizing.crop_and_resize(
            held, tf.constant([0]), tf.constant([crop]), tf.constant([[resolution / 20, resolution / 30]], tf.float32),
            tf.zeros([1, 2]), tf.constant(resolution),
        )  # fmt: skip
        expected = tf.image.resize(pixels[3:23, 5:35], [resolution, resolution], antialias=True)
        np.testing.assert_allclose(got[0], expected, atol=1e-3)


def test_eval_resizes_the_shorter_side_and_takes_the_centre(photos):
    resolution = 49  # 49 / 0.875 = 56
    found = batches(photos.eval(resolution=resolution, batch_size=3))
    assert [len(y) for _, y in found] == [3, 1]
    i = int(photos.val_ids[0])
    raw = images.decode(photos.images.contents[i]).numpy()
    height, width = raw.shape[:2]
    assert min(height, width) > pipelines.THUMBNAIL
    shorter = min(height, width)
    resized = tf.image.resize(raw, [height * 56 // shorter, width * 56 // shorter], antialias=True).numpy()
    top, left = (round((size - resolution) / 2) for size in resized.shape[:2])
    expected = resized[top : top + resolution, left : left + resolution]
    np.testing.assert_allclose(found[0][0][0], photos.normalization.apply(expected), atol=2e-3)


def test_eval_keeps_the_whole_square_of_a_thumbnail():
    scales, shifts = pipelines.eval_geometry(np.asarray([32, 64, 65, 300]), np.asarray([32, 128, 65, 400]), 28)
    np.testing.assert_allclose(scales, [[28 / 32] * 2, [28 / 64, 56 / 128], [32 / 65] * 2, [32 / 300, 42 / 400]])
    np.testing.assert_allclose(shifts, [[0, 0], [0, -14], [-2, -2], [-2, -7]])


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
    assert len(set(labels[:10])) == 10
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


def test_balanced_subsets_take_turns_even_where_classes_run_out():
    labels = np.asarray([0] * 10 + [1] * 2 + [2] * 5)
    chosen = dataset._balanced(np.arange(17), labels, 9, seed=0)
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [4, 2, 3])
    assert len(set(chosen)) == 9


@pytest.mark.parametrize("name", ["symmetric", "imagenet"])
def test_normalization_is_the_same_for_numpy_and_tensors_and_survives_json(name):
    normalization = Normalization.named(name)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    expected = (pixels / 255 - np.asarray(normalization.mean)) / np.asarray(normalization.std)
    for given in (pixels, pixels.astype(np.float64), tf.constant(pixels, tf.float32)):
        got = np.asarray(normalization.apply(given))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert Normalization.from_json(normalization.to_json()) == normalization


def test_impossible_normalizations_are_refused():
    with pytest.raises(InputError, match=r"one of symmetric, imagenet. Received: normalization='torch'"):
        Normalization.named("torch")
    with pytest.raises(InputError, match="must be positive"):
        Normalization(mean=(0.5, 0.5, 0.5), std=(1.0, 0.0, 1.0))
    with pytest.raises(InputError, match=r"three finite numbers. Received: mean=\(0.5,\)"):
        Normalization.from_json({"name": "x", "mean": [0.5], "std": [1, 1, 1]})
    with pytest.raises(InputError, match="not a normalization"):
        Normalization.from_json({"mean": [0, 0, 0]})
