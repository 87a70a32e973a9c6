"""Archs as rows of genes: drawn, mutated, crossed. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compofa_tf.space import Space
from compofa_tf.space.archs import Archs


class Genes:
    """Draws, mutates and crosses archs of a space.

    Archs are varied as rows of genes: a matrix of one column per choice (depth of each stage, expand ratio of each
    block, kernel of each block, width choices, resolution). A row has an entry for every block, dropped or not, so that
    a stage that grows deeper has something to grow by; ``archs`` then drops what the depths drop and gives a compound
    stage the ratio and the widths of its depth.

    Args:
      space: The space.
      resolutions: Resolutions to choose from, in pixels.
      rng: Source of all randomness.

    Attributes:
      options: What each column may hold.
    """

    def __init__(self, space: Space, resolutions: Sequence[int], rng: np.random.Generator) -> None:
        self.space, self.rng = space, rng
        self.resolutions = np.array(resolutions, np.int64)
        stages = space.stages
        self._stage_of = np.array([n for n, stage in enumerate(stages) for _ in range(stage.blocks)], np.intp)
        self._place_in_stage = np.array([place for stage in stages for place in range(stage.blocks)])
        self._stage_of_width = np.array([n for n, stage in enumerate(stages) for _ in stage.width_counts], np.intp)
        elastic = space.kernel == "elastic"
        kernels = [sorted(stage.kernels) if elastic else [stage.kernel] for stage in stages]
        groups: list[list[Sequence[float]]] = [
            [stage.depths for stage in stages],
            [sorted(set(stages[number].expands)) for number in self._stage_of],
            [kernels[number] for number in self._stage_of],
            [range(count) for stage in stages for count in stage.width_counts],
            [resolutions],
        ]
        self.options = [options for group in groups for options in group]
        self._ends = np.cumsum([len(group) for group in groups])[:-1]
        self._counts = np.array([len(options) for options in self.options], np.float64)
        self._table = np.zeros((len(self.options), int(self._counts.max())))
        for column, options in enumerate(self.options):
            self._table[column, : len(options)] = options
        self._learn_depths()

    def _learn_depths(self) -> None:
        """Lays out what goes with each depth of each stage: ``[stages, 1 + deepest]``."""
        stages = self.space.stages
        shape = (3, len(stages), 1 + max(max(stage.depths) for stage in stages))
        self._ratio_of_depth, self._blocks_of_depth, self._width_of_depth = np.zeros(shape)
        for number, stage in enumerate(stages):
            for place, (depth, ratio) in enumerate(stage.choices):
                self._ratio_of_depth[number, depth] = ratio
                self._blocks_of_depth[number, depth] = stage.kept_blocks(depth)
                self._width_of_depth[number, depth] = place

    def draw(self, count: int) -> Archs:
        """Draws archs: every choice uniform and independent."""
        return self.archs(self._drawn(count))

    def mutate(self, parents: Archs, probability: float) -> Archs:
        """Replaces each choice with some probability by a new one."""
        genes = self.genes(parents)
        return self.archs(np.where(self._chance(genes.shape) < probability, self._drawn(len(genes)), genes))

    def cross(self, one: Archs, other: Archs) -> Archs:
        """Takes each choice from one of two parents."""
        first, second = self.genes(one), self.genes(other)
        return self.archs(np.where(self._chance(first.shape) < 0.5, second, first))

    def _chance(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.random(shape, np.float32)

    def _drawn(self, count: int) -> np.ndarray:
        """Draws genes, float64 ``[count, columns]``."""
        columns = np.arange(len(self.options))
        return self._table[columns, (self._chance((count, len(columns))) * self._counts).astype(np.intp)]

    def changes(self, one: Archs, fillings: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns all changes of one choice that make another subnet: columns and new values, ``[changes]`` each.

        Args:
          one: A single arch.
          fillings: How often changes of a depth come, for as many drawings of the blocks that are added.
        """
        (now,), stages = self.genes(one), len(self.space.stages)
        kept = one.kernels[0] > 0
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

    def genes(self, archs: Archs) -> np.ndarray:
        """Returns archs as genes, float64 ``[count, columns]``; those of dropped blocks are drawn."""
        dropped = archs.kernels == 0
        drawn = np.split(self._drawn(len(archs)), self._ends, axis=1)
        parts = (
            archs.depths,
            np.where(dropped, drawn[1], archs.expands),
            np.where(dropped, drawn[2], archs.kernels),
            archs.widths,
            archs.resolutions[:, np.newaxis],
        )
        return np.concatenate(parts, 1, dtype=np.float64)

    def archs(self, genes: np.ndarray) -> Archs:
        """Returns the archs that rows of genes stand for: without what their depths drop."""
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
