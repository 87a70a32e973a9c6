"""Dominance and latency budgets: the arithmetic behind a front. No TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

import numpy as np

from compofa_tf.errors import InputError

if TYPE_CHECKING:
    from compofa_tf.search.front import Front

HEADROOM = 1.05
"""Default budgets lie this far above what they aim at, because a prediction may be a few percent low."""


def pareto(latency_ms: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Returns which candidates no other one dominates.

    Args:
      latency_ms: Latencies, shape ``[n]``; less is better.
      accuracy: Accuracies, shape ``[n]``; more is better.

    Returns:
      bool ``[n]``: whether no other one is at least as accurate and at most as slow, and better in one of the two.
    """
    order = np.lexsort((-accuracy, latency_ms))
    slow, good = latency_ms[order], accuracy[order]
    best_so_far = np.maximum.accumulate(good)
    faster_best = np.concatenate(([-np.inf], best_so_far))[np.searchsorted(slow, slow, side="left")]
    # The first of equal latencies is the most accurate of them.
    equal_best = good[np.searchsorted(slow, slow, side="left")]
    kept = np.empty(len(order), bool)
    kept[order] = (good > faster_best) & (good == equal_best)
    return kept


def check_budgets(budgets_ms: Iterable[float]) -> tuple[float, ...]:
    """Returns budgets ascending and without repetition; ``InputError`` unless all are positive finite numbers."""
    if isinstance(budgets_ms, (str, bytes)) or not hasattr(budgets_ms, "__iter__"):
        raise InputError(
            f"budgets_ms is a list of numbers, for example (5, 10, 20). Received: budgets_ms={budgets_ms!r}"
        )
    checked = set()
    for budget_ms in budgets_ms:
        number = isinstance(budget_ms, (int, float, np.integer, np.floating)) and not isinstance(budget_ms, bool)
        if not number or not math.isfinite(budget_ms) or budget_ms <= 0:
            raise InputError(
                f"A latency budget is a positive number of milliseconds. Received: budget_ms={budget_ms!r}"
            )
        checked.add(float(budget_ms))
    return tuple(sorted(checked))


def round_up(value: float, *, digits: int) -> float:
    """Returns the smallest number with that many significant digits that is at least ``value`` (> 0)."""
    exact = Decimal(repr(float(value)))
    unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    return float((exact / unit).to_integral_value(ROUND_CEILING) * unit)


def default_budgets(front: Front, *, count: int = 3) -> tuple[float, ...]:
    """Returns budgets spread over what the family can reach, each with another best member.

    The targets divide the latencies of the front on a logarithmic scale, from one ``2 * count``-th above the fastest
    point, which leaves room for a prediction that is too low, up to the slowest point. Each target gets 5 % on top and
    is rounded up to two significant digits (three if two budgets would choose the same member). Where that does not
    give ``count`` members, each target takes the slowest point of the front within it that leaves a point for every
    other target, and gets its own rounded value or else the roundest number from that point to the next slower one.

    Args:
      front: The front; its own budgets do not matter.
      count: How many budgets, at least 1; fewer are returned where the front has fewer points.

    Returns:
      Budgets in ms, ascending, none below the fastest member.
    """
    if count < 1:
        raise InputError(f"At least one budget is needed. Received: count={count!r}")
    latencies = sorted({point.predicted_ms for point in front.points})
    count = min(count, len(latencies))
    steps = np.linspace(1 / (2 * count), 1.0, count)
    targets = [latencies[0] * (latencies[-1] / latencies[0]) ** float(step) for step in steps]
    for digits in (2, 3):
        budgets = [round_up(HEADROOM * target, digits=digits) for target in targets]
        if len({front.best(budget_ms) for budget_ms in budgets}) == count:
            return tuple(budgets)
    budgets = []
    index = -1
    for position, target in enumerate(targets):
        nearest = int(np.searchsorted(latencies, target, side="right")) - 1
        index = min(max(nearest, index + 1), len(latencies) - count + position)
        following = latencies[index + 1] if index + 1 < len(latencies) else math.inf
        roundest = (round_up(latencies[index], digits=digits) for digits in range(1, 18))
        options = (round_up(HEADROOM * target, digits=2), *roundest)
        budgets.append(next(value for value in options if latencies[index] <= value < following))
    return tuple(budgets)
