"""What may be chosen in a network, and the concrete network that a choice gives. No TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space.arch import Arch, Expand, StageChoice
from compofa_tf.space.stages import Stage
from compofa_tf.space.units import OpCost, Unit, unit_costs

_SMALLEST_RESOLUTION = 8

StageKey = tuple[int, tuple[int, ...], StageChoice]


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """A stem, elastic stages and a head, and how their choices are coupled.

    Attributes:
      stem: Units before the stages.
      stages: The elastic stages.
      head: Units after the stages.
      coupling: ``"compound"`` (depth decides the expand ratio of the stage) or ``"independent"``.
      kernel: ``"fixed"`` (one per stage) or ``"elastic"`` (one choice per block).
    """

    stem: tuple[Unit, ...]
    stages: tuple[Stage, ...]
    head: tuple[Unit, ...]
    coupling: Literal["compound", "independent"]
    kernel: Literal["fixed", "elastic"]

    def __post_init__(self) -> None:
        """Rejects couplings and kernels that do not exist."""
        for name, value, allowed in (
            ("coupling", self.coupling, ("compound", "independent")),
            ("kernel", self.kernel, ("fixed", "elastic")),
        ):
            if value not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}. Received: {name}={value!r}")

    def allowed(self, stage: Stage, depth: int) -> tuple[tuple[Expand, ...], tuple[int, ...]]:
        """Expand ratios and kernels, ascending, that each kept block may have when the stage has this depth."""
        expands = tuple(sorted(set(stage.expands))) if self.coupling == "independent" else (dict(stage.choices)[depth],)
        kernels = tuple(sorted(stage.kernels)) if self.kernel == "elastic" else (stage.kernel,)
        return expands, kernels

    def allowed_widths(self, stage: Stage, depth: int) -> tuple[tuple[int, ...], ...]:
        """What each width choice of a stage may be when the stage has this depth."""
        if self.coupling == "independent":
            return tuple(tuple(range(count)) for count in stage.width_counts)
        return tuple((stage.depths.index(depth),) for _ in stage.width_counts)

    @functools.cached_property
    def size(self) -> int:
        """Exact number of subnets, resolutions not counted."""
        return math.prod(
            sum(
                math.prod(map(len, self.allowed(stage, depth))) ** stage.kept_blocks(depth)
                * math.prod(map(len, self.allowed_widths(stage, depth)))
                for depth in stage.depths
            )
            for stage in self.stages
        )

    @functools.cached_property
    def block_spans(self) -> tuple[slice, ...]:
        """Where the blocks of each stage stand in ``Arch.expands`` and ``Arch.kernels``."""
        return _spans(stage.blocks for stage in self.stages)

    @functools.cached_property
    def width_spans(self) -> tuple[slice, ...]:
        """Where the width choices of each stage stand in ``Arch.widths``."""
        return _spans(len(stage.width_counts) for stage in self.stages)

    @functools.cached_property
    def slot_spans(self) -> tuple[slice, ...]:
        """Where the slots of the stem, of each stage and of the head stand among those of the network."""
        return _spans((len(self.stem), *(len(stage.specs) for stage in self.stages), len(self.head)))

    @functools.cached_property
    def channels_into(self) -> tuple[int | None, ...]:
        """Channels that enter the stem, each stage and the head; None where a width choice decides them."""
        stem = next((unit.out_channels for unit in reversed(self.stem) if hasattr(unit, "out_channels")), 3)
        return 3, stem, *(None if stage.width_counts else stage.out_channels(None) for stage in self.stages)

    def stage_name(self, position: int) -> str:
        """Returns how the units of a stage begin: its own name, or ``stage1``, ``stage2``, ..."""
        return self.stages[position].name or f"stage{position + 1}"

    def arch(
        self,
        *,
        depths: int | Sequence[int],
        resolution: int,
        expands: Expand | Sequence[Expand] | None = None,
        kernels: int | Sequence[int] | None = None,
        widths: int | Sequence[int] | None = None,
    ) -> Arch:
        """Returns the description of a subnet.

        Args:
          depths: Blocks kept per stage; a scalar stands for every stage. A stage of only one possible depth keeps it
            when more is asked for, as in the published code.
          resolution: Side of the input in pixels.
          expands: Expand ratio, a scalar or one per block of the full-depth network, stage-major; entries of dropped
            blocks are ignored. Compound: not needed, and if given it must be what the depths decide.
          kernels: Kernel side, as ``expands``. Needed for elastic kernels; fixed: if given, the fixed ones.
          widths: In families with elastic widths (ResNet50): which of the family's widths each stage takes, 0 the
            narrowest, a scalar or one per width choice. Compound: not needed, the depths decide.

        Raises:
          InputError: If the space has no such subnet; the message names the first setting that does not fit.
        """
        side = _checked_resolution(resolution)
        blocks, width_choices = self.block_spans[-1].stop, self.width_spans[-1].stop
        chosen = [stage.settle(d) for stage, d in zip(self.stages, _broadcast("depths", depths, len(self.stages)))]
        for number, (stage, depth) in enumerate(zip(self.stages, chosen), start=1):
            if depth not in stage.depths:
                raise InputError(f"depths of stage {number} must be one of {stage.depths}. Received: depths={depths!r}")
        given = {
            name: None if value is None else _broadcast(name, value, count)
            for name, value, count in (
                ("expands", expands, blocks),
                ("kernels", kernels, blocks),
                ("widths", widths, width_choices),
            )
        }
        return Arch.of([self._choice(i, int(depth), given) for i, depth in enumerate(chosen)], side)

    def _choice(self, position: int, depth: int, given: dict[str, tuple[Any, ...] | None]) -> StageChoice:
        """The choice for a stage that was given, completed by what is decided."""
        stage, number = self.stages[position], position + 1
        blocks, widths = self.block_spans[position], self.width_spans[position]
        expands, kernels = (
            [_pick(name, given[name], blocks.start + i, allowed, number) for i in range(stage.kept_blocks(depth))]
            for name, allowed in zip(("expands", "kernels"), self.allowed(stage, depth))
        )
        own = [
            _pick("widths", given["widths"], widths.start + i, allowed, number)
            for i, allowed in enumerate(self.allowed_widths(stage, depth))
        ]
        return StageChoice.of(depth, list(zip(expands, kernels)), count=stage.blocks, widths=own)

    def largest(self, resolution: int) -> Arch:
        """Returns the subnet with every dimension at its largest: the teacher."""
        return self._extreme(resolution, max)

    def smallest(self, resolution: int) -> Arch:
        """Returns the subnet with every dimension at its smallest."""
        return self._extreme(resolution, min)

    def _extreme(self, resolution: int, pick: Callable[[Iterable[Any]], Any]) -> Arch:
        choices = []
        for stage in self.stages:
            depth = pick(stage.depths)
            expands, kernels = self.allowed(stage, depth)
            blocks = [(pick(expands), pick(kernels))] * stage.kept_blocks(depth)
            widths = map(pick, self.allowed_widths(stage, depth))
            choices.append(StageChoice.of(depth, blocks, count=stage.blocks, widths=widths))
        return Arch.of(choices, _checked_resolution(resolution))

    def stage_choices(self) -> tuple[Iterator[StageChoice], ...]:
        """Returns all choices of each stage.

        A stage runs through its depths as in ``Stage.choices``, and for each depth through expand ratios and kernels of
        its blocks, the first block slowest, expand before kernel, each ascending, and at last through its widths.
        """
        return tuple(map(self._stage_choices, self.stages))

    def _stage_choices(self, stage: Stage) -> Iterator[StageChoice]:
        for depth in stage.depths:
            of_a_block = list(itertools.product(*self.allowed(stage, depth)))
            for blocks in itertools.product(of_a_block, repeat=stage.kept_blocks(depth)):
                for widths in itertools.product(*self.allowed_widths(stage, depth)):
                    yield StageChoice.of(depth, blocks, count=stage.blocks, widths=widths)

    def __contains__(self, arch: object) -> bool:
        """Whether there is this subnet."""
        return self._find(arch) is not None

    def check(self, arch: Arch) -> Arch:
        """Returns ``arch``; raises ``InputError`` if there is no such subnet."""
        self.stage_units(arch)
        return arch

    def stage_keys(self, arch: Arch) -> list[StageKey]:
        """Returns what decides each stage: its position, the width choices before it, and its own choice."""
        spans = zip(arch.depths, self.block_spans, self.width_spans)
        return [
            (
                position,
                arch.widths[max(0, own.start - 1) : own.start],
                StageChoice(depth, arch.expands[blocks], arch.kernels[blocks], arch.widths[own]),
            )
            for position, (depth, blocks, own) in enumerate(spans)
        ]

    def fits(self, arch: Arch) -> bool:
        """Whether an arch has as many entries as one of this space; its values may still be of another."""
        blocks, widths = self.block_spans[-1].stop, self.width_spans[-1].stop
        sizes = (len(arch.depths), len(arch.expands), len(arch.kernels), len(arch.widths))
        return sizes == (len(self.stages), blocks, blocks, widths)

    @functools.cached_property
    def _known(self) -> dict[StageKey, tuple[Unit, ...]]:
        """Stages met before: all subnets of a space share a few of them."""
        return {}

    def _find(self, arch: object) -> tuple[tuple[Unit, ...], ...] | None:
        """Kept units by stage, or None if there is no such subnet."""
        if not isinstance(arch, Arch) or not _is_resolution(arch.resolution) or not self.fits(arch):
            return None
        found = []
        for key in self.stage_keys(arch):
            if key not in self._known:
                units = self._find_stage(*key)
                if units is None:
                    return None
                self._known[key] = units
            found.append(self._known[key])
        return tuple(found)

    def _find_stage(self, position: int, before: tuple[int, ...], choice: StageChoice) -> tuple[Unit, ...] | None:
        stage = self.stages[position]
        if choice.depth not in stage.depths:
            return None
        kept, blocks = stage.kept_blocks(choice.depth), tuple(zip(choice.expands, choice.kernels))
        allowed = itertools.product(*self.allowed(stage, choice.depth))
        if any(map(any, blocks[kept:])) or not set(blocks[:kept]) <= set(allowed):
            return None
        if any(width not in may for width, may in zip(choice.widths, self.allowed_widths(stage, choice.depth))):
            return None
        units = []
        for spec in (spec for spec in stage.specs if spec.needs <= choice.depth):
            expand, kernel = (0, 0) if spec.block is None else blocks[spec.block]
            name = f"{self.stage_name(position)}_{spec.name}"
            units.append(stage.unit(name, spec, expand, kernel, spec.widths(before, choice.widths)))
        return tuple(units)

    def stage_units(self, arch: Arch) -> tuple[tuple[Unit, ...], ...]:
        """Returns the kept units of a subnet, stage by stage."""
        found = self._find(arch)
        if found is None:
            raise InputError(f"The space {self!r} has no such subnet. Received: {arch}")
        return found

    def head_units(self, arch: Arch) -> tuple[Unit, ...]:
        """Returns the units of a subnet after the stages."""
        return self.head_after(arch.widths[-1] if arch.widths else None)

    def head_after(self, width: int | None) -> tuple[Unit, ...]:
        """Returns the units after the stages; the first with weights reads what the last stage writes.

        Args:
          width: The last width choice of the subnet; None where widths are fixed.
        """
        channels, units = self.stages[-1].out_channels(width), list(self.head)
        first = next(position for position, unit in enumerate(units) if unit.parts)
        reads: dict[str, Any] = {"in_channels": channels}
        units[first] = dataclasses.replace(units[first], **reads)
        return tuple(units)

    def units(self, arch: Arch) -> tuple[Unit, ...]:
        """Returns the concrete network of a subnet in execution order."""
        return (*self.stem, *itertools.chain(*self.stage_units(arch)), *self.head_units(arch))

    def ops(self, arch: Arch) -> tuple[OpCost, ...]:
        """Returns the weighted operations of a subnet at its resolution."""
        units = self.units(arch)
        height = width = arch.resolution
        ops: list[OpCost] = []
        for unit in units:
            found, height, width = unit_costs(unit, height, width)
            ops += found
        return tuple(ops)


def _checked_resolution(value: Any) -> int:
    if not _is_resolution(value):
        raise InputError(
            f"resolution must be a whole number of at least {_SMALLEST_RESOLUTION} pixels. "
            f"Received: resolution={value!r}"
        )
    return int(value)


def _is_resolution(value: Any) -> bool:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and value >= _SMALLEST_RESOLUTION


def _spans(lengths: Iterable[int]) -> tuple[slice, ...]:
    ends = tuple(itertools.accumulate(lengths))
    return tuple(slice(start, end) for start, end in zip((0, *ends), ends))


def _broadcast(name: str, value: Any, count: int) -> tuple[Any, ...]:
    if isinstance(value, (int, float, np.number)) and count:
        return (value,) * count
    values = tuple(value) if isinstance(value, Iterable) else (value,) * (count + 1)
    if len(values) != count:
        rule = f"must be a scalar or have {count} entries" if count else "are fixed in this family"
        raise InputError(f"{name} {rule}. Received: {name}={value!r}")
    return values


def _pick(name: str, given: tuple[Any, ...] | None, index: int, allowed: tuple[Any, ...], stage: int) -> Any:
    """The allowed value that was given for a block, or the only one that is allowed."""
    if given is None:
        if len(allowed) > 1:
            raise InputError(f"{name} is needed in this space: a scalar or one per block. Received: {name}=None")
        return allowed[0]
    if given[index] not in allowed:
        rule = f"one of {allowed}" if len(allowed) > 1 else f"{allowed[0]}, so {name} can be left out"
        raise InputError(f"{name} of stage {stage} must be {rule}. Received: {name}[{index}]={given[index]!r}")
    return allowed[allowed.index(given[index])]
