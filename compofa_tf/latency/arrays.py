"""A latency table for many archs at once. NumPy only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from compofa_tf.latency.table import LatencyTable
from compofa_tf.space import Arch
from compofa_tf.space.archs import Archs
from compofa_tf.space.pieces import covering_archs


class Latencies(Protocol):
    """Predicts latencies for many archs at once, as ``LatencyTable.predict`` does one by one."""

    def predict_all(self, archs: Archs) -> np.ndarray:
        """Returns predicted latencies in ms: float64 ``[count]``."""

    def fastest(self) -> Archs | None:
        """Returns the fastest subnet at each resolution, before the correction of the table; None if nobody knows.

        That need not be the smallest: a device may be slow at one kind of operation.
        """


def latencies_of(table: LatencyTable, resolutions: Sequence[int]) -> Latencies:
    """Returns a table laid out for many archs.

    Args:
      table: Covers its whole space at these resolutions.
      resolutions: Resolutions that will be asked for.

    Raises:
      NotCoveredError: If the table does not cover a piece.
    """
    elastic_widths = table.space.width_spans[-1].stop > 0
    return SlowLatencies(table) if elastic_widths else LatencyArrays(table, resolutions)


class SlowLatencies:
    """Looks archs up one by one: with elastic widths, what a stage costs depends on the stage before it.

    Args:
      table: The latency table.
    """

    def __init__(self, table: LatencyTable) -> None:
        self.table = table

    def predict_all(self, archs: Archs) -> np.ndarray:
        """Returns predicted latencies in ms: float64 ``[count]``."""
        one_by_one = (archs.arch(self.table.space, index) for index in range(len(archs)))
        return np.array([self.table.predict(arch) for arch in one_by_one], np.float64)

    def fastest(self) -> None:
        """Nobody knows: the fastest choice of a stage depends on the stage before it."""


class LatencyArrays:
    """The pieces of a table as arrays, for families of fixed widths.

    Args:
      table: The latency table.
      resolutions: Resolutions that will be asked for.

    Raises:
      NotCoveredError: If the table does not cover a piece.
    """

    def __init__(self, table: LatencyTable, resolutions: Sequence[int]) -> None:
        self.table, self.space = table, table.space
        self._resolutions = np.array(sorted(set(resolutions)), np.int64)
        choices = [slot.choices for slot in self.space.stage_slots]
        self._expands = np.array(sorted({c[0] for options in choices for c in options if c}), np.float64)
        self._kernels = np.array(sorted({c[1] for options in choices for c in options if c}), np.int64)
        count, stages = len(self._resolutions), self.space.stages
        self._by_block = self.space.pieces_are_blocks
        self._ends = np.full(count, np.nan)
        self._blocks = np.full((count, len(choices), len(self._expands), len(self._kernels)), np.nan)
        self._stages = np.full((count, len(stages), 1 + max(max(stage.depths) for stage in stages)), np.nan)
        for row, side in enumerate(self._resolutions.tolist()):
            for arch in covering_archs(self.space, side):
                self._learn(row, arch)

    def _learn(self, row: int, arch: Arch) -> None:
        stem, *inner, head = self.table.pieces_of(arch)
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

    def predict_all(self, archs: Archs) -> np.ndarray:
        """Returns predicted latencies in ms: float64 ``[count]``."""
        rows = np.searchsorted(self._resolutions, archs.resolutions)
        inner, counts = self._of_blocks(rows, archs) if self._by_block else self._of_stages(rows, archs)
        return self.table.correction.apply(self._ends[rows] + inner.sum(axis=1), counts + 2)

    def _of_stages(self, rows: np.ndarray, archs: Archs) -> tuple[np.ndarray, Any]:
        """Returns the ms of each stage, ``[count, stages]``, and how many there are."""
        stages = np.arange(archs.depths.shape[1])
        return self._stages[rows[:, np.newaxis], stages, archs.depths], stages.size

    def _of_blocks(self, rows: np.ndarray, archs: Archs) -> tuple[np.ndarray, Any]:
        """Returns the ms of each block, ``[count, blocks]``, 0 of dropped ones, and how many are kept, ``[count]``."""
        kept = archs.kernels > 0
        expands = np.searchsorted(self._expands, archs.expands)
        kernels = np.searchsorted(self._kernels, archs.kernels)
        found = self._blocks[rows[:, np.newaxis], np.arange(kept.shape[1]), expands, kernels]
        return np.where(kept, found, 0.0), kept.sum(axis=1)

    def fastest(self) -> Archs:
        """Returns the fastest subnet at each resolution; see ``Latencies.fastest``."""
        return Archs.of(self.space, [self._fastest(row) for row in range(len(self._resolutions))])

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
