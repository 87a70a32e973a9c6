"""Sums of the pieces of subnets, remembered by what decides them. No TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compofa_tf.space import Arch, Space


class PieceSums:
    """How many ms the pieces of a subnet add up to; subnets share their stages, so most are asked for again and again.

    Args:
      space: The family.
      pieces_of: Returns the latencies in ms of the pieces of a subnet, in the order of ``Space.pieces``.
    """

    def __init__(self, space: Space, pieces_of: Callable[[Arch], list[float]]) -> None:
        self.space, self.pieces_of = space, pieces_of
        self._known: dict[tuple[Any, ...], tuple[float, int]] = {}

    def of(self, arch: Arch) -> tuple[float, int]:
        """Returns the sum in ms of the pieces of a subnet, and how many they are.

        Raises:
          InputError: If the space has no such subnet.
        """
        if not self.space.fits(arch):
            self.space.check(arch)
        keys = self._keys(arch)
        if any(key not in self._known for key in keys):
            self._learn(arch, keys)
        found = [self._known[key] for key in keys]
        return sum(ms for ms, _ in found), sum(count for _, count in found)

    def clear(self) -> None:
        """Forgets everything, as it must when a latency has changed."""
        self._known.clear()

    def _keys(self, arch: Arch) -> list[tuple[Any, ...]]:
        """Returns what decides the pieces: of stem and head together, then of each stage.

        At 192 px stem and head have ``(192, ())``, the resolution and the last width choice. A first stage of two
        blocks of ratio 3 and kernel 5 has ``(192, 0, (), StageChoice(2, (3, 3, 0, 0), (5, 5, 0, 0), ()))``: the
        resolution, its position, the width choice before it, and its own choice.
        """
        keys = self.space.stage_keys(arch)
        return [(arch.resolution, arch.widths[-1:]), *((arch.resolution, *key) for key in keys)]

    def _learn(self, arch: Arch, keys: list[tuple[Any, ...]]) -> None:
        """Remembers the sum in ms and the number of the pieces under each key.

        Of pieces of 1 (stem), 2, 3 (stages) and 0.5 ms (head) those are ``(1.5, 2)``, ``(2, 1)`` and ``(3, 1)``.
        """
        found = self.pieces_of(arch)
        stages = self.space.stage_units(arch)
        counts = [len(units) if self.space.pieces_are_blocks else 1 for units in stages]
        stem = len(found) - sum(counts) - 1  # none in families whose stem is a stage
        inner = iter(found[stem:-1])
        groups = [[*found[:stem], found[-1]], *([next(inner) for _ in range(count)] for count in counts)]
        for key, group in zip(keys, groups, strict=True):
            self._known[key] = (sum(group), len(group))
