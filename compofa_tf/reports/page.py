"""The report of a work directory: one self-contained HTML page, and the figure of the family on its own."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from compofa_tf import commands, files
from compofa_tf.errors import InputError
from compofa_tf.reports import charts, figures, formats, palette, reading, tables
from compofa_tf.reports.reading import Material
from compofa_tf.reports.records import value
from compofa_tf.searches.front import Front


def report(workdir: str | os.PathLike[str], *, path: str | os.PathLike[str] | None = None) -> Path:
    """Writes ``report.html``: what was trained, what the family can do, what was exported, how it was measured.

    The page needs no network and no other file. It is made from whatever is there and names the commands that are
    still to be given. It reads ``recipe.json``; ``supernet/supernet.json``; ``metrics.jsonl`` (lines with ``phase`` and
    ``step`` or ``epoch``, and any of ``loss``, ``images_per_s``, ``val_top1``: ``{subnet: share}``);
    ``accuracy/*.json``; ``latency/*.json`` (``device``, ``precision``, ``threads``, ``validation``); ``front*.json``;
    and ``models/*.tflite.json``.

    Args:
      workdir: The work directory, ``runs/NAME``.
      path: Where to write; ``report.html`` in the work directory when absent. Replaced atomically.

    Returns:
      The path of the page.

    Raises:
      InputError: If there is no such work directory.
      OSError: If the page cannot be written.
    """
    material = reading.read(workdir)
    target = material.workdir.report_file if path is None else Path(path)
    text = _template().render(**_content(material))
    with files.atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def family_figure(workdir: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Writes accuracy against latency of the whole family, one panel per measured precision, as PNG or SVG.

    Args:
      workdir: The work directory; it must hold a front or both tables.
      path: The picture; its ending, ``.png`` or ``.svg``, decides the format. Replaced atomically.

    Returns:
      ``path``.

    Raises:
      InputError: If there is no front, or for another ending.
    """
    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise InputError(f"The figure is written as .png or .svg. Received: path={str(path)!r}")
    material = reading.read(workdir)
    fronts = charts.all_fronts(material)
    if not fronts:
        search = commands.writer(commands.FRONT).line(material.workdir)
        reason = f" ({material.problems[0]})" if material.problems else ""
        raise InputError(f"{material.workdir.path} has no front to draw; run `{search}` first{reason}.")
    return figures.save_family(charts.panels(fronts, material.sidecars), path)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(formats.FILTERS)
    source = (importlib.resources.files("compofa_tf.reports") / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _content(material: Material) -> dict[str, Any]:
    """What the template shows, by the names that it knows it by."""
    fronts = charts.all_fronts(material)
    panels = charts.panels(fronts, material.sidecars)
    main = next((front for front in fronts if front.budgets), fronts[-1] if fronts else None)
    resolutions = panels[0].resolutions if panels else ()
    missing = _missing(material)
    return {
        "name": material.workdir.path.resolve().name,
        "summary": _summary(material, main),
        "problems": material.problems,
        "missing": missing,
        "next_command": missing[0][1] if missing else commands.benchmark(material.workdir),
        "cards": tables.cards(material, main),
        "panels": [(panel.title, markupsafe.Markup(figures.family_svg(panel))) for panel in panels],
        "resolutions": resolutions,
        "ramps": {mode: palette.ramp(len(resolutions), mode=mode) for mode in ("light", "dark")},
        "palettes": {"light": palette.LIGHT, "dark": palette.DARK},
        "covered": [(front.precision, front.coverage, len(front)) for front in fronts],
        "balanced": main is not None and main.objective == "balanced",
        "predicted": any(front.predicted for front in fronts),
        "imported": material.imported is not None,
        "sources": tables.sources(fronts),
        "sidecars": material.sidecars,
        "per_class": tables.per_class(material),
        "charts": _curves(material),
        "training": tables.training_facts(material),
        "accuracy_tables": [tables.accuracy_facts(name, content) for name, content in material.accuracy.items()],
        "conditions": tables.grouped_conditions(material),
        "latency_tables": [tables.latency_facts(name, content) for name, content in material.latency.items()],
        "provenance": tables.provenance(material),
    }


def _curves(material: Material) -> list[tuple[str, list[str], markupsafe.Markup]]:
    """Title, names of the lines (of a single one none) and picture of what was recorded while training."""
    losses, accuracies, phases = charts.curves(material)
    drawn = (("Training loss", "loss", losses), ("Validation accuracy", "top-1 accuracy, %", accuracies))
    return [
        (
            title,
            list(lines) if len(lines) > 1 else [],
            markupsafe.Markup(figures.curves_svg(lines, phases=phases, label=label)),
        )
        for title, label, lines in drawn
        if lines
    ]


def _missing(material: Material) -> list[tuple[str, str]]:
    """What is not there, and the command that writes it.

    What was imported needs no training, and a front from published sources no tables. A file that cannot be used is not
    there.
    """
    fronts = material.fronts.values()
    elsewhere = any(value(front.latency, "conditions", "caveat") for front in fronts)
    found = {
        commands.RECIPE: material.recipe is not None,
        commands.CURVES: bool(material.metrics) or material.imported is not None,
        commands.WEIGHTS: True,
        commands.ACCURACY: bool(material.accuracy) or any(front.predicted for front in fronts),
        commands.LATENCY: bool(material.latency) or elsewhere,
        commands.FRONT: bool(fronts),
        commands.MODELS: bool(material.sidecars),
        commands.REPORT: True,
    }
    absent = commands.missing(material.workdir, there={output for output, there in found.items() if there})
    return [(output.name, command.line(material.workdir, resumed=found[commands.RECIPE])) for output, command in absent]


def _summary(material: Material, front: Front | None) -> str:
    if front is None:
        return "This run has no front yet; what is there so far is below."
    made = "One training run" if material.imported is None else f"The imported checkpoint {material.imported}"
    points = f"{len(front)} of them are on the Pareto front ({front.precision})."
    start = f"{made} gives {front.space.size:,} subnets."
    looked = f"{front.coverage[0].upper()}{front.coverage[1:]}"
    if front.predicted:
        return f"{start} {looked}, accuracies predicted and not measured; {points}"
    count = len({candidate.arch.resolution for candidate in front.candidates})
    at = f"{count} resolution{'s' if count > 1 else ''}"
    return f"{start} {looked} ({at}) were evaluated on {front.accuracy.get('data')}; {points}"
