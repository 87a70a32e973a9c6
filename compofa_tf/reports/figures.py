"""The figures of a run, written: family, training curves, latency check. Matplotlib is imported when one is drawn.

Inside a report the figures are SVG whose colours are CSS variables, so that they follow the light or dark page.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compofa_tf import files
from compofa_tf.reports import drawing, palette
from compofa_tf.reports.charts import Panel

PANEL_INCHES = (4.7, 3.75)
_POINTS_PER_AXES = 250.0  # height of the axes in the figure of save_family; the title stands above the names


def family_svg(panel: Panel) -> str:
    """Returns the family at one precision as inline SVG."""
    return _svg(
        lambda axes, colors: drawing.draw_family(axes, panel, colors), f"Accuracy against latency, {panel.title}"
    )


def save_family(panels: Sequence[Panel], path: str | os.PathLike[str]) -> Path:
    """Writes the family, one panel per precision side by side, on a white ground, and returns the path.

    Args:
      panels: One or more panels, of the same resolutions.
      path: A ``.png`` or ``.svg`` file, written atomically.
    """
    with _style(), files.atomic_write(path) as temporary:
        figure, grid = _figure((5.1 * len(panels), 4.3), len(panels))
        colors = palette.on_white(len(panels[0].resolutions))
        for axes, panel in zip(grid, panels):
            drawing.draw_family(axes, panel, colors)
        highest = max((text.get_position()[1] for axes in grid for text in axes.texts), default=1.0)
        pad = 10 + _POINTS_PER_AXES * (highest - 1)
        for axes, panel in zip(grid, panels):
            axes.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", color=colors["ink"], pad=pad)
        drawing.draw_legend(grid[-1], panels[-1], colors)
        kind = Path(path).suffix.lstrip(".").lower()
        figure.savefig(temporary, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    return Path(path)


def curves_svg(
    lines: Mapping[str, Sequence[tuple[float, float]]], *, phases: Sequence[tuple[str, float]], label: str
) -> str:
    """Returns one quantity against the training step as inline SVG.

    Args:
      lines: Points ``(step, value)`` by name; a line of more than 60 points is drawn with its moving average.
      phases: Name and last step of each phase, in order.
      label: What the values are, with unit.
    """
    return _svg(lambda axes, colors: drawing.draw_curves(axes, lines, phases, label, colors), label, inches=(4.7, 2.9))


def check_svg(pairs: Sequence[tuple[float, float]], *, title: str) -> str:
    """Returns measured against predicted latency of the validation subnets, ``(predicted_ms, measured_ms)``, as SVG."""
    return _svg(lambda axes, colors: drawing.draw_check(axes, pairs, colors), title, inches=(2.5, 2.35))


def _figure(inches: tuple[float, float], columns: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _style() -> Any:
    """Text stays text, names with a dollar sign are no formulas, equal input gives equal bytes."""
    import matplotlib

    return matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "compofa_tf", "font.family": "DejaVu Sans", "text.parse_math": False}
    )


def _svg(
    draw: Callable[[drawing.Axes, dict[str, str]], None], title: str, *, inches: tuple[float, float] = PANEL_INCHES
) -> str:
    placeholders = palette.placeholders()
    stream = io.StringIO()
    with _style():
        figure, (axes,) = _figure(inches)
        draw(axes, placeholders)
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    svg = re.sub(r"<metadata>.*?</metadata>", "", stream.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| (width|height)="[^"]*pt"| version="[^"]*"', "", svg, count=5)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace("'DejaVu Sans'", "var(--sans)")
    for name, color in placeholders.items():
        svg = svg.replace(color, f"var(--{name})")
    label = title.replace("&", "and").replace("<", "").replace('"', "")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
