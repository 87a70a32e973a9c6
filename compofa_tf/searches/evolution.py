"""Evolution search, for spaces that are too large to be looked at outright. NumPy only.

The algorithm of Once-for-All and CompOFA (arXiv:1908.09791, section 3.3; arXiv:2104.12642, section 4): the best quarter
of a population has children, half of them mutated, half crossed over, as far as they keep the latency budget. Here a
generation is computed all at once, and all budgets share what they evaluate: what was found for a tight budget may be
the best for a loose one. A population prefers not to be full of one resolution and depths, and every few generations a
local search improves the best of its kinds (``refining``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from compofa_tf.accuracy.predictor import Predictor
from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import Latencies
from compofa_tf.searches.evolution_state import EvolutionState
from compofa_tf.searches.genes import Genes
from compofa_tf.searches.population import Population
from compofa_tf.searches.refining import refine
from compofa_tf.space import Space
from compofa_tf.space.archs import Archs

_ATTEMPTS = 100
_TRIED = 2000
_CHILD_ATTEMPTS = 4
_SAVED_EVERY = 20


@dataclass(frozen=True)
class Evolution:
    """Settings of the search.

    Published: a population of 100, 500 generations for each budget by itself. Budgets that share what they evaluate,
    and a local search, need fewer generations; a larger population gets stuck less often (``benchmarks/search.py``).

    Attributes:
      population: Archs that each budget keeps, and children that it has in each generation.
      generations: Rounds of new archs.
      parents: Share of the population that has children.
      mutated: Share of the children that are mutated parents; the rest are crossed over.
      probability: Chance of each choice (depth of a stage, expand ratio and kernel of a block, width, resolution) to
        mutate.
      refined_every: Generations between two local searches; one more follows the last generation.
      seed: Of all randomness.
    """

    population: int = 160
    generations: int = 60
    parents: float = 0.25
    mutated: float = 0.5
    probability: float = 0.1
    refined_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Rejects other types, negative counts, a population below 4 and shares outside (0, 1]."""
        for name in ("population", "generations", "refined_every", "seed"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int):
                raise InputError(f"{name} must be a whole number. Received: {name}={getattr(self, name)!r}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0. Received: seed={self.seed}")
        if self.population < 4 or self.generations < 0:
            raise InputError(
                "Evolution needs a population of at least 4 and no negative number of generations. "
                f"Received: population={self.population}, generations={self.generations}"
            )
        if self.refined_every < 1:
            raise InputError(f"refined_every must be at least 1. Received: refined_every={self.refined_every}")
        for name in ("parents", "mutated", "probability"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} must be in (0, 1]. Received: {name}={getattr(self, name)!r}")


def evolve(
    space: Space,
    *,
    accuracy: Predictor,
    latency: Latencies,
    budgets_ms: Sequence[float],
    resolutions: Sequence[int],
    settings: Evolution,
    path: str | os.PathLike[str] | None = None,
) -> Population:
    """Searches for the most accurate archs within each budget.

    Args:
      space: The space.
      accuracy: Predicts the accuracy of any arch.
      latency: Predicts the latency of any arch.
      budgets_ms: Latency budgets in ms, each with its own population.
      resolutions: Resolutions to choose from.
      settings: See ``Evolution``.
      path: File that the state is written to every few generations, and continued from if it exists.

    Raises:
      InputError: If a budget is below what was found in many random archs and the smallest one, or the file is of
        another search.
    """
    rng = np.random.default_rng(settings.seed)
    genes = Genes(space, resolutions, rng)
    found = Population(space, sorted(budgets_ms), settings.population)
    header = {
        "fingerprint": space.fingerprint,
        "budgets_ms": list(found.budgets),
        "resolutions": sorted(map(int, resolutions)),
        **asdict(settings),
    }
    state = EvolutionState(path, space, header)

    def consider(archs: Archs) -> None:
        ms = latency.predict_all(archs)
        fast = np.flatnonzero(ms <= found.budgets[-1])
        new = fast[found.unknown(archs[fast])]
        found.add(archs[new], accuracy.predict_all(archs[new]).astype(np.float64), ms[new])

    def improve() -> None:
        refine(found, genes, accuracy=accuracy, latency=latency, consider=consider)

    start = state.resume(found, rng, accuracy=accuracy, latency=latency)
    if start == 0:
        _begin(space, genes, found, consider, settings, latency)
    for generation in range(start + 1, settings.generations + 1):
        consider(_children(found, genes, settings, latency))
        if generation % settings.refined_every == 0:
            improve()
        if generation % _SAVED_EVERY == 0:
            state.save(found, rng, generation)
    if settings.generations == 0 or settings.generations % settings.refined_every:
        improve()
    return found


def _begin(
    space: Space,
    genes: Genes,
    found: Population,
    consider: Callable[[Archs], None],
    settings: Evolution,
    latency: Latencies,
) -> None:
    """Draws archs until each budget has its population, having made sure that it can be met."""
    smallest = Archs.of(space, [space.smallest(int(side)) for side in genes.resolutions])
    consider(smallest)
    if float(latency.predict_all(smallest).min()) > found.budgets[0]:  # another one may be faster
        fastest = latency.fastest()
        archs = Archs.joined([smallest, genes.draw(_TRIED)]) if fastest is None else fastest
        ms = latency.predict_all(archs)
        if ms.min() > found.budgets[0]:
            name = space.id(archs.arch(space, int(ms.argmin())))
            tried = " of those tried" if fastest is None else ""
            raise InputError(
                f"No subnet of the space is that fast: the fastest{tried}, {name}, is predicted at {ms.min():.4g} ms; "
                f"use a larger budget. Received: budget_ms={found.budgets[0]:g}"
            )
        consider(archs)
    for _ in range(_ATTEMPTS):
        consider(genes.draw(4 * settings.population))
        if all((found.latency <= budget_ms).sum() >= settings.population for budget_ms in found.budgets):
            break


def _children(found: Population, genes: Genes, settings: Evolution, latency: Latencies) -> Archs:
    """New archs within the budgets; for those that break theirs others are made, a few times."""
    rng, budgets = genes.rng, np.array(found.budgets)
    parents = [found.best(budget_ms, max(1, round(settings.parents * settings.population))) for budget_ms in budgets]
    sizes = np.array([len(some) for some in parents])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    pool = Archs.joined(parents)
    mutated = round(settings.mutated * settings.population)
    crossed = settings.population - mutated
    made = []
    for count, cross in ((mutated, False), (crossed, True)):
        wanted = np.repeat(np.arange(len(budgets)), count)
        for _ in range(_CHILD_ATTEMPTS):
            if not len(wanted):
                break
            one, other = (pool[starts[wanted] + rng.integers(sizes[wanted])] for _ in range(2))
            children = genes.cross(one, other) if cross else genes.mutate(one, settings.probability)
            kept = latency.predict_all(children) <= budgets[wanted]
            made.append(children[kept])
            wanted = wanted[~kept]
    return Archs.joined(made)
