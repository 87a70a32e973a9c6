"""What is drawn into the axes of a figure. Matplotlib is imported when one is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from compofa_tf.reports.charts import Mark, Measured, Panel
from compofa_tf.reports.palette import MOST_RESOLUTIONS

Axes = Any
"""Axes of Matplotlib."""


def draw_family(axes: Axes, panel: Panel, colors: dict[str, str]) -> None:
    """Draws the family at one precision: dots, front, chosen subnets with their names above the axes."""
    size = 9 if len(panel.dots) < 1500 else 5
    for index, resolution in enumerate(panel.resolutions):
        here = [(ms, 100 * top1) for ms, top1, found in panel.dots if found == resolution]
        color = colors[f"r{index % MOST_RESOLUTIONS}"]
        axes.scatter(*(zip(*here) if here else ((), ())), s=size, c=color, linewidths=0, alpha=0.85, zorder=2)
    ms, top1 = zip(*((ms, 100 * top1) for ms, top1 in panel.front))
    axes.step(ms, top1, where="post", color=colors["ink"], linewidth=1.1, zorder=3)
    _limits(axes, panel)
    for mark in panel.marks:
        _draw_mark(axes, mark, colors)
    _label_marks(axes, panel.marks, colors)
    axes.set_xlabel("\n".join(filter(None, ("latency per image, ms", panel.pictures))))
    axes.set_ylabel(panel.accuracy)
    _finish(axes, colors)


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


def _draw_mark(axes: Axes, mark: Mark, colors: dict[str, str]) -> None:
    accent = colors["accent"]
    if mark.predicted and mark.measured:
        xs, ys = zip((mark.predicted[0], 100 * mark.predicted[1]), (mark.measured.ms, 100 * mark.measured.top1))
        axes.plot(xs, ys, color=accent, linewidth=0.8, zorder=4)
    if mark.predicted:
        ms, top1 = mark.predicted
        style = {"facecolor": colors["card"], "edgecolor": accent, "linewidth": 1.3}
        axes.scatter([ms], [100 * top1], s=34, zorder=5, **style)
    if mark.measured:
        _draw_measured(axes, mark.measured, accent)


def _label_marks(axes: Axes, marks: Sequence[Mark], colors: dict[str, str]) -> None:
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
        color = colors["muted"] if mark.budget_ms is None else colors["accent"]
        line = {"color": color, "linewidth": 0.7, "linestyle": (0, (2, 3))}
        axes.plot([x, x], [0, height], transform=above, clip_on=False, **line)
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 7.6, "transform": above}
        axes.text(x, height + 0.055, mark.label, color=colors["ink"], fontweight="bold", **style)
        below = "" if mark.budget_ms is None else f"within {mark.budget_ms:g} ms"
        axes.text(x, height + 0.005, below, color=color, **style)


def _label_x(mark: Mark, low: float, high: float) -> float:
    """The budget where the axis reaches it, else the point."""
    if mark.budget_ms is not None and low <= mark.budget_ms <= high:
        return mark.budget_ms
    return mark.measured.ms if mark.measured else mark.predicted[0] if mark.predicted else math.nan


def _draw_measured(axes: Axes, measured: Measured, color: str) -> None:
    ms, top1 = measured.ms, 100 * measured.top1
    axes.plot([ms, ms], [100 * measured.low, 100 * measured.high], color=color, linewidth=1.2, zorder=6)
    axes.plot([ms, measured.p90_ms], [top1, top1], color=color, linewidth=1.2, zorder=6)
    axes.scatter([ms], [top1], s=34, c=color, linewidths=0, zorder=7)


def draw_legend(axes: Axes, panel: Panel, colors: dict[str, str]) -> None:
    """Draws what the colours and marks of a panel mean, in the corner where a family has no dots."""
    from matplotlib.lines import Line2D

    def dot(color: str, edge: str, size: float) -> Any:
        return Line2D([], [], linestyle="", marker="o", markersize=size, color=color, markeredgecolor=edge)

    count = len(panel.resolutions)
    shown = [0, count // 2, count - 1] if count > 4 else range(count)
    entries = [(dot(colors[f"r{i}"], "none", 4), f"{panel.resolutions[i]} px, predicted") for i in shown]
    entries.append((Line2D([], [], color=colors["ink"], linewidth=1.1), "Pareto front, predicted"))
    if any(mark.predicted for mark in panel.marks):
        entries.append((dot(colors["card"], colors["accent"], 6), "chosen, predicted"))
    if any(mark.measured for mark in panel.marks):
        entries.append((dot(colors["accent"], "none", 6), "exported file, measured"))
    handles, labels = zip(*entries)
    style = {"facecolor": colors["card"], "edgecolor": "none", "framealpha": 0.9, "labelcolor": colors["muted"]}
    axes.legend(handles, labels, loc="lower right", fontsize=8, **style)


def draw_curves(
    axes: Axes,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    phases: Sequence[tuple[str, float]],
    label: str,
    colors: dict[str, str],
) -> None:
    """Draws one quantity against the training step, with the names of the phases above the axes."""
    start = 0.0
    for name, end in phases:
        if start:
            axes.axvline(start, color=colors["muted"], linewidth=0.7, linestyle=(0, (2, 3)), zorder=1)
        middle, above = (start + end) / 2, axes.get_xaxis_transform()
        style = {"fontsize": 8, "color": colors["muted"], "ha": "center", "va": "bottom"}
        axes.text(middle, 1.015, name, transform=above, **style)
        start = end
    cycle = [colors[name] for name in ("accent", "second", "ink", "muted")]
    for index, points in enumerate(lines.values()):
        _draw_line(axes, points, [end for _, end in phases], cycle[index % len(cycle)])
    axes.set_xlim(0, 1.02 * start if start else None)
    axes.set_xlabel("training step")
    axes.set_ylabel(label)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 10000 else f"{value:g}")
    axes.locator_params(axis="x", nbins=6)
    _finish(axes, colors)


def _draw_line(axes: Axes, points: Sequence[tuple[float, float]], ends: Sequence[float], color: str) -> None:
    """Phases are not joined: their losses differ in kind."""
    for start, end in zip((-math.inf, *ends), (*ends, math.inf)):
        part = [(x, y) for x, y in points if start < x <= end]
        if not part:
            continue
        xs, ys = zip(*part)
        if len(part) <= 60:
            axes.plot(xs, ys, color=color, linewidth=1.4, marker="o", markersize=2.4 if len(part) < 40 else 0, zorder=3)
            continue
        axes.plot(xs, ys, color=color, linewidth=0.6, alpha=0.3, zorder=2)
        share, smooth = 2 / (1 + len(part) / 25), [ys[0]]
        for y in ys[1:]:
            smooth.append(smooth[-1] + share * (y - smooth[-1]))
        axes.plot(xs, smooth, color=color, linewidth=1.5, zorder=3)


def draw_check(axes: Axes, pairs: Sequence[tuple[float, float]], colors: dict[str, str]) -> None:
    """Draws measured against predicted latencies, on equal axes with the line of agreement."""
    low, high = (bound(value for pair in pairs for value in pair) for bound in (min, max))
    margin = 0.06 * (high - low) or 0.1 * high
    ends = (max(0.0, low - margin), high + margin)
    axes.plot(ends, ends, color=colors["muted"], linewidth=0.8, zorder=1)
    axes.scatter(*zip(*pairs), s=16, c=colors["second"], linewidths=0, alpha=0.9, zorder=3)
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="predicted, ms", ylabel="measured, ms")
    axes.locator_params(nbins=5)
    _finish(axes, colors)


def _finish(axes: Axes, colors: dict[str, str]) -> None:
    axes.grid(True, color=colors["grid"], linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    for place, spine in axes.spines.items():
        spine.set_visible(place == "bottom")
        spine.set_color(colors["muted"])
        spine.set_linewidth(0.7)
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=colors["muted"])
    axes.tick_params(axis="x", which="major", length=3, color=colors["muted"], width=0.7)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_size(8.5)
        label.set_color(colors["muted"])
