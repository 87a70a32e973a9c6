"""What a latency table has to measure: the distinct pieces of a family, and some whole subnets. No TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compofa_tf import cost
from compofa_tf.errors import InputError
from compofa_tf.space import Arch, Piece, Space

_DRAWS_PER_SUBNET = 50


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
      resolutions: Sides of the input, ascending.
      pieces: Distinct pieces by key, in the order of execution of the first network that has them.
      fit: Whole subnets that the correction is fitted on.
      validate: Whole subnets that the predictions are judged by.
    """

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
    ) -> Plan:
        """Plans the measurement of all members of a space at some resolutions, or of some members.

        Args:
          space: The family.
          resolutions: Sides of the input; those of ``archs`` when absent.
          archs: Cover only these members.
          fit: How many whole subnets to fit on: the smallest, the largest, then drawn ones.
          validate: How many others to validate on. A small space has fewer.
          seed: Decides which are drawn.

        Raises:
          InputError: If neither resolutions nor archs are given, they disagree, or a number is negative.
        """
        for name, value in (("fit", fit), ("validate", validate)):
            if value < 0:
                raise InputError(f"{name} must be at least 0. Received: {name}={value}")
        chosen = None if archs is None else tuple(dict.fromkeys(archs))
        sides = tuple(sorted(set(resolutions or [arch.resolution for arch in chosen or ()])))
        if not sides:
            raise InputError("A latency table needs resolutions, or archs. Received: neither, or an empty list")
        strays = [arch for arch in chosen or () if arch.resolution not in sides]
        if strays:
            raise InputError(f"archs must be of the resolutions {list(sides)}. Received: {space.id(strays[0])}")
        covering = chosen or [arch for side in sides for arch in covering_archs(space, side)]
        pieces = {piece.key: piece for arch in covering for piece in space.pieces(arch)}
        if chosen is None:
            extremes = (space.smallest(sides[0]), space.largest(sides[-1]))
        else:
            by_macs = sorted(chosen, key=lambda arch: cost.macs(space, arch))
            extremes = (by_macs[0], by_macs[-1])
        drawn = _draw(space, sides, chosen, extremes, count=fit + validate, seed=seed)
        return cls(sides, pieces, tuple(drawn[:fit]), tuple(drawn[fit:]))


def covering_archs(space: Space, resolution: int) -> Iterator[Arch]:
    """Yields members that together have every piece that any member of the space has at one resolution.

    The pieces of a stage depend on nothing outside it, and a block of a stage on nothing but its place, expand ratio
    and kernel. So members whose stages and blocks all make their first choice, all their second, and so on, have them
    all: 3 members instead of 243, 9 instead of 10^19.
    """
    independent, elastic = space.coupling == "independent", space.kernel == "elastic"
    most_choices = max(len(stage.choices) for stage in space.stages)
    most_kernels = max(len(stage.kernels) for stage in space.stages)
    for choice, kernel in itertools.product(range(most_choices), range(most_kernels if elastic else 1)):
        depths, expands, kernels = [], [], []
        for stage in space.stages:
            depth, expand = stage.choices[min(choice, len(stage.choices) - 1)]
            depths.append(max(stage.depths) if independent else depth)
            expands += [expand] * max(stage.depths)
            kernels += [stage.kernels[min(kernel, len(stage.kernels) - 1)]] * max(stage.depths)
        yield space.arch(
            depths=depths,
            resolution=resolution,
            expands=expands if independent else None,
            kernels=kernels if elastic else None,
        )


def _draw(
    space: Space,
    resolutions: tuple[int, ...],
    archs: tuple[Arch, ...] | None,
    extremes: tuple[Arch, Arch],
    *,
    count: int,
    seed: int,
) -> list[Arch]:
    """Returns the extremes and then members drawn without repetition; fewer than ``count`` if there are fewer."""
    rng = np.random.default_rng(seed)
    drawn = dict.fromkeys(extremes)
    if archs is not None:
        drawn.update(dict.fromkeys(archs[index] for index in rng.permutation(len(archs))))
    else:
        for _ in range(_DRAWS_PER_SUBNET * count):
            if len(drawn) >= count:
                break
            drawn[space.sample(rng, resolutions=resolutions)] = None
    return list(drawn)[:count]
