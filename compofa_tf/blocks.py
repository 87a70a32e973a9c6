"""How units compute, written once: the same topology runs on elastic weights and builds stock Keras layers."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from compofa_tf import layers
from compofa_tf.stages import Slot
from compofa_tf.units import BlockUnit, DenseUnit, Kernel, MaxPoolUnit, PoolUnit, ResidualUnit, Unit

_ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "hard_swish": layers.hard_swish,
    "hard_sigmoid": layers.hard_sigmoid,
}
_STOCK_ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "hard_swish": "hard_silu", "hard_sigmoid": "hard_sigmoid"}


class Kit(Protocol):
    """What the topology needs: elastic layers on one side, stock Keras layers on the other."""

    def kernel(self, kernel: Kernel, x: Any) -> Any:
        """Convolution or matrix of a part, with bias and batch norm as the part says."""

    def activate(self, part: str, activation: str, x: Any) -> Any:
        """The named activation after a part."""

    def pool(self, part: str, x: Any) -> Any:
        """Global average, ``[batch, 1, 1, channels]``."""

    def max_pool(self, part: str, stride: int, x: Any) -> Any:
        """Largest of 3x3 pixels of a map that is never negative; one pixel of border on every side."""

    def average_pool(self, part: str, stride: int, x: Any) -> Any:
        """Average of ``stride`` x ``stride`` pixels; the last ones of an odd side are averaged over fewer."""

    def flatten(self, x: Any) -> Any:
        """``[batch, 1, 1, channels]`` to ``[batch, channels]``."""

    def multiply(self, part: str, x: Any, gate: Any) -> Any:
        """Product of a map and a pooled gate."""

    def add(self, part: str, x: Any, y: Any) -> Any:
        """Sum of two maps."""


def run(unit: Unit, kit: Kit, x: Any) -> Any:
    """Computes a unit with the kit's operations.

    Args:
      unit: The unit.
      kit: ``ElasticKit`` or ``PlainKit``.
      x: ``[batch, height, width, channels]``.

    Returns:
      ``[batch, height', width', out_channels]``; the classifier gives ``[batch, classes]``.
    """
    if isinstance(unit, PoolUnit):
        return kit.pool("pool", x)
    if isinstance(unit, MaxPoolUnit):
        return kit.max_pool("pool", unit.stride, x)
    if isinstance(unit, BlockUnit):
        return _run_block(unit, kit, x)
    if isinstance(unit, ResidualUnit):
        return _run_residual(unit, kit, x)
    (kernel,) = unit.kernels
    if isinstance(unit, DenseUnit):
        return kit.kernel(kernel, kit.flatten(x))
    y = kit.activate(kernel.part, unit.activation, kit.kernel(kernel, x))
    return kit.add("add", x, y) if unit.shortcut else y


def _run_block(unit: BlockUnit, kit: Kit, x: Any) -> Any:
    """Inverted bottleneck with squeeze-and-excite after the depthwise activation (arXiv:1905.02244, figure 4)."""
    parts = {kernel.part: kernel for kernel in unit.kernels}
    y = x
    for part in ("expand", "depth"):
        if part in parts:
            y = kit.activate(part, unit.activation, kit.kernel(parts[part], y))
    if "reduce" in parts:
        gate = kit.activate("reduce", "relu", kit.kernel(parts["reduce"], kit.pool("squeeze", y)))
        gate = kit.activate("restore", "hard_sigmoid", kit.kernel(parts["restore"], gate))
        y = kit.multiply("excite", y, gate)
    y = kit.kernel(parts["project"], y)
    return kit.add("add", x, y) if unit.shortcut else y


def _run_residual(unit: ResidualUnit, kit: Kit, x: Any) -> Any:
    """Bottleneck of ResNet-D (arXiv:1812.01187, figure 2c): the shortcut averages before its convolution."""
    conv1, conv2, conv3, *shortcut = unit.kernels
    y = kit.activate("conv1", "relu", kit.kernel(conv1, x))
    y = kit.activate("conv2", "relu", kit.kernel(conv2, y))
    y = kit.kernel(conv3, y)
    for kernel in shortcut:
        x = kit.kernel(kernel, kit.average_pool("average", unit.stride, x) if unit.stride > 1 else x)
    return kit.activate("add", "relu", kit.add("add", x, y))


class ElasticUnit(keras.layers.Layer):
    """The shared weights of a slot; computes any of its options.

    Call arguments:
      x: float ``[batch, height, width, channels]``.
      unit: The option to compute.
      training: Whether batch norm uses the statistics of the batch.
      rate: If given, batch norm also moves its stored statistics; see ``ElasticBatchNormalization``.

    Args:
      slot: The slot; the weights are as large as the largest option in every dimension.
      epsilon: Batch-norm epsilon.
      seed: Seed of the initial weights.
    """

    def __init__(self, slot: Slot, *, epsilon: float, seed: int = 0) -> None:
        super().__init__(name=slot.name)
        self.slot, self.epsilon, self.seed = slot, epsilon, seed
        self.kernels: dict[str, Any] = {}
        self.norms: dict[str, Any] = {}
        per_part: dict[str, list[Kernel]] = {}
        for unit in slot.options:
            for kernel in unit.kernels if unit else ():
                per_part.setdefault(kernel.part, []).append(kernel)
        for part, found in per_part.items():
            self._create(part, found)
        self.built = True

    def _create(self, part: str, found: list[Kernel]) -> None:
        first, seed, name = found[0], self.seed, f"{self.name}_{part}"
        in_channels, out_channels = (max(getattr(k, key) for k in found) for key in ("in_channels", "out_channels"))
        layer: Any
        if first.kind == "conv":
            layer = layers.ElasticConv2D(
                out_channels, first.size, strides=first.stride, use_bias=first.bias, seed=seed, name=name
            )
        elif first.kind == "depthwise":
            sizes = {kernel.size for kernel in found}
            layer = layers.ElasticDepthwiseConv2D(
                tuple(sizes), strides=first.stride, transform=len(sizes) > 1, seed=seed, name=name
            )
        else:
            layer = layers.ElasticDense(out_channels, use_bias=first.bias, seed=seed, name=name)
        layer.build((None, in_channels) if first.kind == "dense" else (None, None, None, in_channels))
        self.kernels[part] = layer
        if first.norm:
            # A block with a shortcut starts as the identity (arXiv:1706.02677, 5.1): short schedules learn faster.
            residual = part in {getattr(unit, "branch_end", None) for unit in self.slot.options}
            self.norms[part] = layers.ElasticBatchNormalization(
                epsilon=self.epsilon, gamma_initializer="zeros" if residual else "ones", name=f"{name}_bn"
            )
            self.norms[part].build((None, None, None, out_channels))

    def call(
        self, x: tf.Tensor, unit: Unit, training: bool = False, rate: tf.Tensor | float | None = None
    ) -> tf.Tensor:
        """Computes one option; see the class."""
        return run(unit, ElasticKit(self, training, rate), x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the slot as it is: a supernet is saved as its space, not by Keras."""
        return {"slot": self.slot, "epsilon": self.epsilon, "seed": self.seed}

    def variables_by_name(self) -> dict[str, Any]:
        """Returns every variable under its stable name ``part/tensor``."""
        named = {}
        for part, layer in self.kernels.items():
            named[f"{part}/kernel"] = layer.kernel
            if getattr(layer, "bias", None) is not None:
                named[f"{part}/bias"] = layer.bias
            named.update({f"{part}/{name}": matrix for name, matrix in getattr(layer, "matrices", {}).items()})
        for part, norm in self.norms.items():
            for tensor in ("gamma", "beta", "moving_mean", "moving_variance"):
                named[f"{part}/{tensor}"] = getattr(norm, tensor)
        return named

    def sliced(self, kernel: Kernel) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns what stock layers of this size hold: kernel (and bias), and the four vectors of batch norm."""
        layer = self.kernels[kernel.part]
        if kernel.kind == "depthwise":
            weights = [layer.sliced(kernel.in_channels, kernel.size)]
        elif kernel.kind == "conv":
            weights = list(layer.sliced(kernel.in_channels, kernel.out_channels))
        else:
            weights = list(layer.sliced(kernel.in_channels))
        norm = self.norms[kernel.part].sliced(kernel.out_channels) if kernel.norm else ()
        return [np.asarray(w) for w in weights if w is not None], [np.asarray(v) for v in norm]


class ElasticKit:
    """Computes with the leading slices of an ``ElasticUnit``."""

    def __init__(self, owner: ElasticUnit, training: bool, rate: tf.Tensor | float | None) -> None:
        self.owner, self.training, self.rate = owner, training, rate

    def kernel(self, kernel: Kernel, x: tf.Tensor) -> tf.Tensor:
        """Convolution or matrix, then batch norm."""
        layer = self.owner.kernels[kernel.part]
        if kernel.kind == "conv":
            y = layer(x, filters=kernel.out_channels)
        elif kernel.kind == "depthwise":
            y = layer(x, kernel_size=kernel.size)
        else:
            y = layer(x)
        return self.owner.norms[kernel.part](y, training=self.training, rate=self.rate) if kernel.norm else y

    def activate(self, part: str, activation: str, x: tf.Tensor) -> tf.Tensor:
        """The activation."""
        return _ACTIVATIONS[activation](x)

    def pool(self, part: str, x: tf.Tensor) -> tf.Tensor:
        """Global average."""
        return tf.reduce_mean(x, [1, 2], keepdims=True)

    def max_pool(self, part: str, stride: int, x: tf.Tensor) -> tf.Tensor:
        """Largest of 3x3 pixels."""
        return tf.nn.max_pool2d(x, 3, stride, [[0, 0], [1, 1], [1, 1], [0, 0]])

    def average_pool(self, part: str, stride: int, x: tf.Tensor) -> tf.Tensor:
        """Average over a window; padding does not count."""
        return tf.nn.avg_pool2d(x, stride, stride, "SAME")

    def flatten(self, x: tf.Tensor) -> tf.Tensor:
        """Drops the pooled dimensions."""
        return tf.squeeze(x, [1, 2])

    def multiply(self, part: str, x: tf.Tensor, gate: tf.Tensor) -> tf.Tensor:
        """Product."""
        return x * gate

    def add(self, part: str, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Sum."""
        return x + y


