"""The plain side of the topology: subnets and pieces of them as models of stock layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from compofa_tf.nets.topology import compute
from compofa_tf.space import Arch, Space
from compofa_tf.space.pieces import Piece
from compofa_tf.space.units import Part, Unit

# Given to every layer, for what is absent comes from ~/.keras/keras.json and global policies.
_TYPE = {"dtype": "float32"}
_MAP = {**_TYPE, "data_format": "channels_last"}
_STOCK_ACTIVATIONS = {"hard_swish": "hard_silu", "hard_sigmoid": "hard_sigmoid"}


def build(space: Space, arch: Arch, *, name: str | None = None, library: Any = keras) -> Any:
    """Returns a subnet with fresh weights as a functional model of stock layers.

    Args:
      space: The space.
      arch: A subnet of it; its resolution is the input's.
      name: Name of the model; the subnet's id when absent.
      library: The package whose layers are used: ``keras``, or ``tf_keras`` for tools that still need that.

    Returns:
      Model from normalised float32 ``[batch, resolution, resolution, 3]`` to logits ``[batch, classes]``. Layers are
      named ``unit_part``.
    """
    shape = (arch.resolution, arch.resolution, 3)
    return _functional(space.units(arch), shape, space.epsilon, name or space.id(arch), library)


def build_piece(piece: Piece, *, space: Space) -> keras.Model:
    """Returns one piece of a subnet as a model, built by the same code as the whole."""
    return _functional(piece.units, (piece.height, piece.width, piece.channels), space.epsilon, "piece", keras)


def _functional(units: Sequence[Unit], shape: tuple[int, int, int], epsilon: float, name: str, library: Any) -> Any:
    inputs = library.Input(shape, name="images", dtype="float32")
    x: Any = inputs
    for unit in units:
        x = compute(unit, StockOps(unit.name, epsilon=epsilon, library=library), x)
    return library.Model(inputs, x, name=name)


class StockOps:
    """Builds stock layers for one unit; layer names are ``unit_part``.

    Args:
      name: Name of the unit.
      epsilon: Batch-norm epsilon.
      library: The package whose layers are built, see ``build``.
    """

    def __init__(self, name: str, *, epsilon: float, library: Any = keras) -> None:
        self.name, self.epsilon, self.library, self.layers = name, epsilon, library, library.layers

    def weigh(self, part: Part, x: Any) -> Any:
        """Convolution or matrix, then batch norm."""
        name = f"{self.name}_{part.name}"
        if part.kind == "dense":
            return self.layers.Dense(part.out_channels, use_bias=part.bias, name=name, **_TYPE)(x)
        if part.stride > 1 and part.kernel_size > 1:
            x = self.layers.ZeroPadding2D(part.kernel_size // 2, name=f"{name}_pad", **_MAP)(x)
        padding = "same" if part.stride == 1 else "valid"
        options = {"strides": part.stride, "padding": padding, "use_bias": part.bias, "name": name, **_MAP}
        if part.kind == "depthwise":
            y = self.layers.DepthwiseConv2D(part.kernel_size, **options)(x)
        else:
            y = self.layers.Conv2D(part.out_channels, part.kernel_size, **options)(x)
        if part.norm:
            y = self.layers.BatchNormalization(epsilon=self.epsilon, name=f"{name}_bn", **_TYPE)(y)
        return y

    def activate(self, name: str, activation: str, x: Any) -> Any:
        """The stock activation of that function."""
        if activation == "linear":
            return x
        full = f"{self.name}_{name}_{activation}"
        if activation in _STOCK_ACTIVATIONS and not hasattr(self.library.activations, "hard_silu"):
            return self._composed(full, activation, x)
        return self.layers.Activation(_STOCK_ACTIVATIONS.get(activation, activation), name=full, **_TYPE)(x)

    def _composed(self, name: str, activation: str, x: Any) -> Any:
        """Out of relu6, where the library has no hard-swish and means another function by hard-sigmoid."""
        shifted = self.layers.Rescaling(1.0, offset=3.0, name=f"{name}_shift", **_TYPE)(x)
        gate = self.layers.ReLU(max_value=6.0, name=f"{name}_relu6", **_TYPE)(shifted)
        gate = self.layers.Rescaling(1 / 6, name=f"{name}_sixth", **_TYPE)(gate)
        return self.layers.Multiply(name=name, **_TYPE)([x, gate]) if activation == "hard_swish" else gate

    def pool(self, name: str, x: Any) -> Any:
        """Global average."""
        return self.layers.GlobalAveragePooling2D(keepdims=True, name=f"{self.name}_{name}", **_MAP)(x)

    def max_pool(self, name: str, stride: int, x: Any) -> Any:
        """Largest of 3x3 pixels; the border is 0, which no map that comes here is below."""
        x = self.layers.ZeroPadding2D(1, name=f"{self.name}_{name}_pad", **_MAP)(x)
        return self.layers.MaxPooling2D(3, stride, name=f"{self.name}_{name}", **_MAP)(x)

    def average_pool(self, name: str, stride: int, x: Any) -> Any:
        """Average over a window; padding does not count."""
        return self.layers.AveragePooling2D(stride, padding="same", name=f"{self.name}_{name}", **_MAP)(x)

    def flatten(self, x: Any) -> Any:
        """Drops the pooled dimensions."""
        return self.layers.Flatten(name=f"{self.name}_flatten", **_MAP)(x)

    def multiply(self, name: str, x: Any, gate: Any) -> Any:
        """Product."""
        return self.layers.Multiply(name=f"{self.name}_{name}", **_TYPE)([x, gate])

    def add(self, name: str, x: Any, y: Any) -> Any:
        """Sum."""
        return self.layers.Add(name=f"{self.name}_{name}", **_TYPE)([x, y])
