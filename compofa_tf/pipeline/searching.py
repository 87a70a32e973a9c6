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
    overwrite: bool = False,
) -> Front:
    """Searches and writes ``front.json``: exactly, or by evolution in a space that is too large for it.

    Args:
      run: A run with what is to be read.
      budgets_ms: Latency budgets; the recipe's when empty.
      accuracy: ``"measured"`` or ``"published"``, see ``sources.accuracy_source``.
      latency: ``"measured"``, ``"published"`` or ``"lookup:FOLDER"``, see ``sources.latency_source``.
      seed: Of an evolution.
      overwrite: Whether an earlier front may be replaced.

    Raises:
      InputError: If there is a front already, a table is missing or does not fit, a budget is below the fastest
        subnet, or another command searches there.
    """
    run.require_trained()
    with run.writing("front"):
        files.refuse_to_replace(run.front_file, overwrite=overwrite)
        front = searched(run, budgets_ms or run.recipe.search.budgets_ms, accuracy, latency, seed)
        front.save(run.front_file)
    return front


def searched(
    run: Run,
    budgets_ms: Sequence[float] = (),
    accuracy: str = "measured",
    latency: str = "measured",
    seed: int = 0,
) -> Front:
    """Returns what ``find_front`` writes."""
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
        objective=recipe.search.objective,
        whole=_whole(run, source),
    )
    return replace(front, recipe_hash=recipe.hash, evidence=_evidence(run, front))


def _whole(run: Run, source: Any) -> AccuracyTable | None:
    """Accuracies on all pictures, if they are of the same training and data."""
    path = run.whole_accuracy_file
    if not isinstance(source, AccuracyTable) or not path.exists():
        return None
    whole = AccuracyTable.load(path, space=run.space)
    same = all(getattr(whole, name) == getattr(source, name) for name in ("data", "role", "training_hash"))
    return whole if same else None


def _evidence(run: Run, front: Front) -> dict[str, Any]:
    """How far the accuracies can be believed, where it is known which pictures each subnet answered rightly."""
    path = beside(run.accuracy_file)
    if front.predicted or not path.exists():
        return {}
    answers = Answers.load(path)
    known = all(candidate.id in answers and candidate.count == answers.count for candidate in front.candidates)
    return evidence_of(front, answers) if known else {}
