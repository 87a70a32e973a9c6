"""A latency table laid out for many archs at once. NumPy only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from compofa_tf.latency.table import LatencyTable
from compofa_tf.space import Arch, Space
from compofa_tf.space.archs import Archs
from compofa_tf.space.pieces import covering_archs


class Latencies:
    """The latencies of a table laid out for many members at once; predicts what ``LatencyTable.predict`` does.

    Families with elastic widths are looked up one by one: what a stage costs depends on the stage before it.

    Args:
      space: The family.
      latency: A ``LatencyTable`` that covers it.
      resolutions: Resolutions that will be asked for.

    Raises:
      KeyError: If the table does not cover a piece.
    """

    def __init__(self, space: Space, latency: LatencyTable, resolutions: Sequence[int]) -> None:
        self.space, self._table, self._correction = space, latency, latency.correction
        self._resolutions = np.array(sorted(set(resolutions)), np.int64)
        if space.width_spans[-1].stop:
            return
        settings = [slot.choices for slot in space.stage_slots]
        self._expands = np.array(sorted({s[0] for options in settings for s in options if s}), np.float64)
        self._kernels = np.array(sorted({s[1] for options in settings for s in options if s}), np.int64)
        count = len(self._resolutions)
        self._by_block = space.pieces_are_blocks
        self._ends = np.full(count, np.nan)
        self._blocks = np.full((count, len(settings), len(self._expands), len(self._kernels)), np.nan)
        self._stages = np.full((count, len(space.stages), 1 + max(max(s.depths) for s in space.stages)), np.nan)
        for row, side in enumerate(self._resolutions.tolist()):
            for arch in covering_archs(space, side):
                self._learn(row, arch, latency)

    def _learn(self, row: int, arch: Arch, latency: LatencyTable) -> None:
        stem, *inner, head = latency.pieces_of(arch)
        self._ends[row] = stem + head
        if not self._by_block:
            for number, (depth, ms) in enumerate(zip(arch.depths, inner, strict=True)):
                self._stages[row, number, depth] = ms
            return
        kept = [
            i for span, depth in zip(self.space.block_spans, arch.depths) for i in range(span.start, span.start + depth)
        ]
        for block, ms in zip(kept, inner, strict=True):
            expand = np.searchsorted(self._expands, arch.expands[block])
            kernel = np.searchsorted(self._kernels, arch.kernels[block])
            self._blocks[row, block, expand, kernel] = ms

    def predict_all(self, members: Archs) -> np.ndarray:
        """Returns predicted latencies in ms: float64 ``[count]``."""
        if members.widths.shape[1]:
            archs = (members.arch(self.space, index) for index in range(len(members)))
            return np.array([self._table.predict(arch) for arch in archs], np.float64)
        rows = np.searchsorted(self._resolutions, members.resolutions)
        if not self._by_block:
            stages = np.arange(members.depths.shape[1])
            sums = self._ends[rows] + self._stages[rows[:, np.newaxis], stages, members.depths].sum(axis=1)
            return self._correction.apply(sums, stages.size + 2)
        kept = members.kernels > 0
        expands = np.searchsorted(self._expands, members.expands)
        kernels = np.searchsorted(self._kernels, members.kernels)
        blocks = np.arange(kept.shape[1])
        found = np.where(kept, self._blocks[rows[:, np.newaxis], blocks, expands, kernels], 0.0)
        sums = self._ends[rows] + found.sum(axis=1)
        return self._correction.apply(sums, kept.sum(axis=1) + 2)

    def fastest(self) -> Archs:
        """Returns the fastest member at each resolution, before the correction of the table; not with elastic widths.

        That need not be the smallest: a device may be slow at one kind of operation.
        """
        space = self.space
        return Archs.of(space, [self._fastest(row) for row in range(len(self._resolutions))])

    def _fastest(self, row: int) -> Arch:
        space, side = self.space, int(self._resolutions[row])
        depths, expands, kernels = [], [], []
        for number, (stage, span) in enumerate(zip(space.stages, space.block_spans)):
            found: list[tuple[float, int, tuple[Any, ...]]] = []
            for depth in stage.depths:
                if not self._by_block:
                    found.append((float(self._stages[row, number, depth]), depth, ()))
                    continue
                choices = list(itertools.product(*space.allowed(stage, depth)))
                best = [self._best(row, block, choices) for block in range(span.start, span.start + depth)]
                found.append((sum(ms for ms, _ in best), depth, tuple(choice for _, choice in best)))
            _, depth, blocks = min(found)
            spare = [(0, 0)] * (stage.blocks - len(blocks))
            depths.append(depth)
            expands += [expand for expand, _ in (*blocks, *spare)]
            kernels += [kernel for _, kernel in (*blocks, *spare)]
        chosen = {"expands": expands, "kernels": kernels} if self._by_block else {}
        return space.arch(depths=depths, resolution=side, **chosen)

    def _best(self, row: int, block: int, choices: list[tuple[Any, int]]) -> tuple[float, tuple[Any, int]]:
        """The fastest expand ratio and kernel of a block, and its latency in ms."""
        of = self._blocks[row, block]
        ms = {
            (expand, kernel): float(of[self._expands.searchsorted(expand), self._kernels.searchsorted(kernel)])
            for expand, kernel in choices
        }
        choice = min(ms, key=lambda key: ms[key])
        return ms[choice], choice
