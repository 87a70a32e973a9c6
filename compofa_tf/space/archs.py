"""Many archs as arrays, to be looked up, predicted and varied all at once. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from compofa_tf.space.arch import Arch
from compofa_tf.space.layout import Layout


@dataclass(frozen=True, eq=False)
class Archs:
    """The choices of ``count`` subnets; entries of dropped blocks are 0, as in ``Arch``.

    Attributes:
      depths: int ``[count, stages]``.
      expands: float ``[count, blocks]``.
      kernels: int ``[count, blocks]``.
      resolutions: int ``[count]``.
      widths: int ``[count, width choices]``; no columns where widths are fixed.
    """

    depths: np.ndarray
    expands: np.ndarray
    kernels: np.ndarray
    resolutions: np.ndarray
    widths: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __post_init__(self) -> None:
        """Gives subnets of fixed widths an empty matrix of width choices."""
        if len(self.widths) != len(self.resolutions):
            object.__setattr__(self, "widths", np.zeros((len(self.resolutions), 0), np.int64))

    def __len__(self) -> int:
        """Number of subnets."""
        return len(self.resolutions)

    def __getitem__(self, index: np.ndarray | slice) -> Archs:
        """The subnets of an index array, mask or slice."""
        return Archs(
            self.depths[index], self.expands[index], self.kernels[index], self.resolutions[index], self.widths[index]
        )

    @classmethod
    def of(cls, layout: Layout, archs: Sequence[Arch]) -> Archs:
        """Returns archs as arrays; raises ``InputError`` for one of another layout."""
        for arch in archs:
            layout.check(arch)
        blocks = layout.block_spans[-1].stop
        return cls(
            np.array([arch.depths for arch in archs], np.int64).reshape(len(archs), len(layout.stages)),
            np.array([arch.expands for arch in archs], np.float64).reshape(len(archs), blocks),
            np.array([arch.kernels for arch in archs], np.int64).reshape(len(archs), blocks),
            np.array([arch.resolution for arch in archs], np.int64),
            np.array([arch.widths for arch in archs], np.int64).reshape(len(archs), layout.width_spans[-1].stop),
        )

    @classmethod
    def all_of(cls, layout: Layout, resolutions: Sequence[int]) -> Archs:
        """Returns every subnet at every resolution, in the order of ``Space.enumerate``."""
        choices = [list(options) for options in layout.stage_choices()]
        picked = np.indices([len(resolutions), *map(len, choices)]).reshape(len(choices) + 1, -1)
        columns = [
            [np.array(column)[picked[number]] for column in zip(*options)]
            for number, options in enumerate(choices, start=1)
        ]
        depths, expands, kernels, widths = zip(*columns)
        return cls(
            np.stack(depths, axis=1),
            np.concatenate(expands, axis=1).astype(np.float64),
            np.concatenate(kernels, axis=1).astype(np.int64),
            np.asarray(resolutions, np.int64)[picked[0]],
            np.concatenate(widths, axis=1).astype(np.int64),
        )

    @classmethod
    def joined(cls, parts: Sequence[Archs]) -> Archs:
        """Returns several groups as one."""
        names = ("depths", "expands", "kernels", "resolutions", "widths")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def arch(self, layout: Layout, index: int) -> Arch:
        """Returns one subnet as a checked ``Arch``."""
        return layout.arch(
            depths=self.depths[index].tolist(),
            expands=self.expands[index].tolist(),
            kernels=self.kernels[index].tolist(),
            resolution=int(self.resolutions[index]),
            widths=self.widths[index].tolist(),
        )

    def kinds(self) -> np.ndarray:
        """Returns a number per subnet, equal for those of equal resolution and depths: int64 ``[count]``."""
        numbers = self.resolutions
        base = 1 + int(self.depths.max(initial=0))
        for depths in self.depths.T:
            numbers = base * numbers + depths
        return numbers

    def keys(self) -> np.ndarray:
        """Returns a 64-bit number per subnet, equal for equal subnets and, as good as surely, only for them."""
        columns = [self.resolutions[:, np.newaxis], self.depths, self.kernels, self.widths, self.expands.view(np.int64)]
        table = np.concatenate(columns, axis=1).view(np.uint64)
        factors = np.random.default_rng(0).integers(2**64, size=table.shape[1], dtype=np.uint64) | np.uint64(1)
        mixed = (table ^ (table >> np.uint64(32))) * factors  # wraps around
        return (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
