"""What a space is made of: stages with their choices, slots with their options, pieces to measure. No TensorFlow."""

from __future__ import annotations

import abc
import functools
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from compofa_tf.arch import Expand
from compofa_tf.units import (
    Activation,
    BlockUnit,
    ConvUnit,
    MaxPoolUnit,
    ResidualUnit,
    Unit,
    make_divisible,
    unit_ops,
)


@dataclass(frozen=True)
class Place:
    """Where in a stage a unit stands, and which of the choices decide it.

    Attributes:
      name: Last part of the unit's name.
      needs: The place is kept when the depth of the stage is at least this.
      block: Which of the stage's expand ratios and kernels it takes; None for none.
      widths: Which width choices it takes: 0 is the first of the stage's own, -1 the last one before the stage.
    """

    name: str
    needs: int = 0
    block: int | None = None
    widths: tuple[int, ...] = ()


class Stage(abc.ABC):
    """A run of units whose depth is elastic, and whose blocks may have elastic expand ratios, kernels and widths.

    Attributes:
      choices: ``(depth, expand ratio)`` pairs: what the compound coupling may choose. The independent coupling takes
        any of the depths for the stage and any expand ratio for each block.
      kernel: Kernel side of all blocks when kernels are fixed.
      kernels: What an elastic kernel may be.
      name: Beginning of the names of its units; stages without one are numbered.
    """

    choices: tuple[tuple[int, Expand], ...]
    kernel: int
    kernels: tuple[int, ...]
    name: str = ""

    @property
    def depths(self) -> tuple[int, ...]:
        """Depths in the order of the choices."""
        return tuple(depth for depth, _ in self.choices)

    @property
    def expands(self) -> tuple[Expand, ...]:
        """Expand ratios that the independent coupling may choose for a block."""
        return tuple(expand for _, expand in self.choices)

    @property
    def width_counts(self) -> tuple[int, ...]:
        """Options of each width choice of the stage; in the compound coupling the n-th goes with the n-th depth."""
        return ()

    @property
    @abc.abstractmethod
    def places(self) -> tuple[Place, ...]:
        """The places of the full-depth stage, in execution order."""

    @abc.abstractmethod
    def unit(self, name: str, place: Place, expand: Expand, kernel: int, widths: tuple[int, ...]) -> Unit:
        """Returns what stands at a place when its choices are made: every size decided."""

    @abc.abstractmethod
    def out_channels(self, width: int | None) -> int:
        """Returns the channels that the stage writes when its last width choice is this one."""

    @functools.cached_property
    def blocks(self) -> int:
        """Number of blocks of the full-depth stage: entries that it has in ``Arch.expands`` and ``Arch.kernels``."""
        return self.kept_blocks(max(self.depths))

    def kept_blocks(self, depth: int) -> int:
        """Returns how many blocks the stage keeps at a depth: always the first ones."""
        return sum(place.block is not None and place.needs <= depth for place in self.places)

    def settle(self, depth: Any) -> Any:
        """Returns the depth that a published setting means: a stage of one possible depth keeps it."""
        (only, *others) = self.depths
        return only if not others and isinstance(depth, Integral) and int(depth) > only else depth


