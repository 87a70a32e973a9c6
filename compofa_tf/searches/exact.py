"""Searching a space: every subnet where that is possible, by evolution where it is not. No TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from compofa_tf.accuracy.predictor import Predictor
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import latencies_of
from compofa_tf.latency.table import LatencyTable
from compofa_tf.recipes.settings import OBJECTIVES
from compofa_tf.searches.budgets import check_budgets, pareto
from compofa_tf.searches.candidate import Candidate
from compofa_tf.searches.evolution import Evolution, evolve
from compofa_tf.searches.front import Front, default_budgets
from compofa_tf.space import Arch, Space
from compofa_tf.space.archs import Archs

MOST_ENUMERATED = 10**6
"""Archs times resolutions up to which all of them are looked at."""


def search(
    space: Space,
    *,
    accuracy: AccuracyTable | Predictor,
    latency: LatencyTable,
    budgets_ms: Iterable[float] = (),
    resolutions: Sequence[int] | None = None,
    archs: Sequence[Arch] | None = None,
    evolution: Evolution | None = None,
    path: str | os.PathLike[str] | None = None,
    objective: str = "top1",
    whole: AccuracyTable | None = None,
) -> Front:
    """Returns the Pareto front of a space and its best subnet within each latency budget.

    With *measured* accuracies nothing is sampled and nothing is fitted: all subnets that the accuracy table covers are
    looked up in both tables (CompOFA, arXiv:2104.12642, section 3.3: the compound space is small enough for that). With
    a *predictor* all subnets are looked at if they are at most a million, otherwise the search is by evolution; the
    front then holds predictions. How many of how many were covered is in the result.

    Args:
      space: The space.
      accuracy: Measured accuracies, of all subnets or of some, or a predictor: ``AccuracyPredictor``, or what else has
        the methods of ``Predictor``.
      latency: Latency table that covers the same subnets.
      budgets_ms: Latency budgets in ms; when empty, ``default_budgets`` chooses three. Evolution needs them.
      resolutions: Resolutions to consider; all those of the accuracy table, or of the latency table, when absent.
      archs: The only subnets to consider, resolutions included, where not all of the space are there to be used.
      evolution: Settings of the evolution, which is then used even in a small space.
      path: File for the state of an evolution, which is continued from it if it exists.
      objective: What is to be as large as it can be, one of ``OBJECTIVES``: top-1, or balanced accuracy, which only
        measured tables have.
      whole: Accuracies of some subnets on all pictures, where ``accuracy`` is of a part of them.

    Raises:
      InputError: If a table is of another space, the accuracy table is empty or without the objective, the latency
        table does not cover a subnet, a budget is no positive number, or a budget is below the fastest subnet.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"objective must be one of {', '.join(OBJECTIVES)}. Received: objective={objective!r}")
    for name, table in (("accuracy", accuracy), ("latency", latency)):
        if table.space.fingerprint != space.fingerprint:
            raise InputError(
                f"The {name} table is of another space; measure {space!r} first. Received: {name}={table.space!r}"
            )
    budgets = check_budgets(budgets_ms)
    if isinstance(accuracy, AccuracyTable):
        front = _search_measured(accuracy, latency, budgets, resolutions, archs, objective=objective, whole=whole)
    elif objective != "top1":
        raise InputError(
            f"Predicted accuracies are top-1; measure them, or search for that (--objective top1). Received: "
            f"objective={objective!r}"
        )
    else:
        sides = tuple(sorted(set(resolutions or latency.resolutions)))
        if archs is not None:
            found = _predict_given(accuracy, latency, archs)
        elif evolution is None and space.size * len(sides) <= MOST_ENUMERATED:
            found = _predict_all(accuracy, latency, sides)
        else:
            found = _evolve(accuracy, latency, budgets, sides, evolution or Evolution(), path)
        front = _front_of(found, latency, budgets)
    return front if budgets else replace(front, budgets=default_budgets(front))


