"""The three pipelines: train (augmented), eval, and calibration (eval preprocessing of training images).

Every training batch is a pure function of (seed, step): the order of the images is one fresh permutation per epoch,
batches are consecutive pieces of the endless row of these permutations (so that a batch may span two epochs and no
image is left out), and each random number is drawn statelessly from (seed, purpose, step).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from compofa_tf.data.images import Images
from compofa_tf.data.inputs import eval_geometry
from compofa_tf.data.resizing import crop_and_resize
from compofa_tf.normalization import Normalization
from compofa_tf.recipes.settings import DataSettings

_ASPECT = (3 / 4, 4 / 3)
_TRIES = 10
_LUMA = (0.299, 0.587, 0.114)
_IN_FLIGHT = 2
_PURPOSES = ("order", "area", "aspect", "position", "flip", "brightness", "saturation")


def train_dataset(
    images: Images,
    ids: np.ndarray,
    *,
    settings: DataSettings,
    normalization: Normalization,
    batch_size: int,
    start_step: int,
    steps: int,
    resolutions: np.ndarray,
    seed: int,
) -> tf.data.Dataset:
    """Builds the training pipeline; see ``Data.train``.

    Random resized crop, horizontal flip and colour distortion follow the training code of Once-for-All (Cai et al.,
    ICLR 2020) and CompOFA: torchvision's ``RandomResizedCrop``, ``RandomHorizontalFlip`` and
    ``ColorJitter(brightness=32/255, saturation=0.5)``.
    """
    heights, widths, labels, table = (
        tf.constant(values) for values in (images.heights, images.widths, images.labels, ids)
    )

    def batch(step: tf.Tensor, resolution: tf.Tensor, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picked = tf.gather(table, positions)
        crops = random_crops(
            tf.gather(heights, picked), tf.gather(widths, picked), min_scale=settings.min_scale, seed=seed, step=step
        )
        scales = tf.cast(resolution, tf.float32) / tf.cast(crops[:, 2:], tf.float32)
        pixels = crop_and_resize(images, picked, crops, scales, tf.zeros_like(scales), resolution)
        if settings.flip:
            chosen = _uniform([batch_size, 1, 1, 1], "flip", seed=seed, step=step) < 0.5
            pixels = tf.where(chosen, tf.reverse(pixels, [2]), pixels)
        pixels = distort_color(pixels, settings.brightness, settings.saturation, seed=seed, step=step)
        pixels = tf.ensure_shape(normalization.apply(pixels), [batch_size, None, None, 3])
        return pixels, tf.gather(labels, picked)

    dataset = tf.data.Dataset.zip(
        tf.data.Dataset.range(start_step, start_step + steps),
        tf.data.Dataset.from_tensor_slices(resolutions[start_step : start_step + steps]),
        _order(len(ids), batch_size=batch_size, start_step=start_step, steps=steps, seed=seed),
    )
    return dataset.map(batch, num_parallel_calls=_IN_FLIGHT, deterministic=True).prefetch(_IN_FLIGHT)


def eval_dataset(
    images: Images, ids: np.ndarray, *, normalization: Normalization, resolution: int, batch_size: int
) -> tf.data.Dataset:
    """Builds the eval pipeline over ``ids`` in their order; see ``Data.eval``."""
    scales, shifts = eval_geometry(images.heights[ids], images.widths[ids], resolution)
    whole = np.stack([0 * ids, 0 * ids, images.heights[ids], images.widths[ids]], axis=1).astype(np.int32)

    def batch(picked: tf.Tensor, crop: Any, scale: Any, shift: Any, labels: Any) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = crop_and_resize(images, picked, crop, scale, shift, tf.constant(resolution))
        return tf.ensure_shape(normalization.apply(pixels), [None, resolution, resolution, 3]), labels

    rows = (ids, whole, scales, shifts, images.labels[ids])
    dataset = tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)
    return dataset.map(batch, num_parallel_calls=_IN_FLIGHT, deterministic=True).prefetch(_IN_FLIGHT)


def random_crops(heights: tf.Tensor, widths: tf.Tensor, *, min_scale: float, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Draws one crop per image as torchvision's ``RandomResizedCrop`` does.

    The area is uniform in [``min_scale``, 1] of the image's, the aspect ratio log-uniform in [3/4, 4/3]; the first of
    ten tries that fits into the image is taken, else the largest central crop of an admissible ratio.

    Returns:
      int32 ``[batch, 4]``: top, left, height, width.
    """
    count = tf.shape(heights)[0]
    h, w = (tf.cast(values, tf.float32)[:, None] for values in (heights, widths))
    area = h * w * _uniform([count, _TRIES], "area", seed=seed, step=step, low=min_scale)
    low, high = (math.log(ratio) for ratio in _ASPECT)
    aspect = tf.exp(_uniform([count, _TRIES], "aspect", seed=seed, step=step, low=low, high=high))
    tall, wide = tf.round(tf.sqrt(area / aspect)), tf.round(tf.sqrt(area * aspect))
    fits = (tall >= 1) & (wide >= 1) & (tall <= h) & (wide <= w)
    last_tall = tf.minimum(h, tf.maximum(1.0, tf.round(w / _ASPECT[0])))
    last_wide = tf.minimum(w, tf.maximum(1.0, tf.round(h * _ASPECT[1])))
    first = tf.argmax(fits, axis=1)[:, None]
    any_fits = tf.reduce_any(fits, axis=1, keepdims=True)
    tall = tf.where(any_fits, tf.gather(tall, first, batch_dims=1), last_tall)
    wide = tf.where(any_fits, tf.gather(wide, first, batch_dims=1), last_wide)
    room = tf.concat([h - tall, w - wide], axis=1)
    drawn = tf.floor(_uniform([count, 2], "position", seed=seed, step=step) * (room + 1))
    corner = tf.where(any_fits, tf.minimum(drawn, room), tf.floor(room / 2))
    return tf.cast(tf.concat([corner, tall, wide], axis=1), tf.int32)