@dataclass(frozen=True)
class InvertedStage(Stage):
    """Inverted bottlenecks of one output width; only the first has the stride (MobileNetV2, arXiv:1801.04381).

    Attributes:
      in_channels: Channels that enter the stage.
      width: Channels that every block of the stage writes.
      stride: Stride of the first block.
      activation: Activation of the blocks.
      squeeze_excite: Whether the blocks have squeeze-and-excite.
      kernel: Depthwise kernel of all blocks when kernels are fixed.
      choices: See ``Stage``.
      kernels: See ``Stage``.
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
    name: str = ""

    @property
    def expands(self) -> tuple[Expand, ...]:
        """Expand ratios that the independent coupling may choose for a block."""
        return self.ratios or super().expands

    @functools.cached_property
    def places(self) -> tuple[Place, ...]:
        """One block for each unit of depth."""
        return tuple(Place(f"block{i}", needs=i + 1, block=i) for i in range(max(self.depths)))

    def unit(self, name: str, place: Place, expand: Expand, kernel: int, widths: tuple[int, ...]) -> BlockUnit:
        """Returns the block of a place."""
        in_channels, stride = (self.in_channels, self.stride) if place.block == 0 else (self.width, 1)
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

    def out_channels(self, width: int | None) -> int:
        """The one width."""
        return self.width


class _ElasticWidth(Stage):
    """What the stages of ResNet share: 3x3 kernels, and a width to choose."""

    kernel = 3
    kernels = (3,)
    widths: tuple[int, ...]

    def out_channels(self, width: int | None) -> int:
        """The chosen width; the largest for None."""
        return self.widths[-1 if width is None else width]


@dataclass(frozen=True)
class ResidualStage(_ElasticWidth):
    """Residual bottlenecks of elastic width; the first has the stride and a convolution in its shortcut.

    Attributes:
      in_widths: Channels that may enter, by the width choice before the stage.
      widths: Channels that every block may write, by the stage's width choice.
      stride: Stride of the first block.
      base: Blocks at depth 0.
      choices: See ``Stage``; depths are counted from ``base``, as in the published settings.
    """

    in_widths: tuple[int, ...]
    widths: tuple[int, ...]
    stride: int
    base: int
    choices: tuple[tuple[int, Expand], ...]
    name: str = ""

    @property
    def width_counts(self) -> tuple[int, ...]:
        """One choice, of the width of all blocks."""
        return (len(self.widths),)

    @functools.cached_property
    def places(self) -> tuple[Place, ...]:
        """The base blocks and one for each unit of depth."""
        count = self.base + max(self.depths)
        return tuple(
            Place(f"block{i}", max(0, i + 1 - self.base), i, (-1, 0) if i == 0 else (0,)) for i in range(count)
        )

    def unit(self, name: str, place: Place, expand: Expand, kernel: int, widths: tuple[int, ...]) -> ResidualUnit:
        """Returns the block of a place; its middle is a share of what it writes."""
        first, out_channels = place.block == 0, self.widths[widths[-1]]
        return ResidualUnit(
            name=name,
            in_channels=self.in_widths[widths[0]] if first else out_channels,
            middle=make_divisible(round(out_channels * expand)),
            out_channels=out_channels,
            stride=self.stride if first else 1,
            downsample=first,
        )


@dataclass(frozen=True)
class ResidualStem(_ElasticWidth):
    """The stem of ResNet-D: three 3x3 convolutions, that in the middle a residual one kept at depth 2, and a max-pool.

    Attributes:
      middles: Channels between the convolutions, by the first width choice.
      widths: Channels that the stem writes, by the second.
      strides: Strides of the first convolution and of the pool.
      choices: Depths with the expand ratio 0: the stem has no blocks with one.
    """

    middles: tuple[int, ...]
    widths: tuple[int, ...]
    strides: tuple[int, int]
    choices: tuple[tuple[int, Expand], ...]
    name: str = "stem"

    @property
    def width_counts(self) -> tuple[int, ...]:
        """Two choices: the middle and what the stem writes."""
        return (len(self.middles), len(self.widths))

    @property
    def places(self) -> tuple[Place, ...]:
        """In, the optional residual convolution, out, pool."""
        return (
            Place("in", 0, None, (0,)),
            Place("residual", 2, None, (0,)),
            Place("out", 0, None, (0, 1)),
            Place("pool"),
        )

    def unit(self, name: str, place: Place, expand: Expand, kernel: int, widths: tuple[int, ...]) -> Unit:
        """Returns the convolution or pool of a place."""
        if place.name == "pool":
            return MaxPoolUnit(name, self.strides[1])
        middle = self.middles[widths[0]]
        if place.name == "in":
            return ConvUnit(name, 3, middle, 3, self.strides[0], "relu")
        if place.name == "residual":
            return ConvUnit(name, middle, middle, 3, 1, "relu", shortcut=True)
        return ConvUnit(name, middle, self.widths[widths[1]], 3, 1, "relu")

    def settle(self, depth: Any) -> Any:
        """Returns 0 for 1 where only 2 keeps the residual convolution: the published settings know both."""
        return 0 if isinstance(depth, Integral) and depth == 1 and 1 not in self.depths else depth


@dataclass(frozen=True)
class Slot:
    """A place in the network and all that may stand there.

    Attributes:
      name: Name of the units of the slot.
      options: The possible units; ``None`` (first, if at all) means that the place is skipped.
      settings: ``(expand, kernel, *widths)`` of each option, 0 for what it does not take; ``None`` for the skip.
    """

    name: str
    options: tuple[Unit | None, ...]
    settings: tuple[tuple[Any, ...] | None, ...] = ((0, 0),)

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
