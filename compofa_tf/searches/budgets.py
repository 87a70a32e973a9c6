"""Dominance and latency budgets: the arithmetic behind a front. No TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal

import numpy as np

from compofa_tf.errors import InputError


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
