"""The report of a work directory: one self-contained HTML page, and the figure of the family on its own."""

from __future__ import annotations

import importlib.resources
import os
import shlex
from pathlib import Path
from typing import Any

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.reports import figures, reading, tables
from compofa_tf.reports.reading import Run, value
from compofa_tf.searches.front import Front
from compofa_tf.workdir import WorkDir


def report(workdir: str | os.PathLike[str], *, path: str | os.PathLike[str] | None = None) -> Path:
    """Writes ``report.html``: what was trained, what the family can do, what was exported, how it was measured.

    The page needs no network and no other file. It is made from whatever is there and names the stages that are
    missing. It reads ``recipe.json``; ``supernet/supernet.json``; ``metrics.jsonl`` (lines with ``phase`` and ``step``
    or ``epoch``, and any of ``loss``, ``images_per_s``, ``val_top1``: ``{subnet: share}``); ``accuracy/*.json``;
    ``latency/*.json`` (``device``, ``precision``, ``threads``, ``validation``); ``front*.json``; and
    ``models/*.tflite.json``.

    Args:
      workdir: The work directory, ``runs/NAME``.
      path: Where to write; ``report.html`` in the work directory when absent. Replaced atomically.

    Returns:
      The path of the page.

    Raises:
      InputError: If there is no such work directory.
      OSError: If the page cannot be written.
    """
    run = reading.read_run(workdir)
    target = WorkDir(run.root).report_file if path is None else Path(path)
    text = _template().render(**_content(run))
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
    run = reading.read_run(workdir)
    fronts = reading.all_fronts(run)
    if not fronts:
        reason = f" ({run.problems[0]})" if run.problems else ""
        raise InputError(f"{run.root} has no front to draw; run `{_command('search', run)}` first{reason}.")
    return figures.save_family(reading.panels(fronts, run.artifacts), path)


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(tables.FILTERS)
    source = (importlib.resources.files("compofa_tf.reports") / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _content(run: Run) -> dict[str, Any]:
    import markupsafe

    fronts = reading.all_fronts(run)
    panels = reading.panels(fronts, run.artifacts)
    main = next((front for front in fronts if front.budgets), fronts[-1] if fronts else None)
    resolutions = panels[0].resolutions if panels else ()
    losses, accuracies, phases = reading.curves(run)
    charts = [
        (title, list(lines) if len(lines) > 1 else [], figures.curves_svg(lines, phases=phases, label=label))
        for title, label, lines in (
            ("Training loss", "loss", losses),
            ("Validation accuracy", "top-1 accuracy, %", accuracies),
        )
        if lines
    ]
    return {
        "name": run.root.resolve().name,
        "summary": _summary(run, main),
        "problems": run.problems,
        "missing": _missing(run),
        "next_command": _next_command(run),
        "cards": tables.cards(run, main),
        "panels": [(panel.title, markupsafe.Markup(figures.family_svg(panel))) for panel in panels],
        "resolutions": resolutions,
        "ramps": {mode: figures.ramp(len(resolutions), mode=mode) for mode in ("light", "dark")},
        "palettes": {"light": figures.LIGHT, "dark": figures.DARK},
        "covered": [(front.precision, front.coverage, len(front)) for front in fronts],
        "predicted": any(front.predicted for front in fronts),
        "imported": run.imported is not None,
        "sources": tables.sources(fronts),
        "artifacts": [tables.artifact_row(artifact) for artifact in run.artifacts],
        "charts": [(title, names, markupsafe.Markup(svg)) for title, names, svg in charts],
        "training": tables.training_facts(run),
        "accuracy_tables": [tables.accuracy_facts(name, content) for name, content in run.accuracy.items()],
        "conditions": tables.grouped_conditions(run),
        "latency_tables": [tables.latency_facts(name, content) for name, content in run.latency.items()],
        "provenance": tables.provenance(run),
    }


# Sentences


def _command(stage: str, run: Run) -> str:
    where = shlex.quote(str(run.root))
    known = f" --recipe {where}" if run.recipe else " --recipe NAME"
    return f"compofa {stage}{known if stage == 'train' else ''} --workdir {where}"


def _stages(run: Run) -> list[tuple[bool, str, str]]:
    """What a run has or lacks; what was imported needs no training, and a front from published sources no tables."""
    fronts = run.fronts.values()
    elsewhere = any(value(front.latency, "conditions", "caveat") for front in fronts)
    return [
        (run.recipe is not None, "recipe", "train"),
        (bool(run.metrics) or run.imported is not None, "training curves", "train"),
        (bool(run.accuracy) or any(front.predicted for front in fronts), "accuracy table", "measure --accuracy"),
        (bool(run.latency) or elsewhere, "latency table", "measure --latency"),
        (bool(run.fronts), "front", "search"),
        (bool(run.artifacts), "exported model", "export"),
    ]


def _missing(run: Run) -> list[tuple[str, str]]:
    return [(what, _command(stage, run)) for there, what, stage in _stages(run) if not there]


def _next_command(run: Run) -> str:
    missing = _missing(run)
    if missing:
        return missing[0][1]
    quantized = [artifact for artifact in run.artifacts if value(artifact, "precision") == "int8"]
    name = next((str(found) for a in (*quantized, *run.artifacts) if (found := value(a, "file"))), "MODEL.tflite")
    return f"compofa benchmark {shlex.quote(str(run.root / 'models' / Path(name).name))}"


def _summary(run: Run, front: Front | None) -> str:
    if front is None:
        return "This run has no front yet; what is there so far is below."
    made = "One training run" if run.imported is None else f"The imported checkpoint {run.imported}"
    points = f"{len(front)} of them are on the Pareto front ({front.precision})."
    start = f"{made} gives {front.space.size:,} subnets."
    looked = f"{front.coverage[0].upper()}{front.coverage[1:]}"
    if front.predicted:
        return f"{start} {looked}, accuracies predicted and not measured; {points}"
    sides = len({candidate.arch.resolution for candidate in front.candidates})
    at = f"{sides} resolution{'s' if sides > 1 else ''}"
    return f"{start} {looked} ({at}) were evaluated on {front.accuracy.get('data')}; {points}"
