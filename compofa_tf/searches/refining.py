"""Local search around what an evolution found: changes of one choice, and the combinations that promise most.

The changes of one choice are looked at one by one. What two of them do together is first estimated as the sum of what
they do alone; where that breaks the latency budget, the changes are added that save time at the least loss, as many as
it takes. Only the most promising combinations are then predicted. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compofa_tf.accuracy.predictor import Predictor
from compofa_tf.latency.arrays import Latencies
from compofa_tf.searches.genes import Genes
from compofa_tf.searches.population import Population
from compofa_tf.space.archs import Archs

_ROUNDS = 12
_KINDS = 6
_FITTING, _REPAIRED = 100, 100
_FILLINGS = 6


def refine(
    found: Population,
    genes: Genes,
    *,
    accuracy: Predictor,
    latency: Latencies,
    consider: Callable[[Archs], None],
) -> None:
    """Improves the best arch of each kind (resolution and depths) for each budget.

    Args:
      found: What was found so far; of each budget the six best kinds are improved.
      genes: Know the choices, and draw those of blocks that are added.
      accuracy: Predicts the accuracy of any arch.
      latency: Predicts the latency of any arch.
      consider: Evaluates archs and adds them to ``found``. It gets the neighbours of all that were not looked at
        before, again and again until there are none, at most twelve times.
    """
    done: set[tuple[float, int]] = set()
    for _ in range(_ROUNDS):
        made = []
        for budget_ms in found.budgets:
            best = found.best(budget_ms, found.size)
            _, first = np.unique(best.kinds(), return_index=True)
            best = best[np.sort(first)[:_KINDS]]
            for index, key in enumerate(best.keys().tolist()):
                if (budget_ms, key) not in done:
                    done.add((budget_ms, key))
                    made.append(neighbours(best[index : index + 1], budget_ms, genes, accuracy, latency))
        if not made:
            break
        consider(Archs.joined(made))


@dataclass(frozen=True)
class _Changes:
    """Changes of one choice of an arch: which, and what each does alone, arrays ``[changes]``."""

    columns: np.ndarray
    values: np.ndarray
    gain: np.ndarray
    cost_ms: np.ndarray

    def savers(self, usable: np.ndarray) -> np.ndarray:
        """Returns the indices of changes that save time, the least loss per millisecond first, one of each column."""
        saving = np.flatnonzero((self.cost_ms < 0) & usable)
        order = saving[np.argsort(self.gain[saving] / self.cost_ms[saving], kind="stable")]
        _, first = np.unique(self.columns[order], return_index=True)
        return order[np.sort(first)]


def neighbours(one: Archs, budget_ms: float, genes: Genes, accuracy: Predictor, latency: Latencies) -> Archs:
    """Returns archs that differ from one in a choice, and the most promising of those that differ in more.

    Args:
      one: A single arch, within the budget.
      budget_ms: Budget in ms that combinations are estimated to keep; to check it is left to the caller.
      genes: As for ``refine``.
      accuracy: As for ``refine``.
      latency: As for ``refine``.
    """
    columns, values = genes.changes(one, _FILLINGS)
    index, stages = np.arange(len(columns)), one.depths.shape[1]
    rows = np.repeat(genes.genes(one), len(columns), axis=0)
    deeper = np.flatnonzero(columns < stages)
    rows[deeper] = genes.genes(one[np.zeros(len(deeper), np.intp)])
    rows[index, columns] = values
    single = genes.archs(rows)
    both = Archs.joined([one, single])
    top1, ms = accuracy.predict_all(both).astype(np.float64), latency.predict_all(both)
    changes = _Changes(columns, values, top1[1:] - top1[0], ms[1:] - ms[0])
    # Depths and the resolution change what all the other changes do.
    savers = changes.savers((columns >= stages) & (columns < rows.shape[1] - 1))
    first, second, repairs = _combined(changes, savers, budget_ms - float(ms[0]))
    return Archs.joined([single, genes.archs(_applied(rows, changes, savers, first, second, repairs))])


def _combined(changes: _Changes, savers: np.ndarray, spare_ms: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the most promising pairs of changes, and how many of ``savers`` each needs to keep the budget."""
    one, other = np.triu_indices(len(changes.columns), 1)
    differ = changes.columns[one] != changes.columns[other]
    one, other = one[differ], other[differ]
    excess = changes.cost_ms[one] + changes.cost_ms[other] - spare_ms
    saved = np.cumsum(-changes.cost_ms[savers])
    repairs = np.where(excess > 0, np.searchsorted(saved, excess) + 1, 0)
    # One more entry than savers: what no number of them repairs promises nothing.
    lost = np.concatenate([[0.0], np.cumsum(-changes.gain[savers]), [np.inf]])
    promise = changes.gain[one] + changes.gain[other] - lost[repairs]
    chosen = np.concatenate(
        [
            _largest(np.where(repairs == 0, promise, -np.inf), _FITTING),
            _largest(np.where(repairs > 0, promise, -np.inf), _REPAIRED),
        ]
    )
    return one[chosen], other[chosen], repairs[chosen]


def _applied(
    rows: np.ndarray, changes: _Changes, savers: np.ndarray, one: np.ndarray, other: np.ndarray, repairs: np.ndarray
) -> np.ndarray:
    """Returns the genes of combinations; ``rows`` are those of the single changes."""
    genes, index = rows[one], np.arange(len(one))
    genes[index, changes.columns[other]] = changes.values[other]
    turn, value = np.full(rows.shape[1], len(savers)), np.zeros(rows.shape[1])
    turn[changes.columns[savers]] = np.arange(len(savers))
    value[changes.columns[savers]] = changes.values[savers]
    repaired = turn < repairs[:, np.newaxis]
    repaired[index, changes.columns[one]] = False
    repaired[index, changes.columns[other]] = False
    return np.where(repaired, value, genes)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices of the largest finite values, at most ``count``."""
    chosen = np.argpartition(-values, count)[:count] if len(values) > count else np.arange(len(values))
    return chosen[np.isfinite(values[chosen])]