class PlainKit:
    """Builds stock Keras layers for the units of one name; layer names are ``unit_part``."""

    def __init__(self, name: str, *, epsilon: float) -> None:
        self.name, self.epsilon = name, epsilon

    def kernel(self, kernel: Kernel, x: Any) -> Any:
        """Convolution or matrix, then batch norm."""
        name = f"{self.name}_{kernel.part}"
        if kernel.kind == "dense":
            return keras.layers.Dense(kernel.out_channels, use_bias=kernel.bias, name=name)(x)
        if kernel.stride > 1 and kernel.size > 1:
            x = keras.layers.ZeroPadding2D(kernel.size // 2, name=f"{name}_pad")(x)
        padding = "same" if kernel.stride == 1 else "valid"
        options = {"strides": kernel.stride, "padding": padding, "use_bias": kernel.bias, "name": name}
        if kernel.kind == "depthwise":
            y = keras.layers.DepthwiseConv2D(kernel.size, **options)(x)
        else:
            y = keras.layers.Conv2D(kernel.out_channels, kernel.size, **options)(x)
        if kernel.norm:
            y = keras.layers.BatchNormalization(epsilon=self.epsilon, name=f"{name}_bn")(y)
        return y

    def activate(self, part: str, activation: str, x: Any) -> Any:
        """The stock activation of that function."""
        if activation == "linear":
            return x
        stock = _STOCK_ACTIVATIONS[activation]
        return keras.layers.Activation(stock, name=f"{self.name}_{part}_{activation}")(x)

    def pool(self, part: str, x: Any) -> Any:
        """Global average."""
        return keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{self.name}_{part}")(x)

    def max_pool(self, part: str, stride: int, x: Any) -> Any:
        """Largest of 3x3 pixels; the border is 0, which no map that comes here is below."""
        x = keras.layers.ZeroPadding2D(1, name=f"{self.name}_{part}_pad")(x)
        return keras.layers.MaxPooling2D(3, stride, name=f"{self.name}_{part}")(x)

    def average_pool(self, part: str, stride: int, x: Any) -> Any:
        """Average over a window; padding does not count."""
        return keras.layers.AveragePooling2D(stride, padding="same", name=f"{self.name}_{part}")(x)

    def flatten(self, x: Any) -> Any:
        """Drops the pooled dimensions."""
        return keras.layers.Flatten(name=f"{self.name}_flatten")(x)

    def multiply(self, part: str, x: Any, gate: Any) -> Any:
        """Product."""
        return keras.layers.Multiply(name=f"{self.name}_{part}")([x, gate])

    def add(self, part: str, x: Any, y: Any) -> Any:
        """Sum."""
        return keras.layers.Add(name=f"{self.name}_{part}")([x, y])
