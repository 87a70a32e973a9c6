"""The names that the published PyTorch checkpoints give to the weights of a space. Needs NumPy only."""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space import Arch, Space
from compofa_tf.space.stages import InvertedStage
from compofa_tf.space.units import BlockUnit, Part, ResidualUnit, Unit

_INVERTED = {
    "expand": "inverted_bottleneck.conv",
    "depth": "depth_conv.conv",
    "reduce": "depth_conv.se.fc.reduce",
    "restore": "depth_conv.se.fc.expand",
    "project": "point_linear.conv",
}
_UNITS = {
    "stem": "first_conv.conv",
    "head_expand": "final_expand_layer.conv",
    "head_mix": "feature_mix_layer.conv",
    "classifier": "classifier.linear",
    "stem_in": "input_stem.0.conv",
    "stem_residual": "input_stem.1.conv",
    "stem_out": "input_stem.2.conv",
}
_NORMS = {"stem_residual": "input_stem.1.conv.bn"}
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_PART = re.compile(r"(?:blocks|input_stem)\.\d+\.")

_DOUBLED = re.compile(r"\.(conv|bn|linear)(?:\.\1)+(?=\.)")


def plain(key: str) -> str:
    """Returns a key without the repetitions that nested PyTorch layers add (``conv.conv.weight``, ``bn.bn.weight``)."""
    return _DOUBLED.sub(r".\1", key)


def _base(unit: Unit, block: int | None, part: Part, *, short_stem: bool = False) -> tuple[str, str]:
    """How the keys of a part and of its batch norm begin; without its residual part the stem counts to 1."""
    if isinstance(unit, BlockUnit):
        base = f"blocks.{block}.mobile_inverted_conv.{_INVERTED[part.name]}"
    elif isinstance(unit, ResidualUnit):
        base = f"blocks.{block}.{part.name}.conv"
    else:
        base = "input_stem.1.conv" if short_stem and unit.name == "stem_out" else _UNITS[unit.name]
    return base, _NORMS.get(unit.name, base.removesuffix("conv") + "bn")


def first_block(space: Space) -> int:
    """Returns the number in the published keys of the first block of the stages: those of the stem come before it."""
    return sum(isinstance(unit, BlockUnit | ResidualUnit) for unit in space.stem)


def depthwise_keys(space: Space) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yields unit name, beginning of the keys, and possible sides, falling, of the stages' depthwise kernels."""
    blocks = itertools.count(first_block(space))
    for position, stage in enumerate(space.stages):
        for spec in stage.specs:
            block = next(blocks) if spec.block is not None else None
            if isinstance(stage, InvertedStage):
                base = f"blocks.{block}.mobile_inverted_conv.{_INVERTED['depth']}"
                yield f"{space.stage_name(position)}_{spec.name}", base, tuple(sorted(stage.kernels, reverse=True))


def matrix_keys(base: str, sides: tuple[int, ...]) -> list[tuple[str, int]]:
    """Returns the keys of the kernel matrices of a depthwise kernel, and the smaller side of each."""
    return [(f"{base}.{larger}to{smaller}_matrix", smaller) for larger, smaller in itertools.pairwise(sides)]


class MismatchError(InputError):
    """Tensors that are not those of a space.

    Args:
      message: Names them.
      count: How many they are.
    """

    def __init__(self, message: str, *, count: int) -> None:
        super().__init__(message)
        self.count = count


def state_from_torch(
    space: Space, tensors: Mapping[str, np.ndarray], *, arch: Arch | None = None
) -> dict[str, np.ndarray]:
    """Returns the weights of a supernet, or of one member alone, from those of a published checkpoint of its family.

    Axes are turned from PyTorch's to Keras's; fixed kernels take the centre of the published 7 x 7 ones, as the
    authors' evaluation does. Kernel matrices of a space with fixed kernels and batch counters are left out.

    Args:
      space: The space that the checkpoint belongs to.
      tensors: Arrays by PyTorch key, doubled or plain.
      arch: The member, if the checkpoint is that of an extracted subnet.

    Returns:
      Arrays by stable name, for ``Supernet.set_state``; of a member, with the sizes that it has.

    Raises:
      InputError: If keys are missing, misshapen or left over; they are named.
    """
    if arch is None:
        places = [[unit for unit in slot.options if unit is not None] for slot in space.slots]
    else:
        places = [[unit] for unit in space.units(arch)]
    given = _Reader(tensors)
    state: dict[str, np.ndarray] = {}
    blocks, names = itertools.count(), {units[-1].name for units in places}
    crops = {} if arch is not None else _crops(space, given)
    for units in places:
        block = next(blocks) if isinstance(units[-1], BlockUnit | ResidualUnit) else None
        short_stem, stored = "stem_residual" not in names, crops.get(units[-1].name)
        state.update(_unit_tensors(units, block, given, short_stem=short_stem, stored=stored))
    given.finish()
    return state


