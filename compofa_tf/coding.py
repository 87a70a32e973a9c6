"""The slots of a space, and the codes that say what stands in each. No TensorFlow."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa_tf.arch import Arch
from compofa_tf.errors import InputError
from compofa_tf.stages import Place, Slot, Stage
from compofa_tf.units import MaxPoolUnit, PoolUnit, Unit

if TYPE_CHECKING:
    from compofa_tf.space import Space

_FIXED = (0, 0)
"""The setting of a slot that takes no expand ratio, kernel or width."""


class Coding:
    """The slots of a space in execution order, and how a member becomes a code and back.

    Args:
      space: The space.

    Attributes:
      slots: Every place of the network.
      stage_slots: Those of the stages, one per place of the full-depth network, stage-major.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.places: tuple[tuple[int, str, Place], ...] = tuple(
            (position, f"{space.stage_name(position)}_{place.name}", place)
            for position, stage in enumerate(space.stages)
            for place in stage.places
        )
        self.stage_slots = tuple(self._stage_slot(*place) for place in self.places)
        stem = tuple(Slot(unit.name, (unit,)) for unit in space.stem)
        self.slots = (*stem, *self.stage_slots, *self._head_slots())
        self._options = tuple({setting: option for option, setting in enumerate(slot.settings)} for slot in self.slots)

    def _widths_before(self, position: int) -> tuple[int | None, ...]:
        """What the last width choice before a stage may be; None where widths are fixed."""
        if not position or not self.space.stages[position - 1].width_counts:
            return (None,)
        stage = self.space.stages[position - 1]
        return tuple(sorted({w for depth in stage.depths for w in self.space.allowed_widths(stage, depth)[-1]}))

    def _stage_slot(self, position: int, name: str, place: Place) -> Slot:
        stage = self.space.stages[position]
        skip: list[tuple[Any, ...] | None] = [None] if place.needs > min(stage.depths) else []
        kept: set[tuple[Any, ...]] = set()
        for depth in (depth for depth in stage.depths if depth >= place.needs):
            blocks = [_FIXED] if place.block is None else itertools.product(*self.space.allowed(stage, depth))
            choices = itertools.product(self._widths_before(position), *self.space.allowed_widths(stage, depth))
            widths = {tuple(choice[offset + 1] for offset in place.widths) for choice in choices}
            kept |= {(*block, *chosen) for block, chosen in itertools.product(blocks, widths)}
        settings = (*skip, *sorted(kept))
        options = (None if s is None else stage.unit(name, place, s[0], s[1], s[2:]) for s in settings)
        return Slot(name, tuple(options), settings)

    def _head_slots(self) -> tuple[Slot, ...]:
        lasts = self._widths_before(len(self.space.stages))
        found = []
        for units in zip(*(head_units(self.space, last) for last in lasts)):
            same = len(set(units)) == 1
            settings: Any = (_FIXED,) if same else tuple((*_FIXED, last) for last in lasts)
            found.append(Slot(units[0].name, units[:1] if same else units, settings))
        return tuple(found)

    def _settings(self, arch: Arch) -> Iterator[tuple[Any, ...] | None]:
        """Yields the setting of each slot of a member."""
        yield from (_FIXED for _ in self.space.stem)
        for position, _, place in self.places:
            if arch.depths[position] < place.needs:
                yield None
                continue
            start = self.space.width_spans[position].start
            widths = (arch.widths[start + offset] for offset in place.widths)
            if place.block is None:
                yield (*_FIXED, *widths)
            else:
                block = self.space.block_spans[position].start + place.block
                yield (arch.expands[block], arch.kernels[block], *widths)
        for slot in self.slots[len(self.space.stem) + len(self.places) :]:
            yield (*_FIXED, arch.widths[-1]) if slot.elastic else _FIXED

    def encode(self, arch: Arch) -> np.ndarray:
        """Returns the code of a member of the space; see ``Space.encode``."""
        entries = zip(self._options, self._settings(arch))
        return np.array([*(known[setting] for known, setting in entries if len(known) > 1), arch.resolution], np.int32)

    def decode(self, code: Sequence[int] | np.ndarray) -> Arch:
        """Returns the member of a code; see ``Space.decode``."""
        size = sum(slot.elastic for slot in self.slots) + 1
        values = np.asarray(code)
        if values.shape != (size,) or not np.issubdtype(values.dtype, np.integer):
            raise InputError(f"A code of this space is {size} whole numbers. Received: code={code!r}")
        *entries, resolution = values.tolist()
        options = iter(entries)
        settings = []
        for slot in self.slots:
            option = next(options) if slot.elastic else 0
            if not 0 <= option < len(slot.settings):
                raise InputError(f"{slot.name} has options 0 to {len(slot.settings) - 1}. Received: {option}")
            settings.append(slot.settings[option])
        arch = self.space.check(self._arch_of(settings[len(self.space.stem) :], resolution))
        if self.encode(arch).tolist() != values.tolist():
            raise InputError(f"The entries of this code contradict each other. Received: code={code!r}")
        return arch

    def _arch_of(self, settings: Sequence[tuple[Any, ...] | None], resolution: int) -> Arch:
        space = self.space
        expands, kernels = ([0] * space.block_spans[-1].stop for _ in range(2))
        widths = [0] * space.width_spans[-1].stop
        kept = [0] * len(space.stages)
        for (position, _, place), setting in zip(self.places, settings):
            if setting is None:
                continue
            kept[position] += 1
            for offset, width in zip(place.widths, setting[2:]):
                widths[space.width_spans[position].start + offset] = width
            if place.block is not None:
                block = space.block_spans[position].start + place.block
                expands[block], kernels[block] = setting[:2]
        depths = tuple(
            self._depth_of(stage, count, widths[span])
            for stage, count, span in zip(space.stages, kept, space.width_spans)
        )
        return Arch(depths, tuple(expands), tuple(kernels), resolution, tuple(widths))

    def _depth_of(self, stage: Stage, kept: int, widths: list[int]) -> int:
        """The depth that keeps so many places and, in a compound stage, has these widths; -1 if there is none."""
        for depth in stage.depths:
            counted = sum(depth >= place.needs for place in stage.places)
            if counted == kept and all(w in may for w, may in zip(widths, self.space.allowed_widths(stage, depth))):
                return depth
        return -1


def head_units(space: Space, last: int | None) -> tuple[Unit, ...]:
    """Returns the head of a space; its first layer reads the channels that the last stage writes at a width choice."""
    channels, units = space.stages[-1].out_channels(last), list(space.head)
    for position, unit in enumerate(units):
        if not isinstance(unit, MaxPoolUnit | PoolUnit):
            units[position] = dataclasses.replace(unit, in_channels=channels)
            break
    return tuple(units)
