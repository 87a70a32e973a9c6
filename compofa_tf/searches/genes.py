"""Archs as rows of genes: drawn, mutated, crossed. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compofa_tf.space import Space
from compofa_tf.space.archs import Archs


class Genes:
    """Draws, mutates and crosses members of a space.

    Archs are varied as rows of genes: a matrix of one column per choice (depth of each stage, expand ratio of each
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

    def draw(self, count: int) -> Archs:
        """Draws members: every choice uniform and independent."""
        return self.members(self._drawn(count))

    def mutate(self, parents: Archs, probability: float) -> Archs:
        """Replaces each choice with some probability by a new one."""
        genes = self.genes(parents)
        return self.members(np.where(self._chance(genes.shape) < probability, self._drawn(len(genes)), genes))

    def cross(self, one: Archs, other: Archs) -> Archs:
        """Takes each choice from one of two parents."""
        first, second = self.genes(one), self.genes(other)
        return self.members(np.where(self._chance(first.shape) < 0.5, second, first))

    def _chance(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.random(shape, np.float32)

    def _drawn(self, count: int) -> np.ndarray:
        """Draws genes, float64 ``[count, columns]``."""
        columns = np.arange(len(self.options))
        return self._table[columns, (self._chance((count, len(columns))) * self._counts).astype(np.intp)]

    def changes(self, member: Archs, fillings: int) -> tuple[np.ndarray, np.ndarray]:
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

    def genes(self, members: Archs) -> np.ndarray:
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

    def members(self, genes: np.ndarray) -> Archs:
        """Returns the members that rows of genes stand for: without what their depths drop."""
        chosen, expands, kernels, widths, resolutions = np.split(genes, self._ends, axis=1)
        depths = chosen.astype(np.int64)
        of_block = depths[:, self._stage_of]
        kept = self._place_in_stage < self._blocks_of_depth[self._stage_of, of_block]
        if self.space.coupling == "compound":
            expands = self._ratio_of_depth[self._stage_of, of_block]
            widths = self._width_of_depth[self._stage_of_width, depths[:, self._stage_of_width]]
        return Archs(
            depths,
            np.where(kept, expands, 0.0),
            np.where(kept, kernels, 0.0).astype(np.int64),
            resolutions[:, 0].astype(np.int64),
            widths.astype(np.int64),
        )
