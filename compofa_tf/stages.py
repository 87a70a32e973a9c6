"""What a space is made of: stages with their choices, slots with their options, pieces to measure. No TensorFlow."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from compofa_tf.arch import Expand
from compofa_tf.units import Activation, BlockUnit, Unit, make_divisible, unit_ops


@dataclass(frozen=True)
class Stage:
    """A run of blocks with one output width; only the first block has the stride.

    Attributes:
      in_channels: Channels that enter the stage.
      width: Channels that every block of the stage writes.
      stride: Stride of the first block.
      activation: Activation of the blocks.
      squeeze_excite: Whether the blocks have squeeze-and-excite.
      kernel: Depthwise kernel of all blocks when kernels are fixed.
      choices: ``(depth, expand ratio)`` pairs: what the compound coupling may choose. The independent coupling takes
        any depth for the stage and any expand ratio for each block.
      kernels: What an elastic kernel may be.
      ratios: Expand ratios of the independent coupling; those of the choices when empty.
    """

    in_channels: int
    width: int
    stride: int
    activation: Activation
    squeeze_excite: bool
    kernel: int
    choices: tuple[tuple[int, Expand], ...]
    kernels: tuple[int, ...]
    ratios: tuple[Expand, ...] = ()

    @property
    def depths(self) -> tuple[int, ...]:
        """Depths in the order of the choices."""
        return tuple(depth for depth, _ in self.choices)

    @property
    def expands(self) -> tuple[Expand, ...]:
        """Expand ratios that the independent coupling may choose for a block."""
        return self.ratios or tuple(expand for _, expand in self.choices)

    def block(self, name: str, position: int, expand: Expand, kernel: int) -> BlockUnit:
        """Returns the block at ``position`` of the stage with every size decided."""
        in_channels, stride = (self.in_channels, self.stride) if position == 0 else (self.width, 1)
        middle = make_divisible(round(in_channels * expand))
        return BlockUnit(
            name=name,
            in_channels=in_channels,
            middle=middle,
            out_channels=self.width,
            kernel=kernel,
            stride=stride,
            activation=self.activation,
            se_channels=make_divisible(middle // 4) if self.squeeze_excite else 0,
            shortcut=stride == 1 and in_channels == self.width,
        )


@dataclass(frozen=True)
class Slot:
    """A place in the network and all that may stand there.

    Attributes:
      name: Name of the units of the slot.
      options: The possible units, distinct; ``None`` (first, if at all) means that the place is skipped.
      settings: ``(expand, kernel)`` of each option, ``None`` for the skip; empty outside the stages.
    """

    name: str
    options: tuple[Unit | None, ...]
    settings: tuple[tuple[Expand, int] | None, ...] = ()

    @property
    def elastic(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.options) > 1


@dataclass(frozen=True)
class Piece:
    """A consecutive part of a network: what a latency table measures. The pieces of a subnet add up to it.

    Attributes:
      key: Input size and every size inside; equal keys mean equal computation.
      units: The units, in order.
      height: Rows of the input map.
      width: Columns of the input map.
      channels: Channels of the input map.
    """

    key: str
    units: tuple[Unit, ...]
    height: int
    width: int
    channels: int


@functools.lru_cache(maxsize=1 << 16)
def cut_piece(units: tuple[Unit, ...], shape: tuple[int, int, int]) -> tuple[Piece, tuple[int, int, int]]:
    """Returns the piece of some units on an input ``(height, width, channels)``, and the shape that it writes."""
    height, width, channels = shape
    for unit in units:
        _, height, width = unit_ops(unit, height, width)
        channels = getattr(unit, "out_channels", channels)
    key = "x".join(map(str, shape)) + ":" + "+".join(unit.key for unit in units)
    return Piece(key, units, *shape), (height, width, channels)
