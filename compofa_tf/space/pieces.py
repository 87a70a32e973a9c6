"""Pieces: what a latency table measures, and a few subnets that together have every piece. No TensorFlow."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from compofa_tf.space.arch import Arch
from compofa_tf.space.layout import Layout
from compofa_tf.space.units import Unit


@dataclass(frozen=True)
class Piece:
    """Consecutive units of a network: what a latency table measures. The pieces of a subnet add up to it.

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
        height, width = unit.map_size(height, width)
        channels = getattr(unit, "out_channels", channels)
    key = "x".join(map(str, shape)) + ":" + "+".join(unit.key for unit in units)
    return Piece(key, units, *shape), (height, width, channels)


def pieces_are_blocks(layout: Layout) -> bool:
    """Returns whether a latency table measures single blocks, because stages have too many forms, or whole stages."""
    return layout.coupling == "independent" or layout.kernel == "elastic"


def pieces_of(layout: Layout, arch: Arch) -> tuple[Piece, ...]:
    """Returns what a latency table measures of a subnet: stem, stages (blocks in large spaces), head."""
    parts: Iterable[tuple[Unit, ...]] = layout.stage_units(arch)
    if pieces_are_blocks(layout):
        parts = [(unit,) for stage in parts for unit in stage]
    shape = (arch.resolution, arch.resolution, 3)
    pieces = []
    for units in filter(None, (layout.stem, *parts, layout.head_units(arch))):
        piece, shape = cut_piece(units, shape)
        pieces.append(piece)
    return tuple(pieces)


def covering_archs(layout: Layout, resolution: int) -> Iterator[Arch]:
    """Yields subnets that together have every piece that any subnet has at one resolution.

    The pieces of a stage depend on nothing outside it but the width before it, and a block of a stage on nothing but
    its place, expand ratio, kernel and widths. So subnets whose stages and blocks all make their first choice, all
    their second, and so on, have them all: 3 subnets instead of 243, 9 instead of 10^19. With elastic widths the choice
    also moves on by none, one, two, ... from stage to stage, so that every pair of neighbours occurs.
    """
    independent, elastic = layout.coupling == "independent", layout.kernel == "elastic"
    choices = max(len(stage.expands if independent else stage.choices) for stage in layout.stages)
    kernels = max(len(stage.kernels) for stage in layout.stages) if elastic else 1
    counts = [count for stage in layout.stages for count in stage.width_counts]
    widths = max(counts, default=1)
    for choice, kernel in itertools.product(range(choices), range(kernels)):
        if not independent:
            for pace in range(choices if counts else 1):
                yield _compound(layout, resolution, choice, kernel, pace)
            continue
        for first, pace in itertools.product(range(widths), repeat=2):
            moving = [(first + pace * i) % widths for i in range(len(counts))]
            yield _uniform(layout, resolution, choice, kernel, moving)


def _uniform(layout: Layout, resolution: int, choice: int, kernel: int, widths: Sequence[int]) -> Arch:
    """All blocks make the same choice, as far as their stages have it."""
    counts = [count for stage in layout.stages for count in stage.width_counts]
    return layout.arch(
        depths=[max(stage.depths) for stage in layout.stages],
        expands=[_at(stage.expands, choice) for stage in layout.stages for _ in range(stage.blocks)],
        kernels=_kernels(layout, kernel),
        widths=[min(width, count - 1) for width, count in zip(widths, counts)],
        resolution=resolution,
    )


def _compound(layout: Layout, resolution: int, choice: int, kernel: int, pace: int) -> Arch:
    """The stages make choices one pace apart."""
    most = max(len(stage.choices) for stage in layout.stages)
    depths = [
        _at(stage.choices, (choice + pace * i) % most if pace else choice)[0] for i, stage in enumerate(layout.stages)
    ]
    return layout.arch(depths=depths, kernels=_kernels(layout, kernel), resolution=resolution)


def _kernels(layout: Layout, kernel: int) -> list[int] | None:
    if layout.kernel == "fixed":
        return None
    return [_at(stage.kernels, kernel) for stage in layout.stages for _ in range(stage.blocks)]


def _at(options: Sequence[Any], index: int) -> Any:
    return options[min(index, len(options) - 1)]
