"""A layout as a table for people. No TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from compofa_tf.space.layout import Layout
from compofa_tf.space.units import Unit

_TITLES = ("stage", "width", "stride", "kernel", "depths", "choices")
_ALIGNED = "<>>><<"


def table_of(layout: Layout) -> str:
    """Returns stem, stages and head, a row each: width, stride, kernel side, depths, and what goes with a depth.

    Of the compound coupling the last column has pairs, depth and expand ratio; of the independent one the expand ratios
    that each block may have.
    """
    return "\n".join(aligned([_TITLES, *_rows(layout)], _ALIGNED))


def aligned(rows: Sequence[tuple[str, ...]], sides: str) -> list[str]:
    """Returns rows as lines whose columns stand below each other, ``<`` to the left or ``>`` to the right."""
    lengths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(f"{text:{side}{n}}" for text, side, n in zip(row, sides, lengths)) for row in rows)
    return [line.rstrip() for line in lines]


def _rows(layout: Layout) -> Iterator[tuple[str, ...]]:
    yield from map(_unit_row, layout.stem)
    for position, (stage, units) in enumerate(zip(layout.stages, layout.stage_units(layout.largest(224)))):
        widths = {stage.out_channels(width) for width in range(stage.width_counts[-1])} if stage.width_counts else ()
        kernels = stage.kernels if layout.kernel == "elastic" else (stage.kernel,)
        pairs = [f"{depth}:{expand:g}" for depth, expand in stage.choices if expand]
        free = layout.coupling == "independent"
        yield (
            layout.stage_name(position),
            _joined(sorted(widths) or [stage.out_channels(None)]),
            str(math.prod(getattr(unit, "stride", 1) for unit in units)),
            _joined(kernels),
            _joined(stage.depths),
            _joined(sorted(set(stage.expands))) if free and pairs else " ".join(pairs),
        )
    yield from map(_unit_row, layout.head)


def _unit_row(unit: Unit) -> tuple[str, ...]:
    names = ("out_channels", "stride", "kernel")
    return (unit.name, *(str(getattr(unit, name, "")) for name in names), "", "")


def _joined(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
