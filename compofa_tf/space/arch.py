"""An architecture is a value: the description of one subnet. No TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

Expand = float
"""Ratio of middle to input channels of a block; a whole number in the MobileNet families."""


class StageChoice(NamedTuple):
    """What is chosen for one stage.

    Attributes:
      depth: As in ``Arch.depths``.
      expands: Expand ratio per block of the full-depth stage; 0 for those that the depth drops.
      kernels: Kernel side per block, likewise.
      widths: One entry per width choice of the stage.
    """

    depth: int
    expands: tuple[Expand, ...]
    kernels: tuple[int, ...]
    widths: tuple[int, ...]

    @classmethod
    def of(
        cls, depth: int, blocks: Sequence[tuple[Expand, int]], *, count: int, widths: Iterable[int] = ()
    ) -> StageChoice:
        """Returns the choice that keeps some blocks.

        Args:
          depth: As the attribute.
          blocks: Expand ratio and kernel side of each block that the depth keeps.
          count: Blocks of the full-depth stage; those that are not kept get 0.
          widths: As the attribute.
        """
        expands, kernels = zip(*blocks, *[(0, 0)] * (count - len(blocks))) if count else ((), ())
        return cls(depth, expands, kernels, tuple(widths))


@dataclass(frozen=True, order=True)
class Arch:
    """The description of one subnet: a value, hashable and comparable.

    Made by ``Space.arch``, which checks it. ``expands`` and ``kernels`` have one entry per block of the full-depth
    network, stage-major; entries of blocks that the depths drop are 0, so equal networks are equal values.

    Attributes:
      depths: Blocks kept in each stage; in the ResNet family those beyond the fixed ones.
      expands: Expand ratio per block.
      kernels: Side of the depthwise kernel per block.
      resolution: Side of the square input in pixels.
      widths: Which of the family's widths each width choice takes, 0 the narrowest; empty where widths are fixed.
    """

    depths: tuple[int, ...]
    expands: tuple[Expand, ...]
    kernels: tuple[int, ...]
    resolution: int
    widths: tuple[int, ...] = ()

    @classmethod
    def of(cls, choices: Iterable[StageChoice], resolution: int) -> Arch:
        """Returns the description that makes these choices, one for each stage; nothing is checked."""
        depths, expands, kernels, widths = zip(*choices)
        expands, kernels, widths = (tuple(itertools.chain(*values)) for values in (expands, kernels, widths))
        return cls(depths, expands, kernels, resolution, widths)

    def at(self, resolution: int) -> Arch:
        """Returns the same subnet at another input resolution."""
        return replace(self, resolution=resolution)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable mapping."""
        return {
            "depths": list(self.depths),
            "expands": list(self.expands),
            "kernels": list(self.kernels),
            "resolution": self.resolution,
            **({"widths": list(self.widths)} if self.widths else {}),
        }
