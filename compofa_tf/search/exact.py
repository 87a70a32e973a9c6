"""Exact search: every measured member of the family, at every resolution, against the tables. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from compofa_tf.errors import InputError
from compofa_tf.search.accuracy import AccuracyTable
from compofa_tf.search.budgets import check_budgets, default_budgets
from compofa_tf.search.front import Candidate, Front
from compofa_tf.space import Arch, Space

if TYPE_CHECKING:
    from compofa_tf.latency.table import LatencyTable


def search(
    space: Space,
    *,
    accuracy: AccuracyTable,
    latency: LatencyTable,
    budgets_ms: Iterable[float] = (),
    resolutions: Sequence[int] | None = None,
) -> Front:
    """Returns the Pareto front of a family and its best member within each latency budget.

    Nothing is sampled and nothing is fitted: all members that the accuracy table covers are looked up in both tables
    (CompOFA, arXiv:2104.12642, section 3.3: the compound space is small enough for that). How many of how many were
    covered is in the result.

    Args:
      space: The family.
      accuracy: Measured accuracies, of all members or of some.
      latency: Latency table that covers the same members.
      budgets_ms: Latency budgets in ms; when empty, ``default_budgets`` chooses three.
      resolutions: Resolutions to consider; all those of the accuracy table when absent.

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
    wanted = accuracy.resolutions if resolutions is None else tuple(sorted(set(resolutions)))
    records = [(name, record) for name, record in accuracy.items() if record.arch.resolution in wanted]
    if not records:
        raise InputError(
            "No accuracy was measured for the resolutions to search; run `compofa measure --accuracy` first. "
            f"Received: resolutions={wanted}, measured: {accuracy.resolutions}"
        )
    predicted = _predict(latency, [record.arch for _, record in records])
    front = Front(
        space=space,
        candidates=tuple(
            Candidate(name, record.arch, record.top1, record.count, latency_ms)
            for (name, record), latency_ms in zip(records, predicted)
        ),
        total=space.size * len(wanted),
        budgets=budgets,
        precision=latency.precision,
        latency={"device": latency.device, "threads": latency.threads, "conditions": latency.conditions},
        accuracy={
            "data": accuracy.data,
            "split": accuracy.split,
            "images": accuracy.images,
            "calibration_images": accuracy.calibration_images,
        },
        recipe_hash=accuracy.recipe_hash,
    )
    return front if budgets else replace(front, budgets=default_budgets(front))


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
