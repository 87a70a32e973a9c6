"""A recipe as a table for people: a row per phase, then what else is set, by the words that ``--set`` takes."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compofa_tf.recipes.settings import PhaseSettings
from compofa_tf.space.printing import aligned

_WIDTH = 110


def table_of(phases: Sequence[tuple[str, PhaseSettings]], parts: Mapping[str, Any]) -> str:
    """Returns the phases, a row each, and below them a paragraph for each other part of a recipe.

    What is left empty in all phases has no column, and what is left empty in a part is not named there.

    Args:
      phases: Name and settings of each phase, in order.
      parts: The other settings by name, dataclasses.
    """
    return "\n".join([*_phase_lines(phases), *_part_lines(parts)])


def _phase_lines(phases: Sequence[tuple[str, PhaseSettings]]) -> list[str]:
    titles = ["network", *(f.name for f in dataclasses.fields(PhaseSettings) if f.name != "network")]
    columns = [(title, *(_text(getattr(phase, title)) for _, phase in phases)) for title in titles]
    filled = [column for column in columns if any(column[1:])]
    names = ("phase", *(name for name, _ in phases))
    return aligned(list(zip(names, *filled)), "<" * (1 + len(filled)))


def _part_lines(parts: Mapping[str, Any]) -> Iterator[str]:
    length = max(map(len, parts)) + 2
    lines = textwrap.TextWrapper(_WIDTH, subsequent_indent=" " * length, break_long_words=False, break_on_hyphens=False)
    for part, settings in parts.items():
        values = {field.name: _text(getattr(settings, field.name)) for field in dataclasses.fields(settings)}
        lines.initial_indent = f"{part:{length}}"
        yield from lines.wrap(" ".join(f"{name}={value}" for name, value in values.items() if value))


def _text(value: Any) -> str:
    """A value as ``--set`` takes it; nothing for None and for empty lists."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
