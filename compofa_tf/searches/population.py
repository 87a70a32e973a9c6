"""What a search has found so far, and the best of it for each budget. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space.archs import Archs

_ALIKE = 10
"""Archs of one resolution and depths of which a population keeps the best before it keeps more of them."""


class Population:
    """What a search has found so far: evaluated members, and the best of them for each budget."""

    def __init__(self, budgets: Sequence[float], size: int) -> None:
        self.budgets, self.size = tuple(budgets), size
        self.members: Archs | None = None
        self.accuracy = np.zeros(0, np.float64)
        self.latency = np.zeros(0, np.float64)
        self.evaluated = 0

    def unknown(self, members: Archs) -> np.ndarray:
        """Returns the indices of the members that are not kept here, of equal ones the first."""
        kept = np.zeros(0, np.uint64) if self.members is None else self.members.keys()
        _, first = np.unique(np.concatenate([kept, members.keys()]), return_index=True)
        return np.sort(first[first >= len(kept)]) - len(kept)

    def add(self, members: Archs, accuracy: np.ndarray, latency: np.ndarray) -> None:
        """Takes in ``unknown`` members and forgets those that are among the best of no budget."""
        joined = members if self.members is None else Archs.joined([self.members, members])
        accuracy, latency = np.concatenate([self.accuracy, accuracy]), np.concatenate([self.latency, latency])
        order = np.lexsort((latency, -accuracy))
        kinds, latency = joined.kinds()[order], latency[order]
        kept = np.zeros(len(order), bool)
        for budget_ms in self.budgets:
            kept[_varied(kinds, latency <= budget_ms)[: self.size]] = True
        best = order[kept]
        self.members, self.accuracy, self.latency = joined[best], accuracy[best], latency[kept]
        self.evaluated += len(members)

    @property
    def evaluated_members(self) -> Archs:
        """What was kept, most accurate first; ``accuracy`` and ``latency`` are theirs."""
        if self.members is None:
            raise InputError("Nothing was evaluated yet.")
        return self.members

    def best(self, budget_ms: float, count: int) -> Archs:
        """The most accurate members within a budget, those first of which no more than ten are of one kind."""
        found = self.evaluated_members
        return found[_varied(found.kinds(), self.latency <= budget_ms)[:count]]


def _varied(kinds: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Returns the indices of allowed entries in their order, but those last that follow many others of their kind."""
    places = np.flatnonzero(allowed)
    order = np.argsort(kinds[places], kind="stable")
    ordered = kinds[places][order]
    before = np.empty(len(places), np.int64)
    before[order] = np.arange(len(places)) - np.searchsorted(ordered, ordered)
    return places[np.argsort(before >= _ALIKE, kind="stable")]
