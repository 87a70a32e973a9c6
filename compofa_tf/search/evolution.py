"""Evolution search, for spaces that are too large to be looked at outright. NumPy only.

The algorithm of Once-for-All and CompOFA (arXiv:1908.09791, section 3.3; arXiv:2104.12642, section 4): a population
keeps its best quarter, and fills up with mutated and crossed-over parents that keep the latency budget. Here a
generation is computed all at once, and all budgets share what they evaluate: what was found for a tight budget may be
the best for a loose one. At the end every change of one or two choices of the best members is tried.
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
from compofa_tf.search.predictor import AccuracyPredictor
from compofa_tf.space import Space

KIND = "evolution_state"
_ATTEMPTS = 100
_CHILD_ATTEMPTS = 4
_FINISHING_ROUNDS = 10
_SAVED_EVERY = 50


@dataclass(frozen=True)
class Evolution:
    """Settings of the search.

    Published: a population of 100, 500 generations for each budget by itself, probability 0.1. Budgets that share what
    they evaluate need fewer generations; a larger population and more mutation get stuck less often
    (``benchmarks/search.py``).

    Attributes:
      population: Members that each budget keeps.
      generations: Rounds of new members.
      parents: Share of the population that has children.
      mutated: Share of the population that is replaced by mutated parents; the rest are crossed over.
      probability: Chance of each choice (depth of a stage, expand ratio and kernel of a block, resolution) to mutate.
      seed: Of all randomness.
    """

    population: int = 200
    generations: int = 180
    parents: float = 0.25
    mutated: float = 0.5
    probability: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        """Rejects settings with which nothing evolves."""
        if self.population < 4 or self.generations < 0:
            raise InputError(
                "Evolution needs a population of at least 4 and no negative number of generations. "
                f"Received: population={self.population}, generations={self.generations}"
            )
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

    def add(self, members: Members, accuracy: np.ndarray, latency: np.ndarray) -> None:
        """Takes in members and forgets those that are among the best of no budget."""
        joined = members if self.members is None else Members.joined([self.members, members])
        accuracy, latency = np.concatenate([self.accuracy, accuracy]), np.concatenate([self.latency, latency])
        _, first = np.unique(joined.keys(), return_index=True)
        first = first[np.lexsort((first, latency[first], -accuracy[first]))]
        kept = np.zeros(len(first), bool)
        for budget_ms in self.budgets:
            kept[np.flatnonzero(latency[first] <= budget_ms)[: self.size]] = True
        best = first[kept]
        self.members, self.accuracy, self.latency = joined[best], accuracy[best], latency[best]
        self.evaluated += len(members)

    @property
    def evaluated_members(self) -> Members:
        """What was kept, most accurate first; ``accuracy`` and ``latency`` are theirs."""
        if self.members is None:
            raise InputError("Nothing was evaluated yet.")
        return self.members

    def best(self, budget_ms: float, count: int) -> Members:
        """The most accurate members within a budget."""
        return self.evaluated_members[np.flatnonzero(self.latency <= budget_ms)[:count]]


class Variation:
    """Draws, mutates and crosses members of a space.

    A member is drawn with an entry for every block, dropped or not, so that a stage that grows deeper has something to
    grow by; ``_settled`` then drops what the depths drop and gives a compound stage the ratio of its depth.
    """

    def __init__(self, space: Space, resolutions: Sequence[int], rng: np.random.Generator) -> None:
        self.space, self.rng = space, rng
        self.resolutions = np.array(resolutions, np.int64)
        self._spans = space.block_spans
        self._depths = [np.array(stage.depths) for stage in space.stages]
        self._ratio_of_depth = []
        for stage in space.stages:
            ratios = np.zeros(max(stage.depths) + 1)
            for depth, ratio in stage.choices:
                ratios[depth] = ratio
            self._ratio_of_depth.append(ratios)
        self._expands = [np.array(sorted(set(stage.expands)), np.float64) for stage in space.stages]
        elastic = space.kernel == "elastic"
        self._kernels = [np.array(sorted(stage.kernels) if elastic else [stage.kernel]) for stage in space.stages]

    def draw(self, count: int) -> Members:
        """Draws members: every choice uniform and independent."""
        return self._settled(self._draw_full(count))

    def mutate(self, parents: Members, probability: float) -> Members:
        """Replaces each choice with some probability by a new one."""
        return self._mixed(parents, self._draw_full(len(parents)), probability)

    def cross(self, one: Members, other: Members) -> Members:
        """Takes each choice from one of two parents."""
        return self._mixed(one, other, 0.5)

    def _draw_full(self, count: int) -> Members:
        """Draws members whose dropped blocks keep their entries."""
        sizes = [span.stop - span.start for span in self._spans]
        return Members(
            np.stack([self.rng.choice(options, count) for options in self._depths], 1),
            np.concatenate([self.rng.choice(options, (count, n)) for options, n in zip(self._expands, sizes)], 1),
            np.concatenate([self.rng.choice(options, (count, n)) for options, n in zip(self._kernels, sizes)], 1),
            self.rng.choice(self.resolutions, count),
        )

    def _mixed(self, one: Members, other: Members, share: float) -> Members:
        def pick(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.where(self.rng.random(a.shape) < share, b, a)

        one, other = self._filled(one), self._filled(other)
        full = Members(
            pick(one.depths, other.depths),
            pick(one.expands, other.expands),
            pick(one.kernels, other.kernels),
            pick(one.resolutions, other.resolutions),
        )
        return self._settled(full)

    def _filled(self, members: Members) -> Members:
        """Draws the entries of dropped blocks."""
        spare, kept = self._draw_full(len(members)), members.kernels > 0
        return Members(
            members.depths,
            np.where(kept, members.expands, spare.expands),
            np.where(kept, members.kernels, spare.kernels),
            members.resolutions,
        )

    def neighbours(self, member: Members) -> Members:
        """Returns all members that differ from one in one or two choices; they may be alike once settled."""
        edits = [
            ("resolutions", (), self.resolutions),
            *(("depths", (number,), options) for number, options in enumerate(self._depths)),
        ]
        for name, by_stage in (("expands", self._expands), ("kernels", self._kernels)):
            for span, options in zip(self._spans, by_stage):
                edits += [(name, (block,), options) for block in range(span.start, span.stop)]
        single = [(name, place, value) for name, place, options in edits if len(options) > 1 for value in options]
        first, second = np.triu_indices(len(single))
        one = self._filled(member)
        rows = np.zeros(len(first), np.int64)
        found = Members(one.depths[rows], one.expands[rows], one.kernels[rows], one.resolutions[rows])
        for number, (name, place, value) in enumerate(single):
            getattr(found, name)[(np.flatnonzero((first == number) | (second == number)), *place)] = value
        return self._settled(found)

    def _settled(self, full: Members) -> Members:
        """Returns members of the space: dropped blocks are 0, compound stages have the ratio of their depth."""
        depths, expands, kernels = full.depths, full.expands.copy(), full.kernels.copy()
        for number, span in enumerate(self._spans):
            depth = depths[:, number, np.newaxis]
            if self.space.coupling == "compound":
                expands[:, span] = self._ratio_of_depth[number][depth]
            kept = np.arange(span.stop - span.start) < depth
            expands[:, span] = np.where(kept, expands[:, span], 0)
            kernels[:, span] = np.where(kept, kernels[:, span], 0)
        return Members(depths, expands, kernels, full.resolutions)


def evolve(
    space: Space,
    *,
    accuracy: AccuracyPredictor,
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
    if space.width_spans[-1].stop:
        raise InputError("Evolution varies depths, expand ratios and kernels; this family has elastic widths, too.")
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
        kept = ms <= found.budgets[-1]
        found.add(members[kept], accuracy.predict_all(members[kept]).astype(np.float64), ms[kept])

    start = _resume(path, header, space, found, rng)
    if start is None:
        start = 0
        _begin(space, variation, found, consider, settings, latency)
    for generation in range(start, settings.generations):
        consider(_children(found, variation, settings, latency))
        if path is not None and (generation + 1) % _SAVED_EVERY == 0:
            _save(path, header, space, found, rng, generation + 1)
    for budget_ms in found.budgets:
        _finish(found, budget_ms, variation, consider)
    return found


def _finish(found: Population, budget_ms: float, variation: Variation, consider: Any) -> None:
    """Changes one or two choices of the best member as long as that makes it better: the last step of evolution."""
    for _ in range(_FINISHING_ROUNDS):
        best = found.best(budget_ms, 1)
        consider(variation.neighbours(best))
        if np.array_equal(found.best(budget_ms, 1).keys(), best.keys()):
            break


def _begin(
    space: Space, variation: Variation, found: Population, consider: Any, settings: Evolution, latency: Latencies
) -> None:
    smallest = Members.of(space, [space.smallest(int(side)) for side in variation.resolutions])
    consider(smallest)
    fastest = float(latency.predict_all(smallest).min())
    if fastest > found.budgets[0]:
        raise InputError(
            f"No member of the family is that fast: the smallest is predicted at {fastest:.4g} ms; "
            f"use a larger budget. Received: budget_ms={found.budgets[0]:g}"
        )
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
    crossed = settings.population - mutated - sizes
    made = []
    for counts, cross in ((np.full(len(budgets), mutated), False), (np.maximum(crossed, 0), True)):
        wanted = np.repeat(np.arange(len(budgets)), counts)
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
        return int(content["generation"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it to search anew.") from error
