"""How units compute, written once: the same topology runs on elastic weights and builds stock Keras layers.

A unit of one's own computes by a function that is registered with ``compute.register``.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

from compofa_tf.errors import InputError
from compofa_tf.space.units import BlockUnit, ConvUnit, DenseUnit, MaxPoolUnit, Part, PoolUnit, ResidualUnit, Unit


class Ops(Protocol):
    """What the topology needs: elastic layers on one side, stock Keras layers on the other."""

    def weigh(self, part: Part, x: Any) -> Any:
        """Convolution or matrix of a part, with bias and batch norm as the part says."""

    def activate(self, name: str, activation: str, x: Any) -> Any:
        """The named activation after a part."""

    def pool(self, name: str, x: Any) -> Any:
        """Global average, ``[batch, 1, 1, channels]``."""

    def max_pool(self, name: str, stride: int, x: Any) -> Any:
        """Largest of 3x3 pixels of a map that is never negative; one pixel of border on every side."""

    def average_pool(self, name: str, stride: int, x: Any) -> Any:
        """Average of ``stride`` x ``stride`` pixels; the last ones of an odd side are averaged over fewer."""

    def flatten(self, x: Any) -> Any:
        """``[batch, 1, 1, channels]`` to ``[batch, channels]``."""

    def multiply(self, name: str, x: Any, gate: Any) -> Any:
        """Product of a map and a pooled gate."""

    def add(self, name: str, x: Any, y: Any) -> Any:
        """Sum of two maps."""


@functools.singledispatch
def compute(unit: Unit, ops: Ops, x: Any) -> Any:
    """Computes a unit.

    Args:
      unit: The unit.
      ops: ``ElasticOps`` or ``StockOps``.
      x: ``[batch, height, width, channels]``.

    Returns:
      ``[batch, height', width', out_channels]``; the classifier gives ``[batch, classes]``.
    """
    raise InputError(
        f"Nothing says how this unit computes: register a function with compute.register. Received: {unit}"
    )


@compute.register
def _conv(unit: ConvUnit, ops: Ops, x: Any) -> Any:
    (part,) = unit.parts
    y = ops.activate(part.name, unit.activation, ops.weigh(part, x))
    return ops.add("add", x, y) if unit.shortcut else y


@compute.register
def _block(unit: BlockUnit, ops: Ops, x: Any) -> Any:
    """Inverted bottleneck with squeeze-and-excite after the depthwise activation (arXiv:1905.02244, figure 4)."""
    parts = {part.name: part for part in unit.parts}
    y = x
    for name in ("expand", "depth"):
        if name in parts:
            y = ops.activate(name, unit.activation, ops.weigh(parts[name], y))
    if "reduce" in parts:
        gate = ops.activate("reduce", "relu", ops.weigh(parts["reduce"], ops.pool("squeeze", y)))
        gate = ops.activate("restore", "hard_sigmoid", ops.weigh(parts["restore"], gate))
        y = ops.multiply("excite", y, gate)
    y = ops.weigh(parts["project"], y)
    return ops.add("add", x, y) if unit.shortcut else y


@compute.register
def _residual(unit: ResidualUnit, ops: Ops, x: Any) -> Any:
    """Bottleneck of ResNet-D (arXiv:1812.01187, figure 2c): the shortcut averages before its convolution."""
    conv1, conv2, conv3, *shortcut = unit.parts
    y = ops.activate("conv1", "relu", ops.weigh(conv1, x))
    y = ops.activate("conv2", "relu", ops.weigh(conv2, y))
    y = ops.weigh(conv3, y)
    for part in shortcut:
        x = ops.weigh(part, ops.average_pool("average", unit.stride, x) if unit.stride > 1 else x)
    return ops.activate("add", "relu", ops.add("add", x, y))


@compute.register
def _max_pool(unit: MaxPoolUnit, ops: Ops, x: Any) -> Any:
    return ops.max_pool("pool", unit.stride, x)


@compute.register
def _pool(unit: PoolUnit, ops: Ops, x: Any) -> Any:
    return ops.pool("pool", x)


@compute.register
def _dense(unit: DenseUnit, ops: Ops, x: Any) -> Any:
    (part,) = unit.parts
    return ops.weigh(part, ops.flatten(x))
