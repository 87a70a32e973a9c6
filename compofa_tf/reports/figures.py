"""The figures of a run: family, training curves, latency check. Matplotlib is imported when one is drawn.

Inside a report the figures are SVG whose colours are CSS variables, so that they follow the light or dark page.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa_tf import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIGHT = {
    "ink": "#1d2330",
    "muted": "#6a7282",
    "grid": "#e7e5df",
    "card": "#ffffff",
    "accent": "#d4502a",
    "second": "#2f6f8f",
}
DARK = {
    "ink": "#e8e9ed",
    "muted": "#9aa2b1",
    "grid": "#2c313b",
    "card": "#1a1e26",
    "accent": "#ff8b64",
    "second": "#7cc0df",
}
RAMPS = {"light": ("#b3c7e3", "#6489c7", "#2b3a86"), "dark": ("#56689e", "#85a5e3", "#dbe7ff")}
MOST_RESOLUTIONS = 32
PANEL_INCHES = (4.7, 3.75)


@dataclass(frozen=True)
class Measured:
    """Measured values of one exported file.

    Attributes:
      ms: Median latency.
      p90_ms: 90th percentile of the latency.
      top1: Top-1 accuracy, in [0, 1].
      low: Lower end of its 95 % interval.
      high: Upper end of its 95 % interval.
    """

    ms: float
    p90_ms: float
    top1: float
    low: float
    high: float


@dataclass(frozen=True)
class Mark:
    """A chosen member: where it was predicted to be and where it is.

    Attributes:
      label: Its name in the figure.
      budget_ms: The budget that it was chosen for, if any.
      predicted: Predicted latency in ms and top-1 accuracy of the float subnet.
      measured: What the exported file reached.
    """

    label: str
    budget_ms: float | None = None
    predicted: tuple[float, float] | None = None
    measured: Measured | None = None


@dataclass(frozen=True)
class Panel:
    """The family at one precision.

    Attributes:
      title: Precision and device.
      dots: Predicted ms, top-1 accuracy and resolution of every covered member.
      front: Predicted ms and top-1 accuracy of the Pareto front, fastest first.
      resolutions: Resolutions that the colours stand for, ascending; the same in all panels of a report.
      marks: The chosen members.
      accuracy: What the vertical axis shows.
    """

    title: str
    dots: tuple[tuple[float, float, int], ...]
    front: tuple[tuple[float, float], ...]
    resolutions: tuple[int, ...]
    marks: tuple[Mark, ...] = ()
    accuracy: str = "top-1 accuracy, %"


def ramp(count: int, *, mode: str = "light") -> tuple[str, ...]:
    """Returns ``count`` hexadecimal colours, lowest resolution first, for a ``light`` or ``dark`` page."""
    stops = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in RAMPS[mode]]
    colours = []
    for index in range(count):
        place = (len(stops) - 1) * (index / (count - 1) if count > 1 else 0.5)
        lower = min(int(place), len(stops) - 2)
        mixed = [round(a + (b - a) * (place - lower)) for a, b in zip(stops[lower], stops[lower + 1])]
        colours.append("#" + "".join(f"{value:02x}" for value in mixed))
    return tuple(colours)


def _placeholders() -> dict[str, str]:
    names = [*LIGHT, *(f"r{index}" for index in range(MOST_RESOLUTIONS))]
    return {name: f"#fe{index:02x}dc" for index, name in enumerate(names)}


def family_svg(panel: Panel) -> str:
    """Returns the family at one precision as inline SVG."""
    return _svg(lambda axes, palette: _draw_family(axes, panel, palette), f"Accuracy against latency, {panel.title}")


_POINTS_PER_AXES = 250.0  # height of the axes in the figure of save_family; the title stands above the names


def save_family(panels: Sequence[Panel], path: str | os.PathLike[str]) -> Path:
    """Writes the family, one panel per precision side by side, on a white ground.

    Args:
      panels: One or more panels.
      path: A ``.png`` or ``.svg`` file, written atomically.
    """
    with _style(), files.atomic_write(path) as temporary:
        figure, grid = _figure((5.1 * len(panels), 4.3), len(panels))
        for axes, panel in zip(grid, panels):
            palette = {**LIGHT, **{f"r{i}": colour for i, colour in enumerate(ramp(len(panel.resolutions)))}}
            _draw_family(axes, panel, palette)
            highest = max((text.get_position()[1] for text in axes.texts), default=1.0)
            pad = 10 + _POINTS_PER_AXES * (highest - 1)
            axes.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", color=palette["ink"], pad=pad)
        _legend(grid[-1], panels[-1], palette)
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
    return _svg(lambda axes, palette: _draw_curves(axes, lines, phases, label, palette), label, inches=(4.7, 2.9))


def check_svg(pairs: Sequence[tuple[float, float]], *, title: str) -> str:
    """Returns measured against predicted latency of the validation subnets, ``(predicted_ms, measured_ms)``, as SVG."""
    return _svg(lambda axes, palette: _draw_check(axes, pairs, palette), title, inches=(2.5, 2.35))


# Drawing


def _figure(inches: tuple[float, float], columns: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _draw_family(axes: Axes, panel: Panel, palette: dict[str, str]) -> None:
    colours = {resolution: palette[f"r{i % MOST_RESOLUTIONS}"] for i, resolution in enumerate(panel.resolutions)}
    size = 9 if len(panel.dots) < 1500 else 5
    for resolution, colour in colours.items():
        here = [(ms, 100 * top1) for ms, top1, side in panel.dots if side == resolution]
        axes.scatter(*(zip(*here) if here else ((), ())), s=size, c=colour, linewidths=0, alpha=0.85, zorder=2)
    ms, top1 = zip(*((ms, 100 * top1) for ms, top1 in panel.front))
    axes.step(ms, top1, where="post", color=palette["ink"], linewidth=1.1, zorder=3)
    _limits(axes, panel)
    for mark in panel.marks:
        _draw_mark(axes, mark, palette)
    _label_marks(axes, panel.marks, palette)
    axes.set_xlabel("latency per image, ms")
    axes.set_ylabel(panel.accuracy)
    _finish(axes, palette)


def _limits(axes: Axes, panel: Panel) -> None:
    found = [ms for ms, _, _ in panel.dots]
    found += [mark.measured.p90_ms for mark in panel.marks if mark.measured]
    found += [mark.budget_ms for mark in panel.marks if mark.budget_ms and mark.budget_ms < 1.3 * max(found)]
    if max(found) > 6 * min(found):
        axes.set_xscale("log")
        axes.set_xlim(min(found) / 1.15, max(found) * 1.15)
        _plain_log_ticks(axes)
    else:
        margin = 0.08 * (max(found) - min(found)) or 0.1 * max(found)
        axes.set_xlim(max(0.0, min(found) - margin), max(found) + margin)


def _plain_log_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    steps = (1, 2, 5) if high < 100 * low else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_mark(axes: Axes, mark: Mark, palette: dict[str, str]) -> None:
    accent = palette["accent"]
    if mark.predicted and mark.measured:
        xs, ys = zip((mark.predicted[0], 100 * mark.predicted[1]), (mark.measured.ms, 100 * mark.measured.top1))
        axes.plot(xs, ys, color=accent, linewidth=0.8, zorder=4)
    if mark.predicted:
        ms, top1 = mark.predicted
        style = {"facecolor": palette["card"], "edgecolor": accent, "linewidth": 1.3}
        axes.scatter([ms], [100 * top1], s=34, zorder=5, **style)
    if mark.measured:
        _draw_measured(axes, mark.measured, accent)


def _label_marks(axes: Axes, marks: Sequence[Mark], palette: dict[str, str]) -> None:
    """Names stand above the axes, where no dot is, each on a line down to its budget or its point."""
    above = axes.get_xaxis_transform()
    to_axes = axes.transData + axes.transAxes.inverted()
    low, high = axes.get_xlim()
    rows = [-math.inf] * 4
    for x, mark in sorted(((_label_x(mark, low, high), mark) for mark in marks), key=lambda place: place[0]):
        if not low <= x <= high:
            continue
        at = to_axes.transform((x, 0))[0]
        level = next((row for row, taken in enumerate(rows) if taken <= at), 0)
        rows[level] = at + 0.24
        height = 1.015 + 0.105 * level
        colour = palette["muted"] if mark.budget_ms is None else palette["accent"]
        line = {"color": colour, "linewidth": 0.7, "linestyle": (0, (2, 3))}
        axes.plot([x, x], [0, height], transform=above, clip_on=False, **line)
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 7.6, "transform": above}
        axes.text(x, height + 0.055, mark.label, color=palette["ink"], fontweight="bold", **style)
        below = "" if mark.budget_ms is None else f"within {mark.budget_ms:g} ms"
        axes.text(x, height + 0.005, below, color=colour, **style)


def _label_x(mark: Mark, low: float, high: float) -> float:
    """The budget where the axis reaches it, else the point."""
    if mark.budget_ms is not None and low <= mark.budget_ms <= high:
        return mark.budget_ms
    return mark.measured.ms if mark.measured else mark.predicted[0] if mark.predicted else math.nan


def _draw_measured(axes: Axes, measured: Measured, colour: str) -> None:
    ms, top1 = measured.ms, 100 * measured.top1
    axes.plot([ms, ms], [100 * measured.low, 100 * measured.high], color=colour, linewidth=1.2, zorder=6)
    axes.plot([ms, measured.p90_ms], [top1, top1], color=colour, linewidth=1.2, zorder=6)
    axes.scatter([ms], [top1], s=34, c=colour, linewidths=0, zorder=7)


def _legend(axes: Axes, panel: Panel, palette: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    def dot(colour: str, edge: str, size: float) -> Any:
        return Line2D([], [], linestyle="", marker="o", markersize=size, color=colour, markeredgecolor=edge)

    sides = panel.resolutions
    shown = [0, len(sides) // 2, len(sides) - 1] if len(sides) > 4 else range(len(sides))
    entries = [(dot(palette[f"r{i}"], "none", 4), f"{sides[i]} px, predicted") for i in dict.fromkeys(shown)]
    entries.append((Line2D([], [], color=palette["ink"], linewidth=1.1), "Pareto front, predicted"))
    if any(mark.predicted for mark in panel.marks):
        entries.append((dot(palette["card"], palette["accent"], 6), "chosen, predicted"))
    if any(mark.measured for mark in panel.marks):
        entries.append((dot(palette["accent"], "none", 6), "exported file, measured"))
    handles, labels = zip(*entries)
    style = {"facecolor": palette["card"], "edgecolor": "none", "framealpha": 0.9, "labelcolor": palette["muted"]}
    axes.legend(handles, labels, loc="lower right", fontsize=8, **style)


def _draw_curves(
    axes: Axes,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    phases: Sequence[tuple[str, float]],
    label: str,
    palette: dict[str, str],
) -> None:
    start = 0.0
    for name, end in phases:
        if start:
            axes.axvline(start, color=palette["muted"], linewidth=0.7, linestyle=(0, (2, 3)), zorder=1)
        middle, above = (start + end) / 2, axes.get_xaxis_transform()
        style = {"fontsize": 8, "color": palette["muted"], "ha": "center", "va": "bottom"}
        axes.text(middle, 1.015, name, transform=above, **style)
        start = end
    colours = [palette["accent"], palette["second"], palette["ink"], palette["muted"]]
    for index, points in enumerate(lines.values()):
        _draw_line(axes, points, [end for _, end in phases], colours[index % len(colours)])
    axes.set_xlim(0, 1.02 * start if start else None)
    axes.set_xlabel("training step")
    axes.set_ylabel(label)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 10000 else f"{value:g}")
    axes.locator_params(axis="x", nbins=6)
    _finish(axes, palette)


def _draw_line(axes: Axes, points: Sequence[tuple[float, float]], ends: Sequence[float], colour: str) -> None:
    """Phases are not joined: their losses differ in kind."""
    for start, end in zip((-math.inf, *ends), (*ends, math.inf)):
        part = [(x, y) for x, y in points if start < x <= end]
        if not part:
            continue
        xs, ys = zip(*part)
        if len(part) <= 60:
            axes.plot(
                xs, ys, color=colour, linewidth=1.4, marker="o", markersize=2.4 if len(part) < 40 else 0, zorder=3
            )
            continue
        axes.plot(xs, ys, color=colour, linewidth=0.6, alpha=0.3, zorder=2)
        share, smooth = 2 / (1 + len(part) / 25), [ys[0]]
        for y in ys[1:]:
            smooth.append(smooth[-1] + share * (y - smooth[-1]))
        axes.plot(xs, smooth, color=colour, linewidth=1.5, zorder=3)


def _draw_check(axes: Axes, pairs: Sequence[tuple[float, float]], palette: dict[str, str]) -> None:
    low, high = (bound(value for pair in pairs for value in pair) for bound in (min, max))
    margin = 0.06 * (high - low) or 0.1 * high
    ends = (max(0.0, low - margin), high + margin)
    axes.plot(ends, ends, color=palette["muted"], linewidth=0.8, zorder=1)
    axes.scatter(*zip(*pairs), s=16, c=palette["second"], linewidths=0, alpha=0.9, zorder=3)
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="predicted, ms", ylabel="measured, ms")
    axes.locator_params(nbins=5)
    _finish(axes, palette)


def _finish(axes: Axes, palette: dict[str, str]) -> None:
    axes.grid(True, color=palette["grid"], linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(palette["muted"])
        spine.set_linewidth(0.7)
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=palette["muted"])
    axes.tick_params(axis="x", which="major", length=3, color=palette["muted"], width=0.7)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_size(8.5)
        label.set_color(palette["muted"])


# Writing


def _style() -> Any:
    """Text stays text, names with a dollar sign are no formulas, equal input gives equal bytes."""
    import matplotlib

    return matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "compofa_tf", "font.family": "DejaVu Sans", "text.parse_math": False}
    )


def _svg(
    draw: Callable[[Axes, dict[str, str]], None], title: str, *, inches: tuple[float, float] = PANEL_INCHES
) -> str:
    placeholders = _placeholders()
    stream = io.StringIO()
    with _style():
        figure, (axes,) = _figure(inches)
        draw(axes, placeholders)
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    svg = re.sub(r"<metadata>.*?</metadata>", "", stream.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| (width|height)="[^"]*pt"| version="[^"]*"', "", svg, count=5)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace("'DejaVu Sans'", "var(--sans)")
    for name, colour in placeholders.items():
        svg = svg.replace(colour, f"var(--{name})")
    label = title.replace("&", "and").replace("<", "").replace('"', "")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