def _search_measured(
    accuracy: AccuracyTable,
    latency: LatencyTable,
    budgets: tuple[float, ...],
    resolutions: Sequence[int] | None,
    archs: Sequence[Arch] | None,
    *,
    objective: str,
    whole: AccuracyTable | None,
) -> Front:
    space = accuracy.space
    wanted = accuracy.resolutions if resolutions is None else tuple(sorted(set(resolutions)))
    allowed = None if archs is None else set(archs)
    records = [
        (name, record)
        for name, record in accuracy.items()
        if record.arch.resolution in wanted and (allowed is None or record.arch in allowed)
    ]
    if not records:
        raise InputError(
            "No accuracy was measured for the resolutions to search; measure it first, or search others. "
            f"Received: resolutions={wanted}, measured: {accuracy.resolutions}"
        )
    if objective == "balanced" and any(record.balanced is None for _, record in records):
        raise InputError(
            "The accuracy table is from before balanced accuracies were measured; delete it and measure again, or "
            f"search for top-1 (--objective top1). Received: objective={objective!r}"
        )
    predicted = _predict_ms(latency, [record.arch for _, record in records])
    wholes = {} if whole is None or accuracy.images is None else whole
    return Front(
        space=space,
        candidates=tuple(
            Candidate(
                name,
                record.arch,
                record.top1,
                record.count,
                latency_ms,
                balanced=record.balanced if objective == "balanced" else None,
                whole=wholes.get(name),
            )
            for (name, record), latency_ms in zip(records, predicted)
        ),
        total=space.size * len(wanted) if allowed is None else len(allowed),
        budgets=budgets,
        precision=latency.precision,
        latency=_described(latency),
        accuracy={**accuracy.pictures, "calibration_images": accuracy.calibration_images},
        recipe_hash=accuracy.recipe_hash,
        objective=objective,
    )


@dataclass(frozen=True, eq=False)
class _Predicted:
    """What a search with a predictor looked at.

    Attributes:
      archs: Those that may be on the front.
      top1: Their predicted accuracies, ``[len(archs)]``.
      latency_ms: Their predicted latencies, ``[len(archs)]``.
      examined: How many were looked at.
      total: How many there are.
      accuracy: Where the accuracies come from, and how it was searched: what a front records.
    """

    archs: Archs
    top1: np.ndarray
    latency_ms: np.ndarray
    examined: int
    total: int
    accuracy: dict[str, Any]


def _predict_given(accuracy: Predictor, latency: LatencyTable, archs: Sequence[Arch]) -> _Predicted:
    ms, chosen = np.array(_predict_ms(latency, archs)), Archs.of(accuracy.space, archs)
    described = {**accuracy.to_json(), "search": "all subnets"}
    return _Predicted(chosen, accuracy.predict_all(chosen), ms, len(chosen), len(chosen), described)


def _predict_all(accuracy: Predictor, latency: LatencyTable, resolutions: tuple[int, ...]) -> _Predicted:
    archs = Archs.all_of(accuracy.space, resolutions)
    ms = latencies_of(latency, resolutions).predict_all(archs)
    described = {**accuracy.to_json(), "search": "all subnets"}
    return _Predicted(archs, accuracy.predict_all(archs), ms, len(archs), len(archs), described)


def _evolve(
    accuracy: Predictor,
    latency: LatencyTable,
    budgets: tuple[float, ...],
    resolutions: tuple[int, ...],
    settings: Evolution,
    path: str | os.PathLike[str] | None,
) -> _Predicted:
    if not budgets:
        raise InputError("Evolution needs budgets_ms, for example (15, 20), or --budget-ms 15,20. Received: none")
    space = accuracy.space
    found = evolve(
        space,
        accuracy=accuracy,
        latency=latencies_of(latency, resolutions),
        budgets_ms=budgets,
        resolutions=resolutions,
        settings=settings,
        path=path,
    )
    total = space.size * len(resolutions)
    described = {**accuracy.to_json(), "search": "evolution", **asdict(settings)}
    return _Predicted(found.archs, found.accuracy, found.latency, found.evaluated, total, described)


def _front_of(found: _Predicted, latency: LatencyTable, budgets: tuple[float, ...]) -> Front:
    space, top1 = latency.space, found.top1.astype(np.float64)
    best = np.flatnonzero(pareto(found.latency_ms, top1)).tolist()
    archs = [found.archs.arch(space, index) for index in best]
    return Front(
        space=space,
        candidates=tuple(
            Candidate(space.id(arch), arch, float(found.top1[index]), 0, float(found.latency_ms[index]))
            for index, arch in zip(best, archs)
        ),
        total=found.total,
        budgets=budgets,
        precision=latency.precision,
        latency=_described(latency),
        accuracy=found.accuracy,
        examined=found.examined,
    )


def _described(latency: LatencyTable) -> dict[str, object]:
    return {"device": latency.device, "threads": latency.threads, "conditions": latency.conditions}


def _predict_ms(latency: LatencyTable, archs: Sequence[Arch]) -> list[float]:
    try:
        return [latency.predict(arch) for arch in archs]
    except KeyError as error:
        missing = error.args[0] if error.args else error
        needed = ", ".join(map(str, sorted({arch.resolution for arch in archs})))
        raise InputError(
            f"The latency table does not cover the subnets with measured accuracy; measure latency at resolutions "
            f"{needed}. {missing}"
        ) from error
