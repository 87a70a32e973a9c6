"""Evolution search, for spaces that are too large to be looked at outright. NumPy only.

The algorithm of Once-for-All and CompOFA (arXiv:1908.09791, section 3.3; arXiv:2104.12642, section 4): the best quarter
of a population has children, half of them mutated, half crossed over, as far as they keep the latency budget. Here a
generation is computed all at once, and all budgets share what they evaluate: what was found for a tight budget may be
the best for a loose one. A population prefers not to be full of members of one resolution and depths, and every few
generations a local search improves the best of its kinds (``search.refining``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf import files
from compofa_tf.accuracy.predictor import Predictor
from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import Latencies
from compofa_tf.searches.genes import Genes
from compofa_tf.searches.population import Population
from compofa_tf.searches.refining import refine
from compofa_tf.space import Space
from compofa_tf.space.archs import Archs

KIND = "evolution_state"
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
      generations: Rounds of new members.
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
        """Rejects settings with which nothing evolves."""
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
    """Searches for the most accurate members within each budget.

    Args:
      space: The family.
      accuracy: Predicts the accuracy of any member.
      latency: Predicts the latency of any member.
      budgets_ms: Latency budgets in ms, each with its own population.
      resolutions: Resolutions to choose from.
      settings: See ``Evolution``.
      path: File that the state is written to every few generations, and continued from if it exists.

    Raises:
      InputError: If a budget is below what was found in many random members and the smallest one, or the file is of
        another search.
    """
    rng = np.random.default_rng(settings.seed)
    variation = Genes(space, resolutions, rng)
    found = Population(sorted(budgets_ms), settings.population)
    header = {
        "fingerprint": space.fingerprint,
        "budgets_ms": list(found.budgets),
        "resolutions": sorted(map(int, resolutions)),
        **asdict(settings),
    }

    def consider(members: Archs) -> None:
        ms = latency.predict_all(members)
        fast = np.flatnonzero(ms <= found.budgets[-1])
        new = fast[found.unknown(members[fast])]
        found.add(members[new], accuracy.predict_all(members[new]).astype(np.float64), ms[new])

    def improve() -> None:
        refine(found, variation, accuracy=accuracy, latency=latency, consider=consider)

    start = _resume(path, header, space, found, rng)
    if start is not None:
        _check_values(path, found, accuracy, latency)
    else:
        start = 0
        _begin(space, variation, found, consider, settings, latency)
    for generation in range(start + 1, settings.generations + 1):
        consider(_children(found, variation, settings, latency))
        if generation % settings.refined_every == 0:
            improve()
        if path is not None and generation % _SAVED_EVERY == 0:
            _save(path, header, space, found, rng, generation)
    if settings.generations == 0 or settings.generations % settings.refined_every:
        improve()
    return found


def _begin(
    space: Space, variation: Genes, found: Population, consider: Any, settings: Evolution, latency: Latencies
) -> None:
    smallest = Archs.of(space, [space.smallest(int(side)) for side in variation.resolutions])
    consider(smallest)
    if float(latency.predict_all(smallest).min()) > found.budgets[0]:  # another one may be faster
        fastest = latency.fastest()
        members = Archs.joined([smallest, variation.draw(_TRIED)]) if fastest is None else fastest
        ms = latency.predict_all(members)
        if ms.min() > found.budgets[0]:
            name = space.id(members.arch(space, int(ms.argmin())))
            tried = " of those tried" if fastest is None else ""
            raise InputError(
                f"No member of the family is that fast: the fastest{tried}, {name}, is predicted at {ms.min():.4g} ms; "
                f"use a larger budget. Received: budget_ms={found.budgets[0]:g}"
            )
        consider(members)
    for _ in range(_ATTEMPTS):
        consider(variation.draw(4 * settings.population))
        if all((found.latency <= budget_ms).sum() >= settings.population for budget_ms in found.budgets):
            break


def _children(found: Population, variation: Genes, settings: Evolution, latency: Latencies) -> Archs:
    """New members within the budgets; for those that break theirs others are made, a few times."""
    rng, budgets = variation.rng, np.array(found.budgets)
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
            children = variation.cross(one, other) if cross else variation.mutate(one, settings.probability)
            kept = latency.predict_all(children) <= budgets[wanted]
            made.append(children[kept])
            wanted = wanted[~kept]
    return Archs.joined(made)


def _save(
    path: str | os.PathLike[str],
    header: dict[str, Any],
    space: Space,
    found: Population,
    rng: np.random.Generator,
    generation: int,
) -> None:
    members = found.evaluated_members
    content = {
        **header,
        "generation": generation,
        "evaluated": found.evaluated,
        "rng": rng.bit_generator.state,
        "members": [space.id(members.arch(space, index)) for index in range(len(members))],
        "accuracy": found.accuracy.tolist(),
        "latency_ms": found.latency.tolist(),
    }
    files.write_json(path, content, kind=KIND, overwrite=True)


def _resume(
    path: str | os.PathLike[str] | None,
    header: dict[str, Any],
    space: Space,
    found: Population,
    rng: np.random.Generator,
) -> int | None:
    """Takes up a saved state; returns its generation, or None if there is none."""
    if path is None or not Path(path).exists():
        return None
    content = files.read_json(path, kind=KIND)
    for name, wanted in header.items():
        if content.get(name) != wanted and name != "generations":
            raise InputError(
                f"{path} belongs to a search with other settings; delete it or give another path. "
                f"Received: {name}={wanted!r} where the file has {content.get(name)!r}"
            )
    try:
        found.members = Archs.of(space, [space.parse(name) for name in content["members"]])
        found.accuracy, found.latency = (np.array(content[name], np.float64) for name in ("accuracy", "latency_ms"))
        found.evaluated = int(content["evaluated"])
        rng.bit_generator.state = content["rng"]
        generation = int(content["generation"])
        if not len(found.members) == len(found.accuracy) == len(found.latency) > 0:
            raise ValueError("its members and values are not as many")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it to search anew.") from error
    if generation > header["generations"]:
        raise InputError(
            f"{path} has come further than this search goes: {generation} generations; ask for at least as many, or "
            f"delete it. Received: generations={header['generations']}"
        )
    return generation


def _check_values(
    path: str | os.PathLike[str] | None, found: Population, accuracy: Predictor, latency: Latencies
) -> None:
    """A state is of the predictor and the table that its values come from; no others can go on with it."""
    for name, now, then in (
        ("accuracies", accuracy.predict_all(found.evaluated_members), found.accuracy),
        ("latencies", latency.predict_all(found.evaluated_members), found.latency),
    ):
        if not np.allclose(now, then, rtol=1e-5, atol=1e-7):
            raise InputError(
                f"{path} belongs to a search with other {name}; delete it, or give another path, to search with these."
            )
