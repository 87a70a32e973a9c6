"""Searching a family: every member where that is possible, by evolution where it is not. No TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from compofa_tf.accuracy.predictor import Predictor
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import latencies_of
from compofa_tf.searches.budgets import check_budgets, pareto
from compofa_tf.searches.evolution import Evolution, evolve
from compofa_tf.searches.front import Candidate, Front, default_budgets
from compofa_tf.space import Arch, Space
from compofa_tf.space.archs import Archs

if TYPE_CHECKING:
    from compofa_tf.latency.table import LatencyTable

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
) -> Front:
    """Returns the Pareto front of a family and its best member within each latency budget.

    With *measured* accuracies nothing is sampled and nothing is fitted: all members that the accuracy table covers are
    looked up in both tables (CompOFA, arXiv:2104.12642, section 3.3: the compound space is small enough for that). With
    a *predictor* all members are looked at if they are at most a million, otherwise the search is by evolution; the
    front then holds predictions. How many of how many were covered is in the result.

    Args:
      space: The family.
      accuracy: Measured accuracies, of all members or of some, or a predictor: ``AccuracyPredictor``, or what else has
        the methods of ``Predictor``.
      latency: Latency table that covers the same members.
      budgets_ms: Latency budgets in ms; when empty, ``default_budgets`` chooses three. Evolution needs them.
      resolutions: Resolutions to consider; all those of the accuracy table, or of the latency table, when absent.
      archs: The only members to consider, resolutions included, where not all of the space are there to be used.
      evolution: Settings of the evolution, which is then used even in a small space.
      path: File for the state of an evolution, which is continued from it if it exists.

    Raises:
      InputError: If a table is of another space, the accuracy table is empty, the latency table does not cover a
        member, a budget is no positive number, or a budget is below the fastest member.
    """
    for name, table in (("accuracy", accuracy), ("latency", latency)):
        if table.space.fingerprint != space.fingerprint:
            raise InputError(
                f"The {name} table is of another space; measure {space!r} first. Received: {name}={table.space!r}"
            )
    budgets = check_budgets(budgets_ms)
    if not isinstance(accuracy, AccuracyTable):
        sides = tuple(sorted(set(resolutions or latency.resolutions)))
        if archs is None:
            front = _search_predicted(space, accuracy, latency, budgets, sides, evolution, path)
        else:
            front = _predict_given(space, accuracy, latency, budgets, archs)
    else:
        front = _search_measured(space, accuracy, latency, budgets, resolutions, archs)
    return front if budgets else replace(front, budgets=default_budgets(front))


def _search_measured(
    space: Space,
    accuracy: AccuracyTable,
    latency: LatencyTable,
    budgets: tuple[float, ...],
    resolutions: Sequence[int] | None,
    archs: Sequence[Arch] | None,
) -> Front:
    wanted = accuracy.resolutions if resolutions is None else tuple(sorted(set(resolutions)))
    allowed = None if archs is None else set(archs)
    records = [
        (name, record)
        for name, record in accuracy.items()
        if record.arch.resolution in wanted and (allowed is None or record.arch in allowed)
    ]
    if not records:
        raise InputError(
            "No accuracy was measured for the resolutions to search; run `compofa measure --accuracy` first. "
            f"Received: resolutions={wanted}, measured: {accuracy.resolutions}"
        )
    predicted = _predict(latency, [record.arch for _, record in records])
    return Front(
        space=space,
        candidates=tuple(
            Candidate(name, record.arch, record.top1, record.count, latency_ms)
            for (name, record), latency_ms in zip(records, predicted)
        ),
        total=space.size * len(wanted) if allowed is None else len(allowed),
        budgets=budgets,
        precision=latency.precision,
        latency=_describe(latency),
        accuracy={
            "data": accuracy.data,
            "split": accuracy.split,
            "images": accuracy.images,
            "calibration_images": accuracy.calibration_images,
        },
        recipe_hash=accuracy.recipe_hash,
    )


def _search_predicted(
    space: Space,
    accuracy: Predictor,
    latency: LatencyTable,
    budgets: tuple[float, ...],
    resolutions: tuple[int, ...],
    evolution: Evolution | None,
    path: str | os.PathLike[str] | None,
) -> Front:
    total = space.size * len(resolutions)
    lookup = latencies_of(latency, resolutions)
    described = accuracy.to_json()
    if evolution is None and total <= MOST_ENUMERATED:
        members = Archs.all_of(space, resolutions)
        ms, examined = lookup.predict_all(members), total
        top1 = accuracy.predict_all(members)
        described["search"] = "all members"
    else:
        if not budgets:
            raise InputError("Evolution needs budgets_ms, for example (15, 20), or --budget-ms 15,20. Received: none")
        settings = evolution or Evolution()
        found = evolve(
            space,
            accuracy=accuracy,
            latency=lookup,
            budgets_ms=budgets,
            resolutions=resolutions,
            settings=settings,
            path=path,
        )
        members, ms, top1, examined = found.evaluated_members, found.latency, found.accuracy, found.evaluated
        described |= {"search": "evolution", **asdict(settings)}
    return _predicted_front(space, latency, members, top1, ms, budgets, described, examined=examined, total=total)


def _predict_given(
    space: Space,
    accuracy: Predictor,
    latency: LatencyTable,
    budgets: tuple[float, ...],
    archs: Sequence[Arch],
) -> Front:
    members = Archs.of(space, archs)
    ms, top1 = np.array(_predict(latency, archs)), accuracy.predict_all(members)
    described = {**accuracy.to_json(), "search": "all members"}
    count = len(members)
    return _predicted_front(space, latency, members, top1, ms, budgets, described, examined=count, total=count)


def _predicted_front(
    space: Space,
    latency: LatencyTable,
    members: Archs,
    top1: np.ndarray,
    ms: np.ndarray,
    budgets: tuple[float, ...],
    described: dict[str, object],
    *,
    examined: int,
    total: int,
) -> Front:
    archs = [(members.arch(space, i), i) for i in np.flatnonzero(pareto(ms, top1.astype(np.float64))).tolist()]
    return Front(
        space=space,
        candidates=tuple(Candidate(space.id(arch), arch, float(top1[i]), 0, float(ms[i])) for arch, i in archs),
        total=total,
        budgets=budgets,
        precision=latency.precision,
        latency=_describe(latency),
        accuracy=described,
        examined=examined,
    )


def _describe(latency: LatencyTable) -> dict[str, object]:
    return {"device": latency.device, "threads": latency.threads, "conditions": latency.conditions}


def _predict(latency: LatencyTable, archs: Sequence[Arch]) -> list[float]:
    try:
        return [latency.predict(arch) for arch in archs]
    except KeyError as error:
        missing = error.args[0] if error.args else error
        needed = ", ".join(map(str, sorted({arch.resolution for arch in archs})))
        raise InputError(
            f"The latency table does not cover the members with measured accuracy; measure latency at resolutions "
            f"{needed}. {missing}"
        ) from error
