"""The tensors that a published PyTorch checkpoint of a space has, and the weights they become. Needs NumPy only."""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.published import networks
from compofa_tf.published.networks.network import CheckpointNames
from compofa_tf.space import Arch, Space
from compofa_tf.space.units import Part, Unit

COUNTER = "num_batches_tracked"
"""End of the keys of PyTorch's batch counters, which are no weights."""

_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_AXES = {"conv": (2, 3, 1, 0), "depthwise": (2, 3, 0, 1), "dense": (1, 0)}
"""Where the axes of a Keras kernel stand in PyTorch's."""

_DOUBLED = re.compile(r"\.(conv|bn|linear)(?:\.\1)+(?=\.)")
_ITEM = re.compile(r"\w+\.\d+\.")
_MATRIX = re.compile(r"\.\d+to\d+_matrix$")


def plain(key: str) -> str:
    """Returns a key without the repetitions that nested PyTorch layers add (``conv.conv.weight``, ``bn.bn.weight``)."""
    return _DOUBLED.sub(r".\1", key)


def weight_key(base: str) -> str:
    """Returns the key of the weight of a part whose keys begin with ``base``."""
    return plain(f"{base}.weight")


def weight_shape(part: Part, kernel_size: int | None = None) -> tuple[int, ...]:
    """Returns the shape ``[out, in, height, width]`` of the weight of a part; of a matrix without the last two.

    Args:
      part: The part.
      kernel_size: Side of the kernel in the checkpoint, if it is another than that of the part.
    """
    side = kernel_size or part.kernel_size
    shape = (part.out_channels, 1 if part.kind == "depthwise" else part.in_channels)
    return shape if part.kind == "dense" else (*shape, side, side)


def central(size: int, within: int) -> slice:
    """Returns where the central ``size`` of ``within`` entries lie: a smaller kernel in a larger one."""
    start = (within - size) // 2
    return slice(start, start + size)


