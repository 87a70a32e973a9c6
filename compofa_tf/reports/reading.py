"""Reading what a work directory holds, whatever stages have run: the material of a report. No TensorFlow."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from compofa_tf import files
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.reports.figures import Mark, Measured, Panel
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front
from compofa_tf.workdir import WorkDir

Read = TypeVar("Read")


@dataclass
class Run:
    """A work directory as read.

    Attributes:
      root: The directory.
      recipe: Content of ``recipe.json``; ``None`` where missing.
      supernet: Content of ``supernet/supernet.json``; ``None`` where missing.
      metrics: Lines of ``metrics.jsonl``.
      accuracy: Contents of ``accuracy/*.json`` by file name.
      latency: Contents of ``latency/*.json`` by file name.
      fronts: Fronts of ``front*.json`` by file name.
      artifacts: Contents of ``models/*.json``, fastest budget first.
      problems: One sentence per file that cannot be used.
    """

    root: Path
    recipe: dict[str, Any] | None = None
    supernet: dict[str, Any] | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    accuracy: dict[str, dict[str, Any]] = field(default_factory=dict)
    latency: dict[str, dict[str, Any]] = field(default_factory=dict)
    fronts: dict[str, Front] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def imported(self) -> str | None:
        """Name of the checkpoint that the weights were imported from; None where they were trained here."""
        name = value(self.supernet, "imported_from")
        return None if name is None else str(name)


def read_run(workdir: str | os.PathLike[str]) -> Run:
    """Returns what is in a work directory; files that cannot be used become ``problems``.

    Raises:
      InputError: If there is no such directory.
    """
    root = Path(workdir)
    if not root.is_dir():
        raise InputError(f"There is no such work directory. Received: workdir={str(root)!r}")
    run, paths = Run(root), WorkDir(root)
    recipes = _read_all(run, [paths.recipe_file], lambda path: files.read_json(path, kind="recipe"))
    run.recipe = next(iter(recipes.values()), None)
    supernets = _read_all(run, [paths.supernet_file], lambda path: files.read_json(path, kind="supernet"))
    run.supernet = next(iter(supernets.values()), None)
    run.metrics = next(iter(_read_all(run, [paths.metrics_file], lambda path: _lines(run, path)).values()), [])
    run.accuracy = _read_all(run, paths.accuracy_files, lambda path: files.read_json(path, kind="accuracy_table"))
    run.latency = _read_all(run, paths.latency_files, lambda path: files.read_json(path, kind="latency_table"))
    run.fronts = _read_all(run, paths.front_files, Front.load)
    artifacts = _read_all(run, paths.sidecar_files, lambda path: files.read_json(path, kind="artifact"))
    run.artifacts = sorted(artifacts.values(), key=_artifact_order)
    return run


def _read_all(run: Run, paths: Sequence[Path], read: Callable[[Path], Read]) -> dict[str, Read]:
    found = {}
    for path in (path for path in paths if path.exists()):
        try:
            found[path.relative_to(run.root).as_posix()] = read(path)
        except (InputError, OSError) as error:
            run.problems.append(str(error))
    return found


def _lines(run: Run, path: Path) -> list[dict[str, Any]]:
    """A run that was stopped may have half a last line; any other bad line is worth a word."""
    texts = [text for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if text.strip()]
    rows, bad = [], 0
    for number, text in enumerate(texts, start=1):
        try:
            row = json.loads(text)
        except json.JSONDecodeError:
            bad += number < len(texts)
            continue
        rows += [row] if isinstance(row, dict) else []
    if bad:
        run.problems.append(f"{path} has {bad} unreadable line{'s' if bad > 1 else ''}; the curves leave them out.")
    return rows


def value(content: Any, *keys: str) -> Any:
    """Returns ``content[key]...``, or ``None`` where a key is missing or leads to no mapping."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def number(content: Any, *keys: str) -> float | None:
    """Returns ``value`` if it is a finite number, else ``None``."""
    found = value(content, *keys)
    valid = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found)
    return found if valid else None


def _artifact_order(artifact: dict[str, Any]) -> tuple[float, str, str]:
    budget = number(artifact, "budget_ms")
    return math.inf if budget is None else budget, str(value(artifact, "arch", "id")), str(value(artifact, "precision"))


# The family


def all_fronts(run: Run) -> list[Front]:
    """Returns the fronts of the run, those of precisions that were measured but not searched included.

    The latter have no budgets. The front with budgets comes last among equals of order: float32 first, then the rest.
    """
    fronts = list(run.fronts.values())
    searched = {front.precision for front in fronts}
    for name, content in run.latency.items():
        if value(content, "precision") not in searched and run.accuracy:
            fronts += _searched_now(run, name)
            searched.add(value(content, "precision"))
    return sorted(fronts, key=lambda front: (front.precision != "float32", front.precision))


def _searched_now(run: Run, name: str) -> Iterator[Front]:
    from compofa_tf.latency.table import LatencyTable

    try:
        accuracy = AccuracyTable.load(run.root / next(iter(run.accuracy)))
        latency = LatencyTable.load(run.root / name, space=accuracy.space)
        yield replace(search(accuracy.space, accuracy=accuracy, latency=latency), budgets=())
    except InputError as error:
        run.problems.append(str(error))


def panels(fronts: Sequence[Front], artifacts: Sequence[dict[str, Any]]) -> list[Panel]:
    """Returns the figure of each front with the artifacts of its precision."""
    sides = tuple(sorted({candidate.arch.resolution for front in fronts for candidate in front.candidates}))
    return [_panel(front, artifacts, sides) for front in fronts]


def _panel(front: Front, artifacts: Sequence[dict[str, Any]], sides: tuple[int, ...]) -> Panel:
    own = [artifact for artifact in artifacts if value(artifact, "precision") == front.precision]
    known = {candidate.id: candidate for candidate in front.candidates}
    marks = [_artifact_mark(front, artifact, known) for artifact in own]
    marked = {mark.budget_ms for mark in marks}
    marks += [
        Mark(choice.id, budget_ms, (choice.predicted_ms, choice.top1))
        for budget_ms, choice in front.chosen.items()
        if budget_ms not in marked
    ]
    device, threads = front.latency.get("device"), front.latency.get("threads")
    return Panel(
        title=f"{front.precision} on {device}, {threads} thread{'s' if threads != 1 else ''}",
        dots=tuple((c.predicted_ms, c.top1, c.arch.resolution) for c in front.candidates),
        front=tuple((point.predicted_ms, point.top1) for point in front.points),
        resolutions=sides,
        marks=tuple(marks),
        accuracy="predicted top-1 accuracy, %" if front.predicted else "top-1 accuracy, %",
    )


def on_device_of(front: Front, artifact: dict[str, Any]) -> bool:
    """Returns whether an artifact was measured on the device that the front's latencies and budgets are of."""
    return value(artifact, "latency", "measured", "device") in (None, front.latency.get("device"))


def _artifact_mark(front: Front, artifact: dict[str, Any], known: dict[str, Any]) -> Mark:
    name = str(value(artifact, "arch", "id"))
    candidate = known.get(name)
    ms, p90_ms = (number(artifact, "latency", "measured", key) for key in ("ms", "p90_ms"))
    top1, low, high = (number(artifact, "accuracy", key) for key in ("top1", "low", "high"))
    measured = None
    if ms is not None and top1 is not None and on_device_of(front, artifact):
        measured = Measured(
            ms, ms if p90_ms is None else p90_ms, top1, top1 if low is None else low, top1 if high is None else high
        )
    return Mark(
        label=name,
        budget_ms=number(artifact, "budget_ms") if front.budgets else None,
        predicted=(candidate.predicted_ms, candidate.top1) if candidate else None,
        measured=measured,
    )


# Training


Lines = dict[str, list[tuple[float, float]]]
"""Points ``(step, value)`` by name, in order."""


def curves(run: Run) -> tuple[Lines, Lines, list[tuple[str, float]]]:
    """Returns the training curves: losses and validation accuracies against the step, and where the phases end.

    Steps are counted over all phases. A step that stands twice counts as it stands last.

    Returns:
      ``(losses, accuracies, phases)``; accuracies in percent, phases as ``(name, last step)`` in order.
    """
    losses: dict[str, dict[float, float]] = {}
    accuracies: dict[str, dict[float, float]] = {}
    ends: dict[str, float] = {}
    last = 0.0
    for row in run.metrics:
        step = number(row, "step")
        last = step = last if step is None else step
        if "phase" in row:
            ends[str(row["phase"])] = step
        if (loss := number(row, "loss")) is not None:
            losses.setdefault("loss", {})[step] = loss
        shares = value(row, "val_top1")
        for subnet in shares if isinstance(shares, dict) else ():
            if (share := number(shares, subnet)) is not None:
                accuracies.setdefault(str(subnet), {})[step] = 100 * share
    return _sorted_lines(losses), _sorted_lines(accuracies), sorted(ends.items(), key=lambda phase: phase[1])


def _sorted_lines(lines: dict[str, dict[float, float]]) -> Lines:
    return {name: sorted(points.items()) for name, points in lines.items()}
