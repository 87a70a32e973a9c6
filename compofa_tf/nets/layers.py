"""Elastic layers: Keras layers that hold their largest weights and compute with a leading slice of them.

No layer remembers a size. Input channels are read off the input, every other size is an argument of ``call``, so one
layer serves all subnets and any number of them can be traced side by side. The rule that every layer obeys, and that
its tests check: *at size s it equals the stock Keras layer that holds the sliced weights*.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compofa_tf.errors import InputError
from compofa_tf.nets.functions import (
    center_crop,
    depthwise,
    hard_sigmoid,
    hard_swish,
    multiply_pixels,
    symmetric_padding,
    transform_kernel,
)

__all__ = [
    "ElasticBatchNormalization",
    "ElasticConv2D",
    "ElasticDense",
    "ElasticDepthwiseConv2D",
    "center_crop",
    "hard_sigmoid",
    "hard_swish",
    "symmetric_padding",
    "transform_kernel",
]

DTYPE = "float32"
"""Type of weights and arithmetic, whatever ``keras.json`` and global policies say."""


class _Elastic(keras.layers.Layer):
    """Seeded weights that differ from layer to layer and not from run to run."""

    def __init__(self, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**{"dtype": DTYPE, **kwargs})
        self.seed = seed

    def _add_kernel(self, name: str, shape: Sequence[int | None], scale: float, mode: str, distribution: str) -> Any:
        seed = zlib.crc32(f"{self.seed}/{self.name}/{name}".encode()) % 2**31
        initializer = keras.initializers.VarianceScaling(scale, mode, distribution, seed=seed)
        return self.add_weight(name=name, shape=tuple(shape), initializer=initializer)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


class ElasticConv2D(_Elastic):
    """2-D convolution with elastic input and output channels.

    ``y = conv(x, kernel[:, :, :in, :filters]) + bias[:filters]`` with symmetric zero padding ``kernel_size // 2``,
    where ``in`` is the number of channels of ``x``. A narrower subnet uses the *first* channels.

    Call arguments:
      x: float ``[batch, height, width, in]``, ``in`` at most the channels it was built with.
      filters: Output channels, at most the constructor's; all of them when absent.

    Returns float ``[batch, (height - 1) // strides + 1, (width - 1) // strides + 1, filters]``.

    >>> layer = ElasticConv2D(16, 3)
    >>> layer.build((None, 32, 32, 8))
    >>> layer(tf.zeros([1, 32, 32, 4]), filters=12).shape
    TensorShape([1, 32, 32, 12])

    Args:
      filters: Largest number of output channels.
      kernel_size: Side of the square kernel, odd.
      strides: Stride in both directions.
      use_bias: Whether a bias is added.
      seed: Seed of the initial weights, with the layer's name.
    """

    def __init__(
        self, filters: int, kernel_size: int, *, strides: int = 1, use_bias: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        _check_positive(filters=filters, strides=strides)
        _check_odd(kernel_size)
        self.filters, self.kernel_size, self.strides, self.use_bias = filters, kernel_size, strides, use_bias

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for the largest input ``[batch, height, width, channels]``."""
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self._add_kernel("kernel", shape, 2.0, "fan_out", "untruncated_normal")
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros") if self.use_bias else None
        self.built = True

    def sliced(self, in_channels: int, filters: int | None = None) -> tuple[Any, Any]:
        """Returns kernel ``[k, k, in_channels, filters]`` and bias ``[filters]`` (or None) of a size."""
        count = self.filters if filters is None else filters
        _check_fits(self, in_channels=(in_channels, self.kernel.shape[2]), filters=(count, self.filters))
        return _lead(self.kernel, None, None, in_channels, count), None if self.bias is None else _lead(
            self.bias, count
        )

    def call(self, x: tf.Tensor, filters: int | None = None) -> tf.Tensor:
        """Convolves; see the class."""
        kernel, bias = self.sliced(x.shape[-1], filters)
        if self.kernel_size == self.strides == 1:
            y = multiply_pixels(x, tf.reshape(kernel, kernel.shape[2:]))
        else:
            y = tf.nn.conv2d(x, kernel, self.strides, symmetric_padding(self.kernel_size, self.strides))
        return y if bias is None else tf.nn.bias_add(y, bias)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {key: getattr(self, key) for key in ("filters", "kernel_size", "strides", "use_bias")}
        return {**super().get_config(), **own}


class ElasticDepthwiseConv2D(_Elastic):
    """Depthwise convolution with elastic channels and kernel side.

    A smaller kernel is the centre of the larger one; with ``transform=True`` each step down (7 to 5, 5 to 3) crops the
    kernel of the step before and maps it by a learned matrix shared by all channels, initially the identity
    (Once-for-All, arXiv:1908.09791, section 3.2). The largest kernel is never transformed.

    Call arguments:
      x: float ``[batch, height, width, channels]``, ``channels`` at most what it was built with.
      kernel_size: One of the constructor's sizes; the largest when absent.

    Returns float ``[batch, (height - 1) // strides + 1, (width - 1) // strides + 1, channels]``.

    Args:
      kernel_sizes: Sides that may be asked for, odd, for example ``(3, 5, 7)``.
      strides: Stride in both directions.
      transform: Whether smaller kernels are transformed, not just cropped.
      seed: Seed of the initial weights, with the layer's name.
    """

    def __init__(
        self, kernel_sizes: int | Sequence[int], *, strides: int = 1, transform: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        sizes = (kernel_sizes,) if isinstance(kernel_sizes, int) else tuple(kernel_sizes)
        if not sizes:
            raise InputError("kernel_sizes needs at least one size. Received: kernel_sizes=()")
        for size in sizes:
            _check_odd(size)
        _check_positive(strides=strides)
        self.kernel_sizes: tuple[int, ...] = tuple(sorted(set(sizes), reverse=True))
        self.strides, self.transform = strides, transform

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the kernel for the largest input, and the matrices."""
        largest = self.kernel_sizes[0]
        shape = (largest, largest, input_shape[-1], 1)
        self.kernel = self._add_kernel("kernel", shape, 2.0, "fan_out", "untruncated_normal")
        self.matrices: dict[str, Any] = {}
        if self.transform:
            for larger, smaller in zip(self.kernel_sizes, self.kernel_sizes[1:]):
                name = f"{larger}to{smaller}"
                identity = keras.initializers.Identity()
                self.matrices[name] = self.add_weight(name=name, shape=(smaller**2,) * 2, initializer=identity)
        self.built = True

    def sliced(self, channels: int, kernel_size: int | None = None) -> Any:
        """Returns the kernel ``[kernel_size, kernel_size, channels, 1]`` of a size."""
        size = self.kernel_sizes[0] if kernel_size is None else kernel_size
        if size not in self.kernel_sizes:
            raise InputError(f"kernel_size must be one of {self.kernel_sizes}. Received: kernel_size={size!r}")
        _check_fits(self, channels=(channels, self.kernel.shape[2]))
        kernel = _lead(self.kernel, None, None, channels)
        if not self.transform:
            return center_crop(kernel, size)
        for larger, smaller in zip(self.kernel_sizes, self.kernel_sizes[1:]):
            if smaller >= size:
                kernel = transform_kernel(kernel, tf.convert_to_tensor(self.matrices[f"{larger}to{smaller}"]))
        return kernel

    def call(self, x: tf.Tensor, kernel_size: int | None = None) -> tf.Tensor:
        """Convolves; see the class."""
        return depthwise(x, self.sliced(x.shape[-1], kernel_size), self.strides)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {key: getattr(self, key) for key in ("kernel_sizes", "strides", "transform")}
        return {**super().get_config(), **own}


class ElasticDense(_Elastic):
    """Fully connected layer with elastic input: ``y = x @ kernel[:in] + bias``.

    Call arguments:
      x: float ``[batch, in]``, ``in`` at most the channels it was built with.

    Returns float ``[batch, units]``.

    Args:
      units: Outputs.
      use_bias: Whether a bias is added.
      seed: Seed of the initial weights, with the layer's name.
    """

    def __init__(self, units: int, *, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _check_positive(units=units)
        self.units, self.use_bias = units, use_bias

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for the largest input ``[batch, channels]``."""
        self.kernel = self._add_kernel("kernel", (input_shape[-1], self.units), 1.0 / 3.0, "fan_in", "uniform")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros") if self.use_bias else None
        self.built = True

    def sliced(self, in_channels: int) -> tuple[Any, Any]:
        """Returns kernel ``[in_channels, units]`` and bias ``[units]`` (or None) of a size."""
        _check_fits(self, in_channels=(in_channels, self.kernel.shape[0]))
        return _lead(self.kernel, in_channels), None if self.bias is None else tf.convert_to_tensor(self.bias)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Multiplies; see the class."""
        kernel, bias = self.sliced(x.shape[-1])
        y = tf.linalg.matmul(x, kernel)
        return y if bias is None else tf.nn.bias_add(y, bias)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias}


class ElasticBatchNormalization(keras.layers.Layer):
    """Batch norm on the leading entries of gamma, beta and the moving statistics, by TensorFlow's fused kernel.

    ``y = (x - mean) / sqrt(variance + epsilon) * gamma + beta``. Moving statistics belong to one subnet, so training
    leaves them alone (CompOFA and OFA re-estimate them for each subnet, arXiv:1908.09791, appendix): they are set by
    calibration, or come with an imported checkpoint.

    Call arguments:
      x: float ``[batch, height, width, channels]``, ``channels`` at most what it was built with.
      training: True: statistics of the batch (biased variance). False: the stored ones.
      rate: If given, a scalar in (0, 1]: statistics of the batch are used, and the stored ones of the leading channels
        move towards them, ``stored += rate * (batch - stored)``. With rate ``n_k / (n_1 + ... + n_k)`` for batch ``k``
        of ``n_k`` images the stored ones become the average over batches, weighted by batch size.

    Args:
      epsilon: Added to the variance.
      gamma_initializer: Keras initializer of gamma.
    """

    def __init__(self, *, epsilon: float = 1e-5, gamma_initializer: str = "ones", **kwargs: Any) -> None:
        super().__init__(**{"dtype": DTYPE, **kwargs})
        if not epsilon > 0:
            raise InputError(f"epsilon must be positive. Received: epsilon={epsilon!r}")
        self.epsilon, self.gamma_initializer = epsilon, gamma_initializer

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the vectors for the largest input."""
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer=self.gamma_initializer)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.moving_mean = self.add_weight(name="moving_mean", shape=shape, initializer="zeros", trainable=False)
        self.moving_variance = self.add_weight(name="moving_variance", shape=shape, initializer="ones", trainable=False)
        self.built = True

    def sliced(self, channels: int) -> tuple[Any, Any, Any, Any]:
        """Returns gamma, beta, moving mean and moving variance, each ``[channels]``."""
        _check_fits(self, channels=(channels, self.gamma.shape[0]))
        gamma, beta, mean, variance = (
            _lead(v, channels) for v in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
        return gamma, beta, mean, variance

    def call(self, x: tf.Tensor, training: bool = False, rate: tf.Tensor | float | None = None) -> tf.Tensor:
        """Normalises; see the class."""
        channels = x.shape[-1]
        gamma, beta, mean, variance = self.sliced(channels)
        batch = bool(training) or rate is not None
        empty = tf.zeros([0])
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=empty if batch else mean,
            variance=empty if batch else variance,
            epsilon=self.epsilon,
            is_training=batch,
        )
        if rate is not None:
            count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), tf.float32)
            biased = outputs.batch_variance * ((count - 1.0) / count)
            self._move(self.moving_mean, mean, outputs.batch_mean, rate)
            self._move(self.moving_variance, variance, biased, rate)
        return outputs.y

    @staticmethod
    def _move(variable: Any, stored: tf.Tensor, batch: tf.Tensor, rate: tf.Tensor | float) -> None:
        moved = stored + tf.cast(rate, tf.float32) * (batch - stored)
        variable.assign(tf.concat([moved, variable.value[moved.shape[0] :]], 0))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon, "gamma_initializer": self.gamma_initializer}


def _lead(variable: Any, *sizes: int | None) -> tf.Tensor:
    """Leading slice in each dimension; the variable itself, uncopied, where that is all of it."""
    full = tuple(variable.shape)
    wanted = tuple(have if size is None else size for size, have in zip((*sizes, *(None,) * len(full)), full))
    value = tf.convert_to_tensor(variable)
    return value if wanted == full else tf.slice(value, [0] * len(full), wanted)


def _check_fits(layer: keras.layers.Layer, **sizes: tuple[int | None, int]) -> None:
    for name, (size, largest) in sizes.items():
        if not isinstance(size, (int, np.integer)) or not 0 < size <= largest:
            raise InputError(f"{name} of {layer.name} must be in 1..{largest}. Received: {name}={size!r}")


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1. Received: {name}={value!r}")


def _check_odd(kernel_size: int) -> None:
    _check_positive(kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise InputError(
            f"kernel_size must be odd, so that padding is symmetric. Received: kernel_size={kernel_size!r}"
        )