def _crops(space: Space, given: _Reader) -> dict[str, int]:
    """Sides of the stored depthwise kernels by unit, where a file has the largest ones for a space of fixed kernels.

    Either all blocks of the stages have them (published supernets and teachers do) or none. Their matrices are ignored.
    """
    found, stored = {}, []
    for name, base, sides in depthwise_keys(space) if space.kernel == "fixed" else ():
        given.ignored |= {key for key, _ in matrix_keys(base, sides)}
        found[name] = sides[0]
        stored.append(given.side(f"{base}.weight") == sides[0])
    return found if sum(stored) > len(stored) / 2 else {}


def _unit_tensors(
    units: Sequence[Unit], block: int | None, given: _Reader, *, short_stem: bool, stored: int | None
) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}
    largest = units[-1]
    for part in largest.parts:
        name, (base, norm) = f"{largest.name}/{part.name}", _base(largest, block, part, short_stem=short_stem)
        side = stored if stored and part.kind == "depthwise" else part.kernel_size
        state.update(_tensors(name, base, norm, part, given, side))
        sizes = sorted({p.kernel_size for unit in units for p in unit.parts if p.name == part.name}, reverse=True)
        for larger, smaller in itertools.pairwise(sizes):
            matrix = f"{larger}to{smaller}"
            state[f"{name}/{matrix}"] = given.take(f"{base}.{matrix}_matrix", (smaller**2,) * 2)
    return state


def _tensors(name: str, base: str, norm: str, part: Part, given: _Reader, side: int) -> dict[str, np.ndarray]:
    sizes = (part.out_channels, 1 if part.kind == "depthwise" else part.in_channels)
    if part.kind == "dense":
        weight = given.take(f"{base}.weight", sizes).T
    else:
        weight = given.take(f"{base}.weight", (*sizes, side, side))
        weight = weight.transpose((2, 3, 0, 1) if part.kind == "depthwise" else (2, 3, 1, 0))
        start = (side - part.kernel_size) // 2
        weight = weight[start : start + part.kernel_size, start : start + part.kernel_size]
    found = {f"{name}/kernel": weight}
    vector = (part.out_channels,)
    if part.bias:
        found[f"{name}/bias"] = given.take(f"{base}.bias", vector)
    if part.norm:
        found.update({f"{name}/{ours}": given.take(f"{norm}.{theirs}", vector) for ours, theirs in _NORM.items()})
    return found


class _Reader:
    """Hands out tensors by plain name, and keeps account of what is missing, misshapen and left over.

    Attributes:
      ignored: Names that may be left over.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._given = {plain(key): np.asarray(value) for key, value in tensors.items()}
        self.ignored: set[str] = set()
        self._missing: list[str] = []
        self._misshapen: list[str] = []
        self._used: set[str] = set()

    def side(self, key: str) -> int:
        """Returns the last side of a tensor; 0 if there is none."""
        return int((self._given[key].shape or (0,))[-1]) if key in self._given else 0

    def take(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
        """Returns a tensor of a shape; zeros, and a note, if it is absent or of another one."""
        self._used.add(key)
        if key not in self._given:
            self._missing.append(key)
            return np.zeros(shape, np.float32)
        value = self._given[key]
        if value.shape != shape:
            self._misshapen.append(f"{key} {value.shape} instead of {shape}")
            return np.zeros(shape, np.float32)
        return value.astype(np.float32)

    def finish(self) -> None:
        """Raises ``MismatchError`` that names what was missing or misshapen, and what is left over."""
        rest = self._given.keys() - self._used - self.ignored
        left = sorted(key for key in rest if not key.endswith("num_batches_tracked"))
        count = len(self._missing) + len(self._misshapen) + len(left)
        # So many are not damaged, but of another width or family: a few of each kind tell.
        most = 3 if count > len(self._used) / 2 else count
        said = [
            f"{what} {_listed(names, most)}"
            for what, names in (
                ("lacks", _grouped(self._missing, self._given)),
                ("has misshapen", self._misshapen),
                ("has no place here for", _grouped(left, self._used)),
            )
            if names
        ]
        if said:
            raise MismatchError(
                f"The checkpoint {', '.join(said)}; it is truncated or of another network.",
                count=count,
            )


def _grouped(keys: Sequence[str], others: Iterable[str]) -> list[str]:
    """The keys; those of a block of which ``others`` has none at all as ``blocks.20.* (24 tensors)``."""
    known = {match[0] for key in others if (match := _PART.match(key))}
    groups = collections.Counter(match[0] for key in keys if (match := _PART.match(key)) and match[0] not in known)
    apart = [key for key in keys if not (match := _PART.match(key)) or match[0] not in groups]
    return [*(f"{group}* ({count} tensors)" for group, count in groups.items()), *apart]


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
