"""The slots of a layout, and the codes that say what stands in each. No TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space.arch import Arch
from compofa_tf.space.layout import Layout
from compofa_tf.space.stages import Slot, SlotSpec, Stage

_FIXED = (0, 0)
"""The choice of a slot that takes no expand ratio, kernel or width."""


class Codes:
    """The slots of a layout in execution order, and how an arch becomes a code and back.

    A code is int32 ``[size]``: the option of each elastic slot, then the resolution in pixels.

    Args:
      layout: The layout.

    Attributes:
      slots: Every slot of the network.
      stage_slots: Those of the stages, one per ``SlotSpec`` of the full-depth network, stage-major.
      elastic_slots: Those with more than one option: the entries of a code, before its resolution.
      size: Entries of a code.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._specs: tuple[tuple[int, str, SlotSpec], ...] = tuple(
            (position, f"{layout.stage_name(position)}_{spec.name}", spec)
            for position, stage in enumerate(layout.stages)
            for spec in stage.specs
        )
        self.stage_slots = tuple(self._stage_slot(*spec) for spec in self._specs)
        stem = tuple(Slot(unit.name, (unit,)) for unit in layout.stem)
        self.slots = (*stem, *self.stage_slots, *self._head_slots())
        self.elastic_slots = tuple(slot for slot in self.slots if slot.elastic)
        self.size = len(self.elastic_slots) + 1
        self._options = tuple({choice: option for option, choice in enumerate(slot.choices)} for slot in self.slots)

    def _widths_before(self, position: int) -> tuple[tuple[int, ...], ...]:
        """What the last width choice before a stage may be, as tuples of it; one empty tuple where there is none."""
        if not position or not self.layout.stages[position - 1].width_counts:
            return ((),)
        stage = self.layout.stages[position - 1]
        return tuple(sorted({(w,) for depth in stage.depths for w in self.layout.allowed_widths(stage, depth)[-1]}))

    def _stage_slot(self, position: int, name: str, spec: SlotSpec) -> Slot:
        stage = self.layout.stages[position]
        skip: list[tuple[Any, ...] | None] = [None] if spec.needs > min(stage.depths) else []
        kept: set[tuple[Any, ...]] = set()
        for depth in (depth for depth in stage.depths if depth >= spec.needs):
            blocks = [_FIXED] if spec.block is None else itertools.product(*self.layout.allowed(stage, depth))
            own = itertools.product(*self.layout.allowed_widths(stage, depth))
            pairs = itertools.product(self._widths_before(position), own)
            widths = {spec.widths(*pair) for pair in pairs}
            kept |= {(*block, *chosen) for block, chosen in itertools.product(blocks, widths)}
        choices = (*skip, *sorted(kept))
        options = (None if c is None else stage.unit(name, spec, c[0], c[1], c[2:]) for c in choices)
        return Slot(name, tuple(options), choices)

    def _head_slots(self) -> tuple[Slot, ...]:
        lasts = self._widths_before(len(self.layout.stages))
        found = []
        for units in zip(*(self.layout.head_after(last[0] if last else None) for last in lasts)):
            same = len(set(units)) == 1
            choices: Any = (_FIXED,) if same else tuple((*_FIXED, *last) for last in lasts)
            found.append(Slot(units[0].name, units[:1] if same else units, choices))
        return tuple(found)

    def _choices(self, arch: Arch) -> Iterator[tuple[Any, ...] | None]:
        """Yields the choice of each slot."""
        yield from (_FIXED for _ in self.layout.stem)
        stages = self.layout.stage_keys(arch)
        for position, _, spec in self._specs:
            _, before, choice = stages[position]
            if choice.depth < spec.needs:
                yield None
                continue
            block = _FIXED if spec.block is None else (choice.expands[spec.block], choice.kernels[spec.block])
            yield (*block, *spec.widths(before, choice.widths))
        for slot in self.slots[len(self.layout.stem) + len(self._specs) :]:
            yield (*_FIXED, arch.widths[-1]) if slot.elastic else _FIXED

    def encode(self, arch: Arch) -> np.ndarray:
        """Returns the code of a subnet; raises ``InputError`` if there is none."""
        entries = zip(self._options, self._choices(self.layout.check(arch)))
        return np.array([*(known[choice] for known, choice in entries if len(known) > 1), arch.resolution], np.int32)

    def decode(self, code: Sequence[int] | np.ndarray) -> Arch:
        """Inverse of ``encode``; raises ``InputError`` for a code of no subnet."""
        values = np.asarray(code)
        if values.shape != (self.size,) or not np.issubdtype(values.dtype, np.integer):
            raise InputError(f"A code of this space is {self.size} whole numbers. Received: code={code!r}")
        *entries, resolution = values.tolist()
        options = iter(entries)
        choices = []
        for slot in self.slots:
            option = next(options) if slot.elastic else 0
            if not 0 <= option < len(slot.choices):
                raise InputError(f"{slot.name} has options 0 to {len(slot.choices) - 1}. Received: {option}")
            choices.append(slot.choices[option])
        arch = self.layout.check(self._arch_of(choices[len(self.layout.stem) :], resolution))
        if self.encode(arch).tolist() != values.tolist():
            raise InputError(f"The entries of this code contradict each other. Received: code={code!r}")
        return arch

    def _arch_of(self, choices: Sequence[tuple[Any, ...] | None], resolution: int) -> Arch:
        layout = self.layout
        expands, kernels = ([0] * layout.block_spans[-1].stop for _ in range(2))
        widths = [0] * layout.width_spans[-1].stop
        kept = [0] * len(layout.stages)
        for (position, _, spec), choice in zip(self._specs, choices):
            if choice is None:
                continue
            kept[position] += 1
            expand, kernel, *decided = choice
            first = layout.width_spans[position].start
            places = spec.widths((first - 1,), tuple(range(first, layout.width_spans[position].stop)))
            for place, width in zip(places, decided, strict=True):
                widths[place] = width
            if spec.block is not None:
                block = layout.block_spans[position].start + spec.block
                expands[block], kernels[block] = expand, kernel
        depths = tuple(
            self._depth_of(stage, count, widths[span])
            for stage, count, span in zip(layout.stages, kept, layout.width_spans)
        )
        return Arch(depths, tuple(expands), tuple(kernels), resolution, tuple(widths))

    def _depth_of(self, stage: Stage, kept: int, widths: list[int]) -> int:
        """The depth that keeps so many slots and, in a compound stage, has these widths; -1 if there is none."""
        for depth in stage.depths:
            counted = sum(depth >= spec.needs for spec in stage.specs)
            if counted == kept and all(w in may for w, may in zip(widths, self.layout.allowed_widths(stage, depth))):
                return depth
        return -1