def distort_color(pixels: tf.Tensor, brightness: float, saturation: float, *, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Multiplies brightness and saturation by factors in [1 - amount, 1 + amount], drawn per image.

    As torchvision's ``ColorJitter``: saturation blends with the grey image. Both are linear, so that their order would
    matter only through clipping, which is done once.

    Args:
      pixels: float32 ``[batch, height, width, 3]`` in [0, 255].
      brightness: Amount; 0 leaves it alone.
      saturation: Amount; 0 leaves it alone.
      seed: Seed of the run.
      step: Training step.

    Returns:
      The distorted pixels in [0, 255].
    """
    if not brightness and not saturation:
        return pixels
    shape = [tf.shape(pixels)[0], 1, 1, 1]
    bright = _uniform(shape, "brightness", seed=seed, step=step, low=1 - brightness, high=1 + brightness)
    if saturation:
        vivid = _uniform(shape, "saturation", seed=seed, step=step, low=1 - saturation, high=1 + saturation)
        grey = tf.reduce_sum(pixels * tf.constant(_LUMA), axis=-1, keepdims=True)
        pixels = pixels * (bright * vivid) + grey * (bright * (1 - vivid))
    else:
        pixels = pixels * bright
    return tf.clip_by_value(pixels, 0.0, 255.0)


def ids_at(ids: np.ndarray, *, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Returns the positions of the images in the batch of a step: int64 ``[batch_size]``."""
    (positions,) = _order(len(ids), batch_size=batch_size, start_step=step, steps=1, seed=seed).as_numpy_iterator()
    return ids[positions]


def _order(count: int, *, batch_size: int, start_step: int, steps: int, seed: int) -> tf.data.Dataset:
    """Returns int64 ``[batch_size]`` positions in [0, count) per step."""
    first, last = start_step * batch_size, (start_step + steps) * batch_size

    def epoch_order(epoch: tf.Tensor) -> tf.data.Dataset:
        noise = tf.random.stateless_uniform(
            [count], seed=_key("order", seed, epoch), minval=None, maxval=None, dtype=tf.int64, alg="philox"
        )
        begin = tf.where(epoch == first // count, tf.constant(first % count, tf.int64), tf.constant(0, tf.int64))
        return tf.data.Dataset.from_tensor_slices(tf.argsort(noise, stable=True)[begin:])

    epochs = tf.data.Dataset.range(first // count, -(-last // count))
    return epochs.flat_map(epoch_order).batch(batch_size, drop_remainder=True).take(steps)


def _key(purpose: str, seed: int, step: tf.Tensor) -> tf.Tensor:
    mixed = (seed % 2**59) * 16 + _PURPOSES.index(purpose)
    return tf.stack([tf.constant(mixed, tf.int64), tf.cast(step, tf.int64)])


def _uniform(shape: Any, purpose: str, *, seed: int, step: tf.Tensor, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, _key(purpose, seed, step), minval=low, maxval=high, alg="philox")
