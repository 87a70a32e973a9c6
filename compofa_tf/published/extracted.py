"""Extracted subnets: which subnet of a space a checkpoint is, and its weights in place. Needs NumPy only."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.published import networks
from compofa_tf.published.networks.network import CheckpointNames
from compofa_tf.published.torch_names import (
    MismatchError,
    bases,
    central,
    list_of,
    state_from_torch,
    weight_key,
    weight_shape,
)
from compofa_tf.space import Arch, Space
from compofa_tf.space.arch import Expand, StageChoice
from compofa_tf.space.units import Unit

_TRANSFORM = re.compile(r"/\d+to\d+$")


@dataclass(frozen=True)
class Found:
    """What a checkpoint still has when the units before have been recognised.

    Attributes:
      names: The published names of its family.
      shapes: Shapes of its tensors by key.
      numbers: The numbers of the items that are left of each list, by the beginning of their names.
    """

    names: CheckpointNames
    shapes: Mapping[str, tuple[int, ...]]
    numbers: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, names: CheckpointNames, tensors: Mapping[str, np.ndarray]) -> Found:
        """Returns all that a checkpoint has."""
        numbers: dict[str, set[int]] = {}
        for pattern in (f"{names.blocks}.", *names.units.values()):
            if "{}" in pattern:
                item = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d+)"))
                items = {int(match[1]) for key in tensors if (match := item.match(key))}
                numbers.setdefault(list_of(pattern), set()).update(items)
        shapes = {key: value.shape for key, value in tensors.items()}
        return cls(names, shapes, {listed: tuple(sorted(items)) for listed, items in numbers.items()})

    def after(self, units: Iterable[Unit]) -> Found:
        """Returns what is left when some units have been recognised."""
        numbers = dict(self.numbers)
        for unit in units:
            for listed in {list_of(self.names.pattern(unit, part.name)) for part in unit.parts} & numbers.keys():
                numbers[listed] = numbers[listed][1:]
        return replace(self, numbers=numbers)

    def shape(self, key: str) -> tuple[int, ...]:
        """Returns the shape of the weight of a convolution; raises ``MismatchError`` if there is none."""
        shape = self.shapes.get(key)
        if shape is None or len(shape) != 4:
            wrong = f"lacks {key}" if shape is None else f"has misshapen {key} {shape}"
            # One is known; how many more is not. A whole supernet that is damaged has fewer.
            raise MismatchError(
                f"The checkpoint {wrong}; it is truncated or of another network.", count=len(self.shapes) // 2
            )
        return shape

    def next_sizes(self, like: Unit) -> tuple[int, ...] | None:
        """Returns the sizes that tell what comes next, in the order of ``told_by``; 0 for a part that is not there.

        Args:
          like: A unit that is expected there.

        Returns:
          The sizes; None if nothing is left.

        Raises:
          MismatchError: If a part of such a unit is missing or misshapen.
        """
        expected, sizes = {part.name for part in like.parts}, []
        for part, axis in self.names.told_by(like):
            pattern = self.names.pattern(like, part)
            left = self.numbers.get(list_of(pattern), (0,))
            if not left:
                return None
            key = weight_key(pattern.format(left[0]))
            sizes.append(self.shape(key)[axis] if part in expected or key in self.shapes else 0)
        return tuple(sizes)

    def sizes_of(self, unit: Unit) -> tuple[int, ...]:
        """Returns the same sizes of a unit of a space."""
        parts = {part.name: part for part in unit.parts}
        told = self.names.told_by(unit)
        return tuple(weight_shape(parts[name])[axis] if name in parts else 0 for name, axis in told)


def static_arch(space: Space, tensors: Mapping[str, np.ndarray], *, resolution: int = 224) -> Arch:
    """Returns the subnet that has the blocks of a checkpoint.

    Raises:
      InputError: If no subnet of the space has.
    """
    found = Found.of(networks.of(space.family).checkpoints, tensors)
    _check_units_of_every_subnet(space, found)
    found, choices = found.after(space.stem), list[StageChoice]()
    before: tuple[int, ...] = ()
    for position in range(len(space.stages)):
        matched = match(space, position, found, before=before)
        if matched is None:
            raise _no_subnet(space)
        choice, found = matched
        choices.append(choice)
        before = choice.widths[-1:] or before
    if any(found.after(space.head).numbers.values()):
        raise _no_subnet(space)
    return space.check(Arch.of(choices, resolution))


def _no_subnet(space: Space) -> InputError:
    return InputError(f"The blocks of this checkpoint are not those of a subnet of {space!r}.")


def _check_units_of_every_subnet(space: Space, found: Found) -> None:
    """Raises ``MismatchError`` if a unit of the stages lacks that is no block: the smallest subnet has it, too."""
    stages = space.stage_units(space.smallest(224))
    units = [unit for unit in itertools.chain(*stages) if unit.name in found.names.units]
    for keys in bases(found.names, units):
        for base in keys.values():
            found.shape(weight_key(base))


def match(
    space: Space, position: int, found: Found, *, before: tuple[int, ...] = ()
) -> tuple[StageChoice, Found] | None:
    """Returns what is chosen for a stage if it is the next thing that a checkpoint has, of equal choices the largest.

    Every kind of stage says itself which unit stands in a slot (``Stage.unit``), and the table of the family which of
    its sizes tell.

    Args:
      space: The space.
      position: Number of the stage in it.
      found: What the checkpoint has from there on.
      before: The last width choice before the stage; empty if there is none.

    Returns:
      The choice, and what is left after the stage; None if no choice has these sizes.
    """
    stage = space.stages[position]
    for depth in sorted(stage.depths, reverse=True):
        for widths in itertools.product(*map(_falling, space.allowed_widths(stage, depth))):
            matched = _match_slots(space, position, depth, (before, widths), found)
            if matched is not None:
                blocks, left = matched
                blocks += [(0, 0)] * (stage.blocks - len(blocks))
                expands, kernels = zip(*blocks) if blocks else ((), ())
                return StageChoice(depth, expands, kernels, widths), left
    return None


def _match_slots(
    space: Space, position: int, depth: int, widths: tuple[tuple[int, ...], tuple[int, ...]], found: Found
) -> tuple[list[tuple[Expand, int]], Found] | None:
    """Expand ratios and kernels of the kept blocks of a stage of this depth and these widths, and what is left."""
    stage, blocks = space.stages[position], []
    every = list(itertools.product(*map(_falling, space.allowed(stage, depth))))
    for spec in (spec for spec in stage.specs if spec.needs <= depth):
        name = f"{space.stage_name(position)}_{spec.name}"
        options = every if spec.block is not None else [(0, 0)]
        units = [stage.unit(name, spec, expand, kernel, spec.widths(*widths)) for expand, kernel in options]
        sizes = found.next_sizes(units[0])
        fits = next((option for option, unit in zip(options, units) if found.sizes_of(unit) == sizes), None)
        if fits is None:
            return None
        found = found.after(units[:1])
        if spec.block is not None:
            blocks.append(fits)
    return blocks, found


def _falling(values: Iterable[Any]) -> list[Any]:
    return sorted(values, reverse=True)


def extracted_from(
    space: Space, tensors: Mapping[str, np.ndarray], *, given: bool, mismatch: MismatchError
) -> tuple[Space, Arch, dict[str, np.ndarray]]:
    """Returns the space, the subnet whose weights a checkpoint has, and these weights by stable name.

    Args:
      space: The space that it may be of; if it was not ``given``, larger ones are tried, too.
      tensors: The checkpoint.
      given: Whether the user named the space.
      mismatch: Why it is no whole supernet of the space.

    Raises:
      InputError: ``mismatch`` or what a subnet lacks, whichever names fewer tensors.
    """
    if getattr(tensors, "of_supernet", False):
        raise mismatch
    nearest, larger = mismatch, () if given else networks.of(space.family).checkpoints.larger
    for changes in ({}, *larger):
        tried = families.get(space.family, **{**space.arguments, **changes}) if changes else space
        try:
            arch = static_arch(tried, tensors)
            return tried, arch, state_from_torch(tried, tensors, arch=arch)
        except MismatchError as error:
            nearest = min(nearest, error, key=lambda found: found.count)
        except InputError:
            continue
    raise nearest


def embedded(net: Any, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the weights of one subnet in a supernet that is zero elsewhere: variances one, transforms identity."""
    state = net.get_state()
    for name, value in state.items():
        if not _TRANSFORM.search(name):
            value.fill(1 if name.endswith("moving_variance") else 0)
    for name, value in weights.items():
        # The first channels; of a larger kernel the centre.
        place = [slice(0, size) for size in value.shape]
        if value.ndim == 4:
            place[:2] = [central(size, within) for size, within in zip(value.shape[:2], state[name].shape)]
        state[name][tuple(place)] = value
    return state
