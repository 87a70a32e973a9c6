"""What a latency table has to measure, and how: the distinct pieces of a family, some whole subnets. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from compofa_tf.deploy.ends import Ends
from compofa_tf.errors import InputError, at_least
from compofa_tf.normalization import Normalization
from compofa_tf.space import Arch, Space, cost
from compofa_tf.space.pieces import Piece, covering_archs

_POOL = 300
"""Random subnets from which the whole subnets are chosen."""


@dataclass(frozen=True)
class Procedure:
    """How everything of a plan is converted and timed.

    Attributes:
      precision: A name of ``deploy.targets.PRECISIONS``.
      threads: CPU threads of the runtime.
      runs: Timed inferences of every piece and whole subnet in all.
      warmup: Inferences of each before every visit.
      ends: Of whole subnets, those that ship; pieces, which meet inside a network, have those of its arithmetic. None:
        those that an export chooses unless it is told otherwise.
      trained: How pixels become what the networks are trained with; None: nobody knows, and nothing is changed.
    """

    precision: str
    threads: int
    runs: int
    warmup: int
    ends: Ends | None = None
    trained: Normalization | None = None

    def __post_init__(self) -> None:
        """Rejects numbers with which nothing is timed."""
        at_least(1, threads=self.threads, runs=self.runs)
        at_least(0, warmup=self.warmup)


@dataclass(frozen=True)
class MeasurementPlan:
    """What is to be measured.

    Attributes:
      space: The family.
      resolutions: Sides of the input, ascending.
      pieces: Distinct pieces by key, in the order of execution of the first network that has them.
      fit: Whole subnets that the correction is fitted on.
      validate: Whole subnets that the predictions are judged by.
    """

    space: Space
    resolutions: tuple[int, ...]
    pieces: dict[str, Piece]
    fit: tuple[Arch, ...]
    validate: tuple[Arch, ...]

    @classmethod
    def of(
        cls,
        space: Space,
        *,
        resolutions: Sequence[int] | None = None,
        archs: Iterable[Arch] | None = None,
        fit: int = 6,
        validate: int = 0,
        seed: int = 0,
    ) -> MeasurementPlan:
        """Plans the measurement of all subnets of a space at some resolutions, or of some subnets.

        Args:
          space: The family.
          resolutions: Sides of the input; those of ``archs`` when absent.
          archs: Cover only these subnets.
          fit: How many whole subnets to fit on, from the smallest to the largest, evenly over the range of MACs.
          validate: How many others to validate on, likewise. A small space has fewer.
          seed: Decides the random subnets from which both are chosen.

        Raises:
          InputError: If neither resolutions nor archs are given, they disagree, or a number is negative.
        """
        at_least(0, fit=fit, validate=validate)
        chosen = None if archs is None else tuple(dict.fromkeys(archs))
        sides = tuple(sorted(set(resolutions or [arch.resolution for arch in chosen or ()])))
        if not sides:
            raise InputError("A latency table needs resolutions, or archs. Received: neither, or an empty list")
        strays = [arch for arch in chosen or () if arch.resolution not in sides]
        if strays:
            raise InputError(f"archs must be of the resolutions {list(sides)}. Received: {space.id(strays[0])}")
        covering = chosen or [arch for side in sides for arch in covering_archs(space, side)]
        pieces = {piece.key: piece for arch in covering for piece in space.pieces(arch)}
        pool = chosen or _draw(space, sides, count=max(_POOL, 10 * (fit + validate)), seed=seed)
        macs = {arch: cost.macs(space, arch) for arch in pool}
        fitted = _spread(macs, fit)
        judged = _spread({arch: count for arch, count in macs.items() if arch not in fitted}, validate)
        return cls(space, sides, pieces, fitted, judged)


def _draw(space: Space, resolutions: tuple[int, ...], *, count: int, seed: int) -> tuple[Arch, ...]:
    """Returns the smallest and the largest subnet and others drawn at random, without repetitions."""
    rng = np.random.default_rng(seed)
    extremes = (space.smallest(resolutions[0]), space.largest(resolutions[-1]))
    return tuple(dict.fromkeys((*extremes, *(space.sample(rng, resolutions=resolutions) for _ in range(count)))))


def _spread(macs: dict[Arch, int], count: int) -> tuple[Arch, ...]:
    """Returns subnets whose multiply-adds lie evenly over the range, ascending; all if there are fewer.

    Latency budgets lie anywhere in the range; subnets drawn at random crowd in its middle.
    """
    left = dict(macs)
    chosen = []
    for level in np.linspace(min(macs.values(), default=0), max(macs.values(), default=0), count):
        if left:
            chosen.append(min(left, key=lambda arch: (abs(left[arch] - level), arch)))
            del left[chosen[-1]]
    return tuple(sorted(chosen, key=lambda arch: (macs[arch], arch)))
