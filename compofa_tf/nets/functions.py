"""The arithmetic below the layers as pure functions: activations, padding, kernels cut and mapped, convolutions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """Returns relu6(x + 3) / 6 (MobileNetV3, arXiv:1905.02244, section 5.2)."""
    return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    """Returns x * relu6(x + 3) / 6 (MobileNetV3, arXiv:1905.02244, section 5.2)."""
    return x * hard_sigmoid(x)


def symmetric_padding(kernel_size: int, strides: int) -> str | list[list[int]]:
    """Returns the padding argument that puts ``kernel_size // 2`` zeros on every side of an NHWC map.

    At stride 1 that is TensorFlow's ``SAME``; at stride 2 it is not (``SAME`` pads even sizes on one side only), and
    the published PyTorch networks use the symmetric one.
    """
    side = [kernel_size // 2] * 2
    return "SAME" if strides == 1 else [[0, 0], side, side, [0, 0]]


def center_crop(kernel: Any, size: int) -> Any:
    """Returns the central ``size`` x ``size`` part of a kernel ``[k, k, ...]`` with odd ``k``."""
    start = (kernel.shape[0] - size) // 2
    return kernel[start : start + size, start : start + size]


def transform_kernel(kernel: Any, matrix: Any) -> Any:
    """Crops depthwise kernels and maps them by a learned matrix (Once-for-All, arXiv:1908.09791, figure 3).

    Args:
      kernel: ``[k, k, channels, 1]``.
      matrix: ``[s * s, s * s]`` with ``s < k``; one matrix serves all channels.

    Returns:
      ``[s, s, channels, 1]``: the matrix times the row-major vector of each channel's central crop.
    """
    size = round(matrix.shape[0] ** 0.5)
    cropped = center_crop(kernel, size)
    flat = tf.reshape(cropped, [size * size, -1])
    return tf.reshape(tf.linalg.matmul(matrix, flat), cropped.shape)


def multiply_pixels(x: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Returns a 1x1 convolution, as one matrix product: the CPU kernels do that faster, most of all backwards.

    Args:
      x: ``[batch, height, width, channels]``.
      matrix: ``[channels, filters]``.
    """
    channels, filters = matrix.shape
    known = x.shape[1:3].is_fully_defined()
    shape = [-1, *x.shape[1:3], filters] if known else tf.concat([tf.shape(x)[:3], [filters]], 0)
    return tf.reshape(tf.linalg.matmul(tf.reshape(x, [-1, channels]), matrix), shape)


def depthwise(x: tf.Tensor, kernel: tf.Tensor, strides: int) -> tf.Tensor:
    """Returns a depthwise convolution, padded by ``symmetric_padding``, whose gradients are the faster ones on a CPU.

    TensorFlow has two implementations there. Explicit padding selects its own, which is faster for the gradient of
    kernels of 5 x 5 and more and at stride 2; ``SAME`` and ``VALID`` select that of oneDNN, which is faster for the
    others. At stride 1 explicit padding and ``SAME`` mean the same; at stride 2 the gradient of the padded input is
    computed, and its edge dropped.

    Args:
      x: ``[batch, height, width, channels]``.
      kernel: ``[k, k, channels, 1]`` with odd ``k``.
      strides: Stride in both directions.
    """
    size = kernel.shape[0]
    side = size // 2
    steps = [1, strides, strides, 1]
    padding = symmetric_padding(size, strides)
    explicit = [[0, 0], [side, side], [side, side], [0, 0]]

    @tf.custom_gradient
    def convolve(x: tf.Tensor, kernel: tf.Tensor) -> Any:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_kernel = tf.nn.depthwise_conv2d_backprop_filter(
                x, kernel.shape, upstream, steps, explicit if strides > 1 or size > 3 else padding
            )
            if strides == 1:
                return tf.nn.depthwise_conv2d_backprop_input(tf.shape(x), kernel, upstream, steps, padding), of_kernel
            padded = tf.add(tf.shape(x), [0, 2 * side, 2 * side, 0])
            of_padded = tf.nn.depthwise_conv2d_backprop_input(padded, kernel, upstream, steps, "VALID")
            return tf.slice(of_padded, [0, side, side, 0], tf.shape(x)), of_kernel

        return tf.nn.depthwise_conv2d(x, kernel, steps, padding), gradients

    return convolve(x, kernel)
