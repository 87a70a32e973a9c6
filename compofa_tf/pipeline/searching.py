"""Searching a run: its tables, or published ones, become a front. No TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from compofa_tf import files
from compofa_tf.accuracy.answers import Answers, beside
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.pipeline import sources
from compofa_tf.pipeline.run import Run
from compofa_tf.progress import say
from compofa_tf.searches.evidence import evidence_of
from compofa_tf.searches.evolution import Evolution
from compofa_tf.searches.exact import MOST_ENUMERATED, search
from compofa_tf.searches.front import Front


def find_front(
    run: Run,
    *,
    budgets_ms: Sequence[float] = (),
    accuracy: str = "measured",
    latency: str = "measured",
    seed: int = 0,
    objective: str | None = None,
    overwrite: bool = False,
) -> Front:
    """Searches and writes ``front.json``: exactly, or by evolution in a space that is too large for it.

    Args:
      run: A run with what is to be read.
      budgets_ms: Latency budgets; the recipe's when empty.
      accuracy: ``"measured"`` or ``"published"``, see ``sources.accuracy_source``.
      latency: ``"measured"``, ``"published"`` or ``"lookup:FOLDER"``, see ``sources.latency_source``.
      seed: Of an evolution.
      objective: What is to be as large as it can be; the recipe's when absent.
      overwrite: Whether an earlier front may be replaced.

    Raises:
      InputError: If there is a front already, a table is missing or does not fit, a budget is below the fastest
        subnet, or another command searches there.
    """
    run.require_trained()
    with run.writing("front"):
        files.refuse_to_replace(run.front_file, overwrite=overwrite)
        front = searched(run, budgets_ms or run.recipe.search.budgets_ms, accuracy, latency, seed, objective)
        front = replace(front, evidence=_evidence(run, front))
        front.save(run.front_file)
    return front


def searched(
    run: Run,
    budgets_ms: Sequence[float] = (),
    accuracy: str = "measured",
    latency: str = "measured",
    seed: int = 0,
    objective: str | None = None,
) -> Front:
    """Returns what ``find_front`` writes but for the evidence."""
    recipe, space, archs = run.recipe, run.space, run.archs
    source = sources.accuracy_source(accuracy, run)
    if archs is not None and isinstance(source, AccuracyTable):
        archs = [arch for arch in archs if arch.resolution in source.resolutions]
    times = sources.latency_source(latency, run)
    if archs is not None and latency != "measured":
        archs = [arch for arch in archs if arch.resolution in times.resolutions]
    large = archs is None and space.size * len(times.resolutions) > MOST_ENUMERATED
    front = search(
        space,
        accuracy=source,
        latency=times,
        budgets_ms=budgets_ms,
        archs=archs,
        evolution=Evolution(seed=seed) if large else None,
        objective=objective or _objective(run, source),
        whole=whole_of(run, source),
    )
    return replace(front, recipe_hash=recipe.hash)


def _objective(run: Run, source: Any) -> str:
    chosen = run.recipe.search.objective
    if chosen != "top1" and not isinstance(source, AccuracyTable):
        say("Predicted accuracies are top-1: that is as large as it can be, not what the recipe says.")
        return "top1"
    return chosen


def whole_of(run: Run, source: Any) -> AccuracyTable | None:
    """Returns accuracies on all pictures, if there are some that were measured as those of a table were."""
    path = run.whole_accuracy_file
    if not isinstance(source, AccuracyTable) or not path.exists():
        return None
    whole = AccuracyTable.load(path, space=run.space)
    names = ("data", "role", "training_hash", "calibration_images", "precision", "device")
    return whole if all(getattr(whole, name) == getattr(source, name) for name in names) else None


def _evidence(run: Run, front: Front) -> dict[str, Any]:
    """How far the accuracies can be believed, where it is known which pictures each subnet answered rightly."""
    path = beside(run.accuracy_file)
    if front.predicted or not path.exists():
        return {}
    answers = Answers.load(path)
    known = all(candidate.id in answers and candidate.count == answers.count for candidate in front.candidates)
    return evidence_of(front, answers) if known else {}