@dataclass(frozen=True)
class PublishedTensor:
    """One tensor of a checkpoint.

    Attributes:
      name: The stable name of the weight that it becomes.
      key: Its own, without repetitions.
      shape: Its shape.
      axes: Where the axes of the weight stand in it.
      kernel_size: Side of the weight's kernel, the centre of that of the tensor; 0 if it is no convolution.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    kernel_size: int = 0

    def weight(self, value: np.ndarray) -> np.ndarray:
        """Returns the weight that the tensor holds."""
        turned = value.transpose(self.axes)
        if not self.kernel_size:
            return turned
        centre = central(self.kernel_size, len(turned))
        return turned[centre, centre]


def bases(names: CheckpointNames, units: Iterable[Unit]) -> Iterator[dict[str, str]]:
    """Yields for each of the units that follow one another how the keys of its parts begin, by name of the part."""
    counts = collections.defaultdict[str, Iterator[int]](itertools.count)
    for unit in units:
        patterns = {part.name: names.pattern(unit, part.name) for part in unit.parts}
        numbers = {listed: next(counts[listed]) for listed in {list_of(pattern) for pattern in patterns.values()}}
        yield {part: pattern.format(numbers[list_of(pattern)]) for part, pattern in patterns.items()}


def list_of(pattern: str) -> str:
    """Returns the beginning of the names of a list, up to the number."""
    return pattern.partition("{}")[0]


def published_tensors(
    space: Space, *, arch: Arch | None = None, largest_kernels: bool = False
) -> Iterator[PublishedTensor]:
    """Yields the tensors of a checkpoint of a space in the order in which they are used, without batch counters.

    Args:
      space: The space; its family has published names.
      arch: The subnet, if the checkpoint is that of an extracted one; else it is that of the supernet.
      largest_kernels: Whether the depthwise kernels of the stages are as large as those of the elastic space although
        the space has fixed ones, as in the supernets of CompOFA.
    """
    for unit, part, base, sides in _parts(space, arch):
        name = f"{unit.name}/{part.name}"
        yield from _tensors_of(part, name, base, sides[0] if sides and largest_kernels else part.kernel_size)
        if space.kernel == "elastic" and arch is None:
            for key, matrix, smaller in _matrices_of(base, sides):
                yield PublishedTensor(f"{name}/{matrix}", key, (smaller**2, smaller**2), (0, 1))


def _parts(space: Space, arch: Arch | None = None) -> Iterator[tuple[Unit, Part, str, tuple[int, ...]]]:
    """All parts, how their keys begin, and what the depthwise kernels of the stages may measure, falling."""
    units = [slot.options[-1] for slot in space.slots] if arch is None else space.units(arch)
    present = [unit for unit in units if unit is not None]
    stages = (stage for stage in space.stages for _ in stage.specs)
    sides = {slot.name: tuple(sorted(stage.kernels, reverse=True)) for slot, stage in zip(space.stage_slots, stages)}
    for unit, found in zip(present, bases(networks.of(space.family).checkpoints, present)):
        for part in unit.parts:
            yield unit, part, found[part.name], sides.get(unit.name, ()) if part.kind == "depthwise" else ()


def _tensors_of(part: Part, name: str, base: str, kernel_size: int) -> Iterator[PublishedTensor]:
    shape, crop = weight_shape(part, kernel_size), 0 if part.kind == "dense" else part.kernel_size
    yield PublishedTensor(f"{name}/kernel", weight_key(base), shape, _AXES[part.kind], crop)
    vector = (part.out_channels,)
    if part.bias:
        yield PublishedTensor(f"{name}/bias", plain(f"{base}.bias"), vector, (0,))
    if part.norm:
        norm = base.removesuffix("conv") + "bn"
        for ours, theirs in _NORM.items():
            yield PublishedTensor(f"{name}/{ours}", plain(f"{norm}.{theirs}"), vector, (0,))


def _matrices_of(base: str, sides: tuple[int, ...]) -> Iterator[tuple[str, str, int]]:
    """Key, name and smaller side of the kernel matrices of a depthwise kernel."""
    for larger, smaller in itertools.pairwise(sides):
        yield f"{base}.{larger}to{smaller}_matrix", f"{larger}to{smaller}", smaller


def has_matrices(tensors: Mapping[str, np.ndarray]) -> bool:
    """Returns whether a checkpoint has kernel matrices."""
    return any(_MATRIX.search(key) for key in tensors)


def with_matrices(space: Space, tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Returns the tensors with kernel matrices for a space of elastic kernels, if they have none: identities.

    The smaller kernels of such a file are the centres of its largest ones, as the published code has it without
    transforms.
    """
    if space.kernel == "fixed" or has_matrices(tensors):
        return tensors
    added = {
        key: np.eye(smaller**2, dtype=np.float32)
        for _, _, base, sides in _parts(space)
        for key, _, smaller in _matrices_of(base, sides)
        if weight_key(base) in tensors
    }
    return {**tensors, **added}


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
    """Returns the weights of a supernet, or of one subnet alone, from those of a published checkpoint of its family.

    Axes are turned from PyTorch's to Keras's; fixed kernels take the centre of the published 7 x 7 ones, as the
    authors' evaluation does. Kernel matrices of a space with fixed kernels and batch counters are left out.

    Args:
      space: The space that the checkpoint belongs to.
      tensors: Arrays by PyTorch key, doubled or plain.
      arch: The subnet, if the checkpoint is that of an extracted one.

    Returns:
      Arrays by stable name, for ``Supernet.set_state``; of a subnet, with the sizes that it has.

    Raises:
      MismatchError: If keys are missing, misshapen or left over; they are named.
      InputError: If the family has no published names.
    """
    given = _Reader(tensors)
    cropped = arch is None and space.kernel == "fixed"
    if cropped:
        given.ignored = {key for _, _, base, sides in _parts(space) for key, _, _ in _matrices_of(base, sides)}
    wanted = published_tensors(space, arch=arch, largest_kernels=cropped and _has_largest_kernels(space, given))
    state = {tensor.name: tensor.weight(given.take(tensor.key, tensor.shape)) for tensor in wanted}
    given.finish()
    return state


def _has_largest_kernels(space: Space, given: _Reader) -> bool:
    """Whether the depthwise kernels of the stages are the largest ones: all are (in supernets, teachers) or none."""
    fits = [given.side(weight_key(base)) == sides[0] for _, _, base, sides in _parts(space) if sides]
    return sum(fits) > len(fits) / 2


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
        left = sorted(key for key in rest if not key.endswith(COUNTER))
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
    known = {match[0] for key in others if (match := _ITEM.match(key))}
    groups = collections.Counter(match[0] for key in keys if (match := _ITEM.match(key)) and match[0] not in known)
    apart = [key for key in keys if not (match := _ITEM.match(key)) or match[0] not in groups]
    return [*(f"{group}* ({count} tensors)" for group, count in groups.items()), *apart]


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
