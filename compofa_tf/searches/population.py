"""What a search has found so far, and the best of it for each budget. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compofa_tf.space import Space
from compofa_tf.space.archs import Archs

_ALIKE = 10
"""Archs of one resolution and depths of which a population keeps the best before it keeps more of them."""


class Population:
    """The best of all archs that a search has evaluated, for each budget.

    Args:
      space: The space.
      budgets: Latency budgets in ms.
      size: How many archs are kept for each of them.

    Attributes:
      archs: What is kept, most accurate first.
      accuracy: Their accuracies, float64 ``[len(archs)]``.
      latency: Their latencies in ms, float64 ``[len(archs)]``.
      evaluated: How many were evaluated in all.
    """

    def __init__(self, space: Space, budgets: Sequence[float], size: int) -> None:
        self.budgets, self.size = tuple(budgets), size
        self.archs = Archs.of(space, [])
        self.accuracy = np.zeros(0, np.float64)
        self.latency = np.zeros(0, np.float64)
        self.evaluated = 0

    def unknown(self, archs: Archs) -> np.ndarray:
        """Returns which of ``archs`` are not kept here, without repetitions: ascending indices."""
        kept = self.archs.keys()
        _, first = np.unique(np.concatenate([kept, archs.keys()]), return_index=True)
        return np.sort(first[first >= len(kept)]) - len(kept)

    def add(self, archs: Archs, accuracy: np.ndarray, latency: np.ndarray) -> None:
        """Takes in ``unknown`` archs and forgets those that are among the best of no budget."""
        joined = Archs.joined([self.archs, archs])
        accuracy, latency = np.concatenate([self.accuracy, accuracy]), np.concatenate([self.latency, latency])
        order = np.lexsort((latency, -accuracy))
        kinds, latency = joined.kinds()[order], latency[order]
        kept = np.zeros(len(order), bool)
        for budget_ms in self.budgets:
            kept[_varied(kinds, latency <= budget_ms)[: self.size]] = True
        best = order[kept]
        self.archs, self.accuracy, self.latency = joined[best], accuracy[best], latency[kept]
        self.evaluated += len(archs)

    def best(self, budget_ms: float, count: int) -> Archs:
        """Returns the most accurate archs within a budget, first those that are not the eleventh or later of a kind.

        A kind is a resolution with depths (``Archs.kinds``).
        """
        return self.archs[_varied(self.archs.kinds(), self.latency <= budget_ms)[:count]]


def _varied(kinds: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Returns the indices of allowed entries in their order, but those last that follow many others of their kind."""
    places = np.flatnonzero(allowed)
    order = np.argsort(kinds[places], kind="stable")
    ordered = kinds[places][order]
    before = np.empty(len(places), np.int64)
    before[order] = np.arange(len(places)) - np.searchsorted(ordered, ordered)
    return places[np.argsort(before >= _ALIKE, kind="stable")]
