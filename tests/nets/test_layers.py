"""What an elastic layer does beyond equalling its stock twin (see conformance/)."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from compofa_tf.errors import InputError
from compofa_tf.nets import layers

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("side", [5, 8])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("layer", [layers.ElasticDepthwiseConv2D, layers.ElasticConv2D])
def test_gradients_are_those_of_a_padded_convolution(layer, side, kernel_size, strides):
    """Whatever kernels compute them: the gradients of input and weights are those of plain TensorFlow."""
    sizes = () if layer is layers.ElasticDepthwiseConv2D else (4,)
    elastic = layer(*sizes, kernel_size, strides=strides)
    elastic.build((None, None, None, 6))
    x, half = tf.constant(normal(3, side, side, 6)), kernel_size // 2
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = elastic(x)
        padded = tf.pad(x, [[0, 0], [half, half], [half, half], [0, 0]])
        plain = tf.nn.conv2d if sizes else tf.nn.depthwise_conv2d
        expected = plain(padded, elastic.kernel.value, [1, strides, strides, 1], "VALID")
        losses = [tf.reduce_sum(y**3) for y in (found, expected)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    for source in (x, elastic.kernel.value):
        ours, theirs = (np.asarray(tape.gradient(loss, source)) for loss in losses)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_published_filters_of_a_block(reference):
    """The effective 7x7, 5x5 and 3x3 filters that the PyTorch code computed for the first 120 channels of block 6."""
    torch = pytest.importorskip("torch", reason="needs torch to read the reference checkpoint")
    tensors = torch.load(reference / "compofa-elastic.fp16.pth", map_location="cpu", weights_only=True)["state_dict"]
    prefix = "blocks.6.mobile_inverted_conv.depth_conv.conv."
    published = {key.removeprefix(prefix): tensors[key].float().numpy() for key in tensors if key.startswith(prefix)}
    layer = layers.ElasticDepthwiseConv2D((3, 5, 7), transform=True)
    channels = len(published["conv.weight"])
    layer.build((None, None, None, channels))
    layer.kernel.assign(published["conv.weight"].transpose(2, 3, 0, 1))
    for name, matrix in layer.matrices.items():
        matrix.assign(published[f"{name}_matrix"])
    expected = np.load(reference / "compofa-elastic.block6_kernels.npz")
    assert channels > 120
    for size in (7, 5, 3):
        found = layer.sliced(120, size).numpy().transpose(2, 3, 0, 1)
        np.testing.assert_allclose(found, expected[f"k{size}"], atol=1e-5 * np.abs(expected[f"k{size}"]).max())


def test_transforms_start_as_plain_crops():
    plain, learned = (
        layers.ElasticDepthwiseConv2D((3, 5, 7), transform=transform, name="same") for transform in (False, True)
    )
    x = normal(2, 8, 8, 4)
    for size in (3, 5, 7):
        np.testing.assert_allclose(plain(x, kernel_size=size), learned(x, kernel_size=size), atol=1e-5)


def test_stored_statistics_move_to_the_weighted_average_over_batches():
    """Biased variance, average of the batches weighted by size, leading channels only."""
    layer = layers.ElasticBatchNormalization()
    layer.build((None, None, None, 6))
    layer.moving_mean.assign(normal(6))
    before = np.array(layer.moving_mean), np.array(layer.moving_variance)
    batches = [normal(n, 3, 3, 4) * (n + 1) for n in (2, 5, 1)]
    seen = 0
    for x in batches:
        seen += len(x)
        y = layer(x, rate=len(x) / seen)
        np.testing.assert_allclose(y, layer(x, training=True), atol=1e-5)
    weights = [len(x) for x in batches]
    mean = np.average([x.mean((0, 1, 2)) for x in batches], axis=0, weights=weights)
    variance = np.average([x.var((0, 1, 2)) for x in batches], axis=0, weights=weights)
    np.testing.assert_allclose(layer.moving_mean[:4], mean, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance[:4], variance, rtol=1e-4)
    np.testing.assert_array_equal(layer.moving_mean[4:], before[0][4:])
    np.testing.assert_array_equal(layer.moving_variance[4:], before[1][4:])


def test_initial_kernels_have_the_documented_spread():
    conv = layers.ElasticConv2D(256, 3)
    conv.build((None, None, None, 64))
    assert np.std(conv.kernel) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.05)
    dense = layers.ElasticDense(100)
    dense.build((None, 256))
    assert np.abs(dense.kernel).max() <= 1 / 16
    assert np.std(dense.kernel) == pytest.approx(1 / 16 / 3**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.ElasticConv2D(0, 3), "filters must be a whole number of at least 1. Received: filters=0"),
        (lambda: layers.ElasticConv2D(8, 4), "kernel_size must be odd.*Received: kernel_size=4"),
        (lambda: layers.ElasticConv2D(8, 3, strides=1.5), "strides must be a whole number"),
        (lambda: layers.ElasticConv2D(True, 3), "filters must be a whole number"),
        (lambda: layers.ElasticDepthwiseConv2D((3, 4)), "kernel_size must be odd"),
        (lambda: layers.ElasticDepthwiseConv2D(()), "kernel_sizes needs at least one size"),
        (lambda: layers.ElasticDense(-1), "units must be a whole number"),
        (lambda: layers.ElasticBatchNormalization(epsilon=0), "epsilon must be positive. Received: epsilon=0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_size_that_does_not_fit_names_layer_and_range():
    layer = layers.ElasticConv2D(16, 3, name="stage1_expand")
    layer.build((None, None, None, 8))
    x = normal(1, 4, 4, 8)
    with pytest.raises(InputError, match=r"filters of stage1_expand must be in 1\.\.16\. Received: filters=17"):
        layer(x, filters=17)
    with pytest.raises(InputError, match=r"Received: filters=8\.0"):
        layer(x, filters=8.0)
    with pytest.raises(InputError, match=r"in_channels of stage1_expand must be in 1\.\.8\. Received: in_channels=9"):
        layer(normal(1, 4, 4, 9))
