"""What a space is made of: stages with their choices, and slots with their options. No TensorFlow."""

from __future__ import annotations

import abc
import functools
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from compofa_tf.space.arch import Expand
from compofa_tf.space.units import (
    Activation,
    BlockUnit,
    ConvUnit,
    MaxPoolUnit,
    ResidualUnit,
    Unit,
    make_divisible,
)


@dataclass(frozen=True)
class SlotSpec:
    """What a stage says about one of its slots: when it is kept, and which of the choices decide its unit.

    Attributes:
      name: Last part of the unit's name.
      needs: The slot is kept when the depth of the stage is at least this.
      block: Which of the stage's expand ratios and kernels it takes; None for none.
      before: Whether the last width choice before the stage decides it, too.
      own: Which of the stage's own width choices decide it.
    """

    name: str
    needs: int = 0
    block: int | None = None
    before: bool = False
    own: tuple[int, ...] = ()

    def widths(self, before: tuple[int, ...], own: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the width choices that decide the unit.

        Args:
          before: The width choices before the stage, of which the last one may count.
          own: Those of the stage.
        """
        return (*(before[-1:] if self.before else ()), *(own[index] for index in self.own))


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
    def specs(self) -> tuple[SlotSpec, ...]:
        """The slots of the full-depth stage, in execution order."""

    @abc.abstractmethod
    def unit(self, name: str, spec: SlotSpec, expand: Expand, kernel: int, widths: tuple[int, ...]) -> Unit:
        """Returns what stands in a slot when its choices are made: every size decided.

        Args:
          name: Of the unit.
          spec: The slot.
          expand: Expand ratio; 0 where the slot takes none.
          kernel: Kernel side; 0 where the slot takes none.
          widths: ``SlotSpec.widths``.
        """

    @abc.abstractmethod
    def out_channels(self, width: int | None) -> int:
        """Returns the channels that the stage writes when its last width choice is this one."""

    @functools.cached_property
    def blocks(self) -> int:
        """Number of blocks of the full-depth stage: entries that it has in ``Arch.expands`` and ``Arch.kernels``."""
        return self.kept_blocks(max(self.depths))

    def kept_blocks(self, depth: int) -> int:
        """Returns how many blocks the stage keeps at a depth: always the first ones."""
        return sum(spec.block is not None and spec.needs <= depth for spec in self.specs)

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
    def specs(self) -> tuple[SlotSpec, ...]:
        """One block for each unit of depth."""
        return tuple(SlotSpec(f"block{i}", needs=i + 1, block=i) for i in range(max(self.depths)))

    def unit(self, name: str, spec: SlotSpec, expand: Expand, kernel: int, widths: tuple[int, ...]) -> BlockUnit:
        """Returns the block of a slot."""
        in_channels, stride = (self.in_channels, self.stride) if spec.block == 0 else (self.width, 1)
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
    def specs(self) -> tuple[SlotSpec, ...]:
        """The base blocks and one for each unit of depth."""
        count = self.base + max(self.depths)
        return tuple(SlotSpec(f"block{i}", max(0, i + 1 - self.base), i, before=i == 0, own=(0,)) for i in range(count))

    def unit(self, name: str, spec: SlotSpec, expand: Expand, kernel: int, widths: tuple[int, ...]) -> ResidualUnit:
        """Returns the block of a slot; its middle is a share of what it writes."""
        first, out_channels = spec.block == 0, self.widths[widths[-1]]
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
    def specs(self) -> tuple[SlotSpec, ...]:
        """In, the optional residual convolution, out, pool."""
        return (
            SlotSpec("in", own=(0,)),
            SlotSpec("residual", needs=2, own=(0,)),
            SlotSpec("out", own=(0, 1)),
            SlotSpec("pool"),
        )

    def unit(self, name: str, spec: SlotSpec, expand: Expand, kernel: int, widths: tuple[int, ...]) -> Unit:
        """Returns the convolution or pool of a slot."""
        if spec.name == "pool":
            return MaxPoolUnit(name, self.strides[1])
        middle = self.middles[widths[0]]
        if spec.name == "in":
            return ConvUnit(name, 3, middle, 3, self.strides[0], "relu")
        if spec.name == "residual":
            return ConvUnit(name, middle, middle, 3, 1, "relu", shortcut=True)
        return ConvUnit(name, middle, self.widths[widths[1]], 3, 1, "relu")

    def settle(self, depth: Any) -> Any:
        """Returns 0 for 1 where only 2 keeps the residual convolution: the published settings know both."""
        return 0 if isinstance(depth, Integral) and depth == 1 and 1 not in self.depths else depth


@dataclass(frozen=True)
class Slot:
    """A position in the network and all that may stand there.

    Attributes:
      name: Name of the units of the slot.
      options: The possible units; ``None`` (first, if at all) means that the slot is skipped.
      choices: ``(expand, kernel, *widths)`` of each option, 0 for what it does not take; ``None`` for the skip.
    """

    name: str
    options: tuple[Unit | None, ...]
    choices: tuple[tuple[Any, ...] | None, ...] = ((0, 0),)

    @property
    def elastic(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.options) > 1
