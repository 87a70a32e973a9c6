"""The functions below the elastic layers, against stock Keras and sums written out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from compofa_tf.nets import functions, layers

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_activations_are_the_stock_ones():
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    np.testing.assert_allclose(functions.hard_sigmoid(x), np.clip(x + 3, 0, 6) / 6, atol=1e-6)
    np.testing.assert_allclose(functions.hard_swish(x), x * np.clip(x + 3, 0, 6) / 6, atol=1e-6)
    np.testing.assert_allclose(functions.hard_swish(x), keras.activations.hard_silu(x), atol=1e-6)
    np.testing.assert_allclose(functions.hard_sigmoid(x), keras.activations.hard_sigmoid(x), atol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 7, 8])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("strides", [1, 2])
def test_padding_puts_the_same_zeros_on_every_side(side, kernel_size, strides):
    x, kernel = normal(1, side, side, 2), normal(kernel_size, kernel_size, 2, 3)
    half = kernel_size // 2
    by_hand = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
    expected = tf.nn.conv2d(by_hand, kernel, strides, "VALID")
    found = tf.nn.conv2d(x, kernel, strides, functions.symmetric_padding(kernel_size, strides))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_center_crop():
    kernel = np.arange(7 * 7).reshape(7, 7, 1, 1)
    assert functions.center_crop(kernel, 7).tolist() == kernel.tolist()
    assert functions.center_crop(kernel, 1).tolist() == [[[[24]]]]
    assert functions.center_crop(kernel, 3)[..., 0, 0].tolist() == [[16, 17, 18], [23, 24, 25], [30, 31, 32]]


def test_a_transform_is_a_matrix_times_the_row_major_centre_of_each_channel():
    kernel, matrix = normal(7, 7, 3, 1), normal(25, 25)
    found = functions.transform_kernel(kernel, matrix)
    assert found.shape == (5, 5, 3, 1)
    for channel in range(3):
        by_hand = matrix @ kernel[1:6, 1:6, channel, 0].reshape(25)
        np.testing.assert_allclose(found[:, :, channel, 0], by_hand.reshape(5, 5), atol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_a_matrix_product_is_a_1x1_convolution(known):
    x, matrix = normal(2, 3, 5, 4), normal(4, 6)
    multiply = functions.multiply_pixels
    if not known:
        multiply = tf.function(multiply, input_signature=(tf.TensorSpec([None] * 3 + [4]), tf.TensorSpec([4, 6])))
    found = multiply(tf.constant(x), tf.constant(matrix))
    np.testing.assert_allclose(found, tf.nn.conv2d(x, matrix[None, None], 1, "VALID"), atol=1e-5)


def test_the_functions_of_the_layers_are_there_under_their_public_names():
    for name in ("hard_swish", "hard_sigmoid", "symmetric_padding", "center_crop", "transform_kernel"):
        assert getattr(layers, name) is getattr(functions, name) and name in layers.__all__
