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
from compofa_tf.errors import InputError
from compofa_tf.search.members import Latencies, Members
from compofa_tf.search.predictor import Predictor
from compofa_tf.search.refining import refine
from compofa_tf.space import Space

KIND = "evolution_state"
_ATTEMPTS = 100
_TRIED = 2000
_CHILD_ATTEMPTS = 4
_ALIKE = 10
"""Members of one resolution and depths of which a population keeps the best before it keeps more of them."""
_SAVED_EVERY = 20


@dataclass(frozen=True)
class Evolution:
    """Settings of the search.

    Published: a population of 100, 500 generations for each budget by itself. Budgets that share what they evaluate,
    and a local search, need fewer generations; a larger population gets stuck less often (``benchmarks/search.py``).

    Attributes:
      population: Members that each budget keeps, and children that it has in each generation.
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


class Population:
    """What a search has found so far: evaluated members, and the best of them for each budget."""

    def __init__(self, budgets: Sequence[float], size: int) -> None:
        self.budgets, self.size = tuple(budgets), size
        self.members: Members | None = None
        self.accuracy = np.zeros(0, np.float64)
        self.latency = np.zeros(0, np.float64)
        self.evaluated = 0

    def unknown(self, members: Members) -> np.ndarray:
        """Returns the indices of the members that are not kept here, of equal ones the first."""
        kept = np.zeros(0, np.uint64) if self.members is None else self.members.keys()
        _, first = np.unique(np.concatenate([kept, members.keys()]), return_index=True)
        return np.sort(first[first >= len(kept)]) - len(kept)

    def add(self, members: Members, accuracy: np.ndarray, latency: np.ndarray) -> None:
        """Takes in ``unknown`` members and forgets those that are among the best of no budget."""
        joined = members if self.members is None else Members.joined([self.members, members])
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
    def evaluated_members(self) -> Members:
        """What was kept, most accurate first; ``accuracy`` and ``latency`` are theirs."""
        if self.members is None:
            raise InputError("Nothing was evaluated yet.")
        return self.members

    def best(self, budget_ms: float, count: int) -> Members:
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


class Variation:
    """Draws, mutates and crosses members of a space.

    Members are varied as rows of genes: a matrix of one column per choice (depth of each stage, expand ratio of each
    block, kernel of each block, width choices, resolution). A row is drawn with an entry for every block, dropped or
    not, so that a stage that grows deeper has something to grow by; ``members`` then drops what the depths drop and
    gives a compound stage the ratio and the widths of its depth.
    """

    def __init__(self, space: Space, resolutions: Sequence[int], rng: np.random.Generator) -> None:
        self.space, self.rng = space, rng
        self.resolutions = np.array(resolutions, np.int64)
        self._stage_of = np.array([n for n, stage in enumerate(space.stages) for _ in range(stage.blocks)], np.intp)
        self._place_in_stage = np.array([place for stage in space.stages for place in range(stage.blocks)])
        elastic = space.kernel == "elastic"
        expands = [sorted(set(stage.expands)) for stage in space.stages]
        kernels = [sorted(stage.kernels) if elastic else [stage.kernel] for stage in space.stages]
        counts = [(n, count) for n, stage in enumerate(space.stages) for count in stage.width_counts]
        self._stage_of_width = np.array([number for number, _ in counts], np.intp)
        groups: list[list[Sequence[float]]] = [
            [stage.depths for stage in space.stages],
            [expands[number] for number in self._stage_of],
            [kernels[number] for number in self._stage_of],
            [range(count) for _, count in counts],
            [resolutions],
        ]
        self.options = [options for group in groups for options in group]
        self._ends = np.cumsum([len(group) for group in groups])[:-1]
        self._counts = np.array([len(options) for options in self.options], np.float64)
        self._table = np.zeros((len(self.options), int(self._counts.max())))
        for column, options in enumerate(self.options):
            self._table[column, : len(options)] = options
        deepest = max(max(stage.depths) for stage in space.stages)
        self._ratio_of_depth, self._blocks_of_depth, self._width_of_depth = np.zeros(
            (3, len(space.stages), 1 + deepest)
        )
        for number, stage in enumerate(space.stages):
            for place, (depth, ratio) in enumerate(stage.choices):
                self._ratio_of_depth[number, depth] = ratio
                self._blocks_of_depth[number, depth] = stage.kept_blocks(depth)
                self._width_of_depth[number, depth] = place

    def draw(self, count: int) -> Members:
        """Draws members: every choice uniform and independent."""
        return self.members(self._drawn(count))

    def mutate(self, parents: Members, probability: float) -> Members:
        """Replaces each choice with some probability by a new one."""
        genes = self.genes(parents)
        return self.members(np.where(self._chance(genes.shape) < probability, self._drawn(len(genes)), genes))

    def cross(self, one: Members, other: Members) -> Members:
        """Takes each choice from one of two parents."""
        first, second = self.genes(one), self.genes(other)
        return self.members(np.where(self._chance(first.shape) < 0.5, second, first))

    def _chance(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.random(shape, np.float32)

    def _drawn(self, count: int) -> np.ndarray:
        """Draws genes, float64 ``[count, columns]``."""
        columns = np.arange(len(self.options))
        return self._table[columns, (self._chance((count, len(columns))) * self._counts).astype(np.intp)]

    def changes(self, member: Members, fillings: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the columns and new values of all changes of one choice that matters, ``[changes]`` each.

        Changes of a depth come ``fillings`` times, for as many drawings of the blocks that are added.
        """
        (now,), stages = self.genes(member), len(self.space.stages)
        kept = member.kernels[0] > 0
        free = np.full(len(self._stage_of_width), self.space.coupling == "independent")
        ratios = kept & (self.space.coupling == "independent")
        matters = np.concatenate([np.ones(stages, bool), ratios, kept, free, [True]])
        found = [
            (column, value)
            for column, options in enumerate(self.options)
            for value in options
            if matters[column] and value != now[column]
            for _ in range(fillings if column < stages else 1)
        ]
        columns, values = zip(*found) if found else ((), ())
        return np.array(columns, np.intp), np.array(values, np.float64)

    def genes(self, members: Members) -> np.ndarray:
        """Returns members as genes, float64 ``[count, columns]``; those of dropped blocks are drawn."""
        dropped = members.kernels == 0
        drawn = np.split(self._drawn(len(members)), self._ends, axis=1)
        parts = (
            members.depths,
            np.where(dropped, drawn[1], members.expands),
            np.where(dropped, drawn[2], members.kernels),
            members.widths,
            members.resolutions[:, np.newaxis],
        )
        return np.concatenate(parts, 1, dtype=np.float64)

    def members(self, genes: np.ndarray) -> Members:
        """Returns the members that rows of genes stand for: without what their depths drop."""
        chosen, expands, kernels, widths, resolutions = np.split(genes, self._ends, axis=1)
        depths = chosen.astype(np.int64)
        of_block = depths[:, self._stage_of]
        kept = self._place_in_stage < self._blocks_of_depth[self._stage_of, of_block]
        if self.space.coupling == "compound":
            expands = self._ratio_of_depth[self._stage_of, of_block]
            widths = self._width_of_depth[self._stage_of_width, depths[:, self._stage_of_width]]
        return Members(
            depths,
            np.where(kept, expands, 0.0),
            np.where(kept, kernels, 0.0).astype(np.int64),
            resolutions[:, 0].astype(np.int64),
            widths.astype(np.int64),
        )


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
    variation = Variation(space, resolutions, rng)
    found = Population(sorted(budgets_ms), settings.population)
    header = {
        "fingerprint": space.fingerprint,
        "budgets_ms": list(found.budgets),
        "resolutions": sorted(map(int, resolutions)),
        **asdict(settings),
    }

    def consider(members: Members) -> None:
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
    space: Space, variation: Variation, found: Population, consider: Any, settings: Evolution, latency: Latencies
) -> None:
    smallest = Members.of(space, [space.smallest(int(side)) for side in variation.resolutions])
    consider(smallest)
    if float(latency.predict_all(smallest).min()) > found.budgets[0]:  # another one may be faster
        widths = space.width_spans[-1].stop > 0  # what a stage takes depends on the one before it: no exact answer
        members = Members.joined([smallest, variation.draw(_TRIED)]) if widths else latency.fastest()
        ms = latency.predict_all(members)
        if ms.min() > found.budgets[0]:
            name = space.id(members.arch(space, int(ms.argmin())))
            raise InputError(
                f"No member of the family is that fast: the fastest{' of those tried' if widths else ''}, {name}, is "
                f"predicted at {ms.min():.4g} ms; "
                f"use a larger budget. Received: budget_ms={found.budgets[0]:g}"
            )
        consider(members)
    for _ in range(_ATTEMPTS):
        consider(variation.draw(4 * settings.population))
        if all((found.latency <= budget_ms).sum() >= settings.population for budget_ms in found.budgets):
            break


def _children(found: Population, variation: Variation, settings: Evolution, latency: Latencies) -> Members:
    """New members within the budgets; for those that break theirs others are made, a few times."""
    rng, budgets = variation.rng, np.array(found.budgets)
    parents = [found.best(budget_ms, max(1, round(settings.parents * settings.population))) for budget_ms in budgets]
    sizes = np.array([len(some) for some in parents])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    pool = Members.joined(parents)
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
    return Members.joined(made)


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
        found.members = Members.of(space, [space.parse(name) for name in content["members"]])
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
