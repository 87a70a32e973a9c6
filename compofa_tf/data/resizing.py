"""Cropping and resizing a batch of images to one resolution: bilinear with antialiasing, as Pillow does.

There are two ways to the same result. Images of one size that fit into memory decoded (CIFAR, digits) are resized
together, by two matrix products per image, several times faster than one by one; all others are decoded, in part where
the format allows, and resized each by itself.
"""

from __future__ import annotations

import os

import tensorflow as tf

from compofa_tf.data.images import Images, decode


def crop_and_resize(
    images: Images, picked: tf.Tensor, crops: tf.Tensor, scales: tf.Tensor, shifts: tf.Tensor, resolution: tf.Tensor
) -> tf.Tensor:
    """Returns parts of images at one resolution.

    Args:
      images: All images.
      picked: int64 ``[batch]``, positions in ``images``.
      crops: int32 ``[batch, 4]``: top, left, height, width of the part that is looked at.
      scales: float32 ``[batch, 2]``: vertical and horizontal factor from the crop to the result.
      shifts: float32 ``[batch, 2]``: where the crop's corner comes to lie in the result, in pixels.
      resolution: int32 scalar, side of the result.

    Returns:
      float32 ``[batch, resolution, resolution, 3]`` in [0, 255].
    """
    if images.pixels is not None:
        return _resize_together(tf.gather(images.pixels, picked), crops, scales, shifts, resolution)
    rows = (tf.gather(images.contents, picked), tf.gather(images.jpeg, picked), crops, scales, shifts)
    size = tf.stack([resolution, resolution])

    def read(row: tuple[tf.Tensor, ...]) -> tf.Tensor:
        content, is_jpeg, crop, scale, shift = row
        encoded = content if images.in_memory else tf.io.read_file(content)
        top, left, height, width = tf.unstack(crop)
        pixels = tf.cond(
            is_jpeg,
            lambda: tf.io.decode_and_crop_jpeg(encoded, crop, channels=3),
            lambda: decode(encoded)[top : top + height, left : left + width],
        )
        # What tf.image.resize(antialias=True) calls, here with a shift: resize and central crop in one go.
        return tf.raw_ops.ScaleAndTranslate(
            images=pixels[None], size=size, scale=scale, translation=shift, kernel_type="triangle", antialias=True
        )[0]

    output = tf.TensorSpec([None, None, 3], tf.float32)
    return tf.map_fn(read, rows, fn_output_signature=output, parallel_iterations=os.cpu_count() or 1)


def _resize_together(
    pixels: tf.Tensor, crops: tf.Tensor, scales: tf.Tensor, shifts: tf.Tensor, resolution: tf.Tensor
) -> tf.Tensor:
    """Resizes uint8 ``[batch, height, 3, width]``: ``rows @ image @ columns`` with one pair of matrices per image."""
    height, width = pixels.shape[1], pixels.shape[3]
    batch = tf.shape(pixels)[0]
    rows = _weights(height, crops[:, 0], crops[:, 2], scales[:, 0], shifts[:, 0], resolution)
    columns = _weights(width, crops[:, 1], crops[:, 3], scales[:, 1], shifts[:, 1], resolution)
    resized = rows @ tf.cast(tf.reshape(pixels, [batch, height, 3 * width]), tf.float32)
    resized = tf.matmul(tf.reshape(resized, [batch, 3 * resolution, width]), columns, transpose_b=True)
    return tf.transpose(tf.reshape(resized, [batch, resolution, 3, resolution]), [0, 1, 3, 2])


def _weights(
    size: int, start: tf.Tensor, length: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, resolution: tf.Tensor
) -> tf.Tensor:
    """Returns the weight of each input pixel in each output pixel: float32 ``[batch, resolution, size]``."""
    begin = tf.cast(start, tf.float32)[:, None]
    scale, shift = scale[:, None], shift[:, None]
    centers = begin + (tf.range(tf.cast(resolution, tf.float32)) + 0.5 - shift) / scale
    inputs = tf.range(size, dtype=tf.float32) + 0.5
    radius = tf.maximum(1.0, 1.0 / scale)
    inside = (inputs > begin) & (inputs < begin + tf.cast(length, tf.float32)[:, None])
    weights = tf.nn.relu(1.0 - tf.abs(inputs - centers[:, :, None]) / radius[:, :, None])
    weights *= tf.cast(inside, tf.float32)[:, None, :]
    return weights / tf.reduce_sum(weights, axis=2, keepdims=True)
