"""A layout as a table for people. No TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from compofa_tf.space.layout import Layout
from compofa_tf.space.units import Unit

_TITLES = ("stage", "width", "stride", "kernel", "activation", "depths", "expand ratios")
_SIDES = "<>>><<<"


def aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Returns rows as lines whose columns stand below each other, ``<`` to the left or ``>`` to the right."""
    lengths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(f"{text:{side}{n}}" for text, side, n in zip(row, sides, lengths)) for row in rows)
    return [line.rstrip() for line in lines]


def table_of(layout: Layout) -> str:
    """Returns the units of the stem, the stages and the units of the head, a row each, with all that they may be."""
    return "\n".join(aligned([_TITLES, *_rows(layout)], _SIDES))


def choices_of(layout: Layout) -> str:
    """Returns a sentence that says what goes with what when a subnet is chosen."""
    widths = any(stage.width_counts for stage in layout.stages)
    elastic = layout.kernel == "elastic"
    if layout.coupling == "compound":
        said = "the n-th depth of a stage goes with its n-th expand ratio" + (" and width" if widths else "")
        return f"compound: {said}{'; any kernel for each block' if elastic else ''}"
    said = "any depth for each stage" + (" and any width" if widths else "")
    return f"independent: {said}, any expand ratio {'and kernel ' if elastic else ''}for each block"


def _rows(layout: Layout) -> Iterator[tuple[str, ...]]:
    yield from map(_unit_row, layout.stem)
    for position, (stage, units) in enumerate(zip(layout.stages, layout.stage_units(layout.largest(224)))):
        widths = {stage.out_channels(width) for width in range(stage.width_counts[-1])} if stage.width_counts else ()
        compound = layout.coupling == "compound"
        ratios = [ratio for _, ratio in stage.choices] if compound else sorted(set(stage.expands))
        yield (
            layout.stage_name(position),
            _joined(sorted(widths) or [stage.out_channels(None)]),
            str(math.prod(getattr(unit, "stride", 1) for unit in units)),
            _joined(stage.kernels if layout.kernel == "elastic" else (stage.kernel,)),
            _activation(units[0]),
            _joined(stage.depths),
            _joined(filter(None, ratios)),
        )
    yield from map(_unit_row, layout.head)


def _unit_row(unit: Unit) -> tuple[str, ...]:
    names = ("out_channels", "stride", "kernel")
    return (unit.name, *(str(getattr(unit, name, "")) for name in names), _activation(unit), "", "")


def _activation(unit: Unit) -> str:
    """The activation, and whether squeeze-and-excite follows it; a residual bottleneck knows only one."""
    name = getattr(unit, "activation", "")
    return f"{name}, SE" if getattr(unit, "se_channels", 0) else name


def _joined(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
