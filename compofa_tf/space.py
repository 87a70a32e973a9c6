"""The space of subnets: what can be sampled, enumerated, encoded, named and built. No TensorFlow.

A family (``compofa_tf.families``) writes down widths, strides and choices once, as a ``Space``. The supernet, the plain
subnet, costs, latency tables and checkpoints all read it from here. Method: CompOFA, arXiv:2104.12642, section 3.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from compofa_tf import naming
from compofa_tf.arch import Arch, Expand
from compofa_tf.coding import Coding, head_units
from compofa_tf.errors import InputError
from compofa_tf.stages import Piece, Slot, Stage, cut_piece
from compofa_tf.units import Op, Unit, unit_ops

__all__ = ["Arch", "Piece", "Slot", "Space", "Stage"]

_SMALLEST_RESOLUTION = 8

_StageChoice = tuple[int, tuple[Expand, ...], tuple[int, ...], tuple[int, ...]]
_StageKey = tuple[int, int, tuple[Expand, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Space:
    """A family of subnets that share weights.

    Attributes:
      family: Name under which ``compofa_tf.families.get`` finds the family.
      settings: The keyword arguments that made it.
      stem: Units before the stages.
      stages: The elastic stages.
      head: Units after the stages.
      coupling: ``"compound"`` (depth decides the expand ratio of the stage) or ``"independent"``.
      kernel: ``"fixed"`` (one per stage) or ``"elastic"`` (one choice per block).
      profile: ``"mobile"`` or ``"edgetpu"``.
      classes: Number of classes.
      epsilon: Batch-norm epsilon.
    """

    family: str
    settings: dict[str, Any]
    stem: tuple[Unit, ...]
    stages: tuple[Stage, ...]
    head: tuple[Unit, ...]
    coupling: Literal["compound", "independent"]
    kernel: Literal["fixed", "elastic"]
    profile: str
    classes: int
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        """Rejects couplings and kernels that do not exist."""
        for name, value, allowed in (
            ("coupling", self.coupling, ("compound", "independent")),
            ("kernel", self.kernel, ("fixed", "elastic")),
        ):
            if value not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}. Received: {name}={value!r}")

    def __eq__(self, other: object) -> bool:
        """Spaces are equal when their descriptions are."""
        return isinstance(other, Space) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self.fingerprint)

    def __len__(self) -> int:
        """``size`` where it fits; Python raises ``OverflowError`` for larger spaces."""
        return self.size

    def __bool__(self) -> bool:
        """Always true, also where ``len`` cannot say how many there are."""
        return True

    def __repr__(self) -> str:
        """Names the family, its settings and its size."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
        return f"<Space {self.family}({arguments}): {self.size} subnets>"

    def to_json(self) -> dict[str, Any]:
        """Returns what rebuilds the space: family name and settings."""
        return {"family": self.family, "settings": dict(self.settings)}

    @staticmethod
    def from_json(content: Any) -> Space:
        """Inverse of ``to_json``; raises ``InputError`` for anything else."""
        from compofa_tf import families

        if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
            raise InputError(f"Not a space description (family, settings). Received: {content!r}")
        return families.get(content.get("family", ""), **content["settings"])

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ when the description differs."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    # What there is to choose

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

    def stage_name(self, position: int) -> str:
        """Returns how the units of a stage begin: its own name, or ``stage1``, ``stage2``, ..."""
        return self.stages[position].name or f"stage{position + 1}"

    @functools.cached_property
    def _coding(self) -> Coding:
        return Coding(self)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every place of the network in execution order."""
        return self._coding.slots

    @property
    def stage_slots(self) -> tuple[Slot, ...]:
        """The slots of the stages, one per place of the full-depth network, stage-major."""
        return self._coding.stage_slots

    @functools.cached_property
    def elastic_slots(self) -> tuple[Slot, ...]:
        """The slots with more than one option: the entries of a code, before its resolution."""
        return tuple(slot for slot in self.slots if slot.elastic)

    # Making architectures

    def arch(
        self,
        *,
        depths: int | Sequence[int],
        resolution: int,
        expands: Expand | Sequence[Expand] | None = None,
        kernels: int | Sequence[int] | None = None,
        widths: int | Sequence[int] | None = None,
    ) -> Arch:
        """Returns a member of the space.

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
          InputError: If the space has no such member; the message names the first setting that does not fit.
        """
        if not _is_resolution(resolution):
            raise InputError(
                f"resolution must be a whole number of at least {_SMALLEST_RESOLUTION} pixels. "
                f"Received: resolution={resolution!r}"
            )
        chosen = _broadcast("depths", depths, len(self.stages))
        blocks, choices = self.block_spans[-1].stop, self.width_spans[-1].stop
        given = {
            name: None if value is None else _broadcast(name, value, count)
            for name, value, count in (("expands", expands, blocks), ("kernels", kernels, blocks))
        }
        given_widths = None if widths is None else _broadcast("widths", widths, choices)
        picked: dict[str, list[Any]] = {name: [] for name in (*given, "widths")}
        chosen = tuple(stage.settle(depth) for stage, depth in zip(self.stages, chosen))
        for number, (stage, depth, span) in enumerate(zip(self.stages, chosen, self.block_spans), start=1):
            if depth not in stage.depths:
                raise InputError(f"depths of stage {number} must be one of {stage.depths}. Received: depths={depths!r}")
            kept = range(span.start, span.start + stage.kept_blocks(int(depth)))
            for (name, values), allowed in zip(given.items(), self.allowed(stage, depth)):
                picked[name] += [_pick(name, values, index, allowed, number) for index in kept]
                picked[name] += [0] * (span.stop - kept.stop)
            indices = itertools.count(self.width_spans[number - 1].start)
            for index, allowed_widths in zip(indices, self.allowed_widths(stage, depth)):
                picked["widths"].append(_pick("widths", given_widths, index, allowed_widths, number))
        expanded, sides, widened = (tuple(values) for values in picked.values())
        return Arch(tuple(map(int, chosen)), expanded, sides, int(resolution), widened)

    def largest(self, resolution: int) -> Arch:
        """Returns the member with every dimension at its largest: the teacher."""
        return self._extreme(resolution, max)

    def smallest(self, resolution: int) -> Arch:
        """Returns the member with every dimension at its smallest."""
        return self._extreme(resolution, min)

    def _extreme(self, resolution: int, pick: Callable[[tuple[Any, ...]], Any]) -> Arch:
        depths = [pick(stage.depths) for stage in self.stages]
        stages = list(zip(self.stages, depths))
        expands, kernels = zip(
            *(
                tuple(pick(values) for values in self.allowed(stage, depth))
                for stage, depth in stages
                for _ in range(stage.blocks)
            )
        )
        widths = [pick(values) for stage, depth in stages for values in self.allowed_widths(stage, depth)]
        return self.arch(depths=depths, expands=expands, kernels=kernels, widths=widths, resolution=resolution)

    def sample(
        self,
        rng: np.random.Generator,
        *,
        resolution: int | None = None,
        resolutions: Sequence[int] | None = None,
        depth_weights: Sequence[float] | None = None,
        depths: Sequence[int] = (),
        expands: Sequence[Expand] = (),
        kernels: Sequence[int] = (),
    ) -> Arch:
        """Draws a member as the papers do: a depth per stage, then what is free per block, each independently.

        In a compound space with fixed kernels that is uniform over all members. In the other spaces it is uniform over
        the *choices*; weights proportional to the number of members that a depth leads to (``n**depth`` for ``n``
        choices per block) make it uniform over members.

        Args:
          rng: Source of randomness; the result is a pure function of its state.
          resolution: Side of the input.
          resolutions: Sides to draw from uniformly; without any, the side of the images that the space is meant for.
          depth_weights: Relative weight of each depth choice, in the order of ``Stage.choices``; uniform when absent.
          depths: Depths to draw from; empty: all. Where a stage has no choice, or none of these, they do not apply.
          expands: Expand ratios to draw from, likewise, for what is free per block.
          kernels: Kernel sides to draw from, likewise.
        """
        if resolution is None:
            sides = resolutions or (int(self.settings.get("input_size", 224)),)
            resolution = int(sides[int(rng.integers(len(sides)))])
        picked: list[int] = []
        drawn: tuple[list[Any], list[Any], list[int]] = ([], [], [])
        for stage in self.stages:
            open_depths = limited(stage.depths, depths)
            picked.append(open_depths[_draw(rng, len(open_depths), depth_weights)])
            choices = [limited(*pair) for pair in zip(self.allowed(stage, picked[-1]), (expands, kernels))]
            for _ in range(stage.blocks):
                for values, allowed in zip(drawn, choices):
                    values.append(_draw_one(rng, allowed))
            drawn[2].extend(_draw_one(rng, allowed) for allowed in self.allowed_widths(stage, picked[-1]))
        found = dict(zip(("expands", "kernels", "widths"), drawn))
        return self.arch(depths=picked, resolution=resolution, **found)

    def enumerate(self, *, resolutions: Sequence[int]) -> Iterator[Arch]:
        """Yields every member at every resolution, lazily, in a fixed order.

        Resolutions are the outermost loop, in the order given. Then lexicographic: the first stage is slowest; a stage
        runs through its depths as in ``Stage.choices``, and for each depth through expand ratios and kernels of its
        blocks, the first block slowest, expand before kernel, each ascending, and at last through its widths.
        """
        for resolution in resolutions:
            checked = self.smallest(resolution).resolution
            for combination in itertools.product(*self.stage_choices()):
                depths, *others = zip(*combination)
                expands, kernels, widths = (tuple(itertools.chain(*values)) for values in others)
                yield Arch(depths, expands, kernels, checked, widths)

    def stage_choices(self) -> tuple[Iterator[_StageChoice], ...]:
        """Returns for each stage all its ``(depth, expands, kernels, widths)``, in the order of ``enumerate``."""
        return tuple(map(self._stage_choices, self.stages))

    def _stage_choices(self, stage: Stage) -> Iterator[_StageChoice]:
        for depth in stage.depths:
            kept = stage.kept_blocks(depth)
            dropped = (0,) * (stage.blocks - kept)
            for blocks in itertools.product(itertools.product(*self.allowed(stage, depth)), repeat=kept):
                expands, kernels = tuple(e for e, _ in blocks), tuple(k for _, k in blocks)
                for widths in itertools.product(*self.allowed_widths(stage, depth)):
                    yield depth, expands + dropped, kernels + dropped, widths

    # Membership, codes and names

    def __contains__(self, arch: object) -> bool:
        """Whether the space has this member."""
        return self._find(arch) is not None

    def check(self, arch: Arch) -> Arch:
        """Returns ``arch``; raises ``InputError`` if the space has no such member."""
        self.stage_units(arch)
        return arch

    @property
    def code_size(self) -> int:
        """Entries of a code: one per elastic slot, then the resolution."""
        return len(self.elastic_slots) + 1

    def encode(self, arch: Arch) -> np.ndarray:
        """Returns the code of a member.

        Returns:
          int32 ``[code_size]``: the option of each elastic slot, then the resolution in pixels.
        """
        return self._coding.encode(self.check(arch))

    def decode(self, code: Sequence[int] | np.ndarray) -> Arch:
        """Inverse of ``encode``; raises ``InputError`` for a code of no member."""
        return self._coding.decode(code)

    def id(self, arch: Arch) -> str:
        """Returns a short readable name, for example ``"r192-d23423"``; ``parse`` reads it back.

        ``r`` is the resolution, ``d`` the depths; spaces with free expand ratios or kernels add ``-e`` and ``-k`` with
        the kept blocks of each stage, stages separated by dots.
        """
        return naming.name_of(self, arch)

    def parse(self, name: str) -> Arch:
        """Returns the member that ``id`` gave this name; raises ``InputError`` if there is none."""
        return naming.arch_of(self, name)

    # What a member is made of

    @functools.cached_property
    def _known(self) -> dict[Any, tuple[Unit, ...]]:
        """Stages met before: all members of a family share a few of them."""
        return {}

    def _find(self, arch: object) -> tuple[tuple[Unit, ...], ...] | None:
        """Kept units by stage, or None if the space has no such member."""
        if not isinstance(arch, Arch) or not _is_resolution(arch.resolution):
            return None
        blocks = self.block_spans[-1].stop
        sizes = (len(arch.depths), len(arch.expands), len(arch.kernels), len(arch.widths))
        if sizes != (len(self.stages), blocks, blocks, self.width_spans[-1].stop):
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

    def stage_keys(self, arch: Arch) -> list[_StageKey]:
        """Returns what decides each stage: its position, depth, expands, kernels, and widths with that before it."""
        spans = zip(arch.depths, self.block_spans, self.width_spans)
        return [
            (i, depth, arch.expands[span], arch.kernels[span], arch.widths[max(0, own.start - 1) : own.stop])
            for i, (depth, span, own) in enumerate(spans)
        ]

    def _find_stage(
        self, position: int, depth: int, expands: tuple[Expand, ...], kernels: tuple[int, ...], widths: tuple[int, ...]
    ) -> tuple[Unit, ...] | None:
        """Kept units of a stage; ``widths`` begins with the choice before its own where there is one."""
        stage = self.stages[position]
        if depth not in stage.depths:
            return None
        kept, own = stage.kept_blocks(depth), widths[len(widths) - len(stage.width_counts) :]
        settings = tuple(zip(expands, kernels))
        allowed = itertools.product(*self.allowed(stage, depth))
        if any(map(any, settings[kept:])) or not set(settings[:kept]) <= set(allowed):
            return None
        if any(width not in may for width, may in zip(own, self.allowed_widths(stage, depth))):
            return None
        units = []
        for place in (place for place in stage.places if place.needs <= depth):
            taken = tuple(widths[len(widths) - len(own) + offset] for offset in place.widths)
            expand, kernel = (0, 0) if place.block is None else settings[place.block]
            units.append(stage.unit(f"{self.stage_name(position)}_{place.name}", place, expand, kernel, taken))
        return tuple(units)

    def stage_units(self, arch: Arch) -> tuple[tuple[Unit, ...], ...]:
        """Returns the kept units of a member, stage by stage."""
        found = self._find(arch)
        if found is None:
            raise InputError(f"The space {self!r} has no such member. Received: {arch}")
        return found

    def head_units(self, arch: Arch) -> tuple[Unit, ...]:
        """Returns the units after the stages; the first that has weights reads what the last stage writes."""
        return head_units(self, arch.widths[-1] if arch.widths else None)

    def units(self, arch: Arch) -> tuple[Unit, ...]:
        """Returns the concrete network of a member in execution order."""
        return (*self.stem, *itertools.chain(*self.stage_units(arch)), *self.head_units(arch))

    def ops(self, arch: Arch) -> tuple[Op, ...]:
        """Returns the weighted operations of a member at its resolution."""
        units = self.units(arch)
        height = width = arch.resolution
        ops: list[Op] = []
        for unit in units:
            found, height, width = unit_ops(unit, height, width)
            ops += found
        return tuple(ops)

    @property
    def pieces_are_blocks(self) -> bool:
        """Whether a latency table measures single blocks, because stages have too many forms, or else whole stages."""
        return self.coupling == "independent" or self.kernel == "elastic"

    def pieces(self, arch: Arch) -> tuple[Piece, ...]:
        """Returns the parts that a latency table measures: stem, stages (blocks in large spaces), head."""
        parts: Iterable[tuple[Unit, ...]] = self.stage_units(arch)
        if self.pieces_are_blocks:
            parts = [(unit,) for stage in parts for unit in stage]
        shape = (arch.resolution, arch.resolution, 3)
        pieces = []
        for units in filter(None, (self.stem, *parts, self.head_units(arch))):
            piece, shape = cut_piece(units, shape)
            pieces.append(piece)
        return tuple(pieces)


def limited(values: tuple[Any, ...], allowed: Sequence[Any]) -> tuple[Any, ...]:
    """Returns the values that are allowed, in their order; all of them where that leaves none."""
    return tuple(value for value in values if value in allowed) or values


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


def _draw_one(rng: np.random.Generator, allowed: tuple[Any, ...]) -> Any:
    return allowed[int(rng.integers(len(allowed))) if len(allowed) > 1 else 0]


def _draw(rng: np.random.Generator, count: int, weights: Sequence[float] | None) -> int:
    if weights is None:
        return int(rng.integers(count))
    shares = np.asarray(weights, np.float64)
    if shares.shape != (count,) or not np.all(np.isfinite(shares)) or np.any(shares < 0) or shares.sum() <= 0:
        raise InputError(f"depth_weights needs {count} non-negative numbers, not all 0. Received: {weights!r}")
    return int(rng.choice(count, p=shares / shares.sum()))
