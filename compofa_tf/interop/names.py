"""The names that the published PyTorch checkpoints give to the weights of a space. Needs NumPy only."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space import Arch, Space
from compofa_tf.units import BlockUnit, Kernel, ResidualUnit, Unit

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
_DOUBLED = re.compile(r"\.(conv|bn|linear)(?:\.\1)+(?=\.)")


def plain(key: str) -> str:
    """Returns a key without the repetitions that nested PyTorch layers add (``conv.conv.weight``, ``bn.bn.weight``)."""
    return _DOUBLED.sub(r".\1", key)


def _base(unit: Unit, block: int | None, kernel: Kernel, *, short_stem: bool = False) -> tuple[str, str]:
    """How the keys of a kernel and of its batch norm begin; without its residual part the stem counts to 1."""
    if isinstance(unit, BlockUnit):
        base = f"blocks.{block}.mobile_inverted_conv.{_INVERTED[kernel.part]}"
    elif isinstance(unit, ResidualUnit):
        base = f"blocks.{block}.{kernel.part}.conv"
    else:
        base = "input_stem.1.conv" if short_stem and unit.name == "stem_out" else _UNITS[unit.name]
    return base, _NORMS.get(unit.name, base.removesuffix("conv") + "bn")


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
    for units in places:
        block = next(blocks) if isinstance(units[-1], BlockUnit | ResidualUnit) else None
        state.update(_unit_tensors(units, block, given, short_stem="stem_residual" not in names))
    given.finish()
    return state


def _unit_tensors(
    units: Sequence[Unit], block: int | None, given: _Reader, *, short_stem: bool
) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}
    largest = units[-1]
    for kernel in largest.kernels:
        name, (base, norm) = f"{largest.name}/{kernel.part}", _base(largest, block, kernel, short_stem=short_stem)
        state.update(_tensors(name, base, norm, kernel, given))
        sizes = sorted({k.size for unit in units for k in unit.kernels if k.part == kernel.part}, reverse=True)
        for larger, smaller in itertools.pairwise(sizes):
            matrix = f"{larger}to{smaller}"
            state[f"{name}/{matrix}"] = given.take(f"{base}.{matrix}_matrix", (smaller**2,) * 2)
    return state


def _tensors(name: str, base: str, norm: str, kernel: Kernel, given: _Reader) -> dict[str, np.ndarray]:
    sizes = (kernel.out_channels, 1 if kernel.kind == "depthwise" else kernel.in_channels)
    if kernel.kind == "dense":
        weight = given.take(f"{base}.weight", sizes).T
    else:
        weight = given.take(f"{base}.weight", (*sizes, kernel.size, kernel.size), larger=kernel.kind == "depthwise")
        weight = weight.transpose((2, 3, 0, 1) if kernel.kind == "depthwise" else (2, 3, 1, 0))
        start = (weight.shape[0] - kernel.size) // 2
        weight = weight[start : start + kernel.size, start : start + kernel.size]
    found = {f"{name}/kernel": weight}
    vector = (kernel.out_channels,)
    if kernel.bias:
        found[f"{name}/bias"] = given.take(f"{base}.bias", vector)
    if kernel.norm:
        found.update({f"{name}/{ours}": given.take(f"{norm}.{theirs}", vector) for ours, theirs in _NORM.items()})
    return found


class _Reader:
    """Hands out tensors by plain name, and keeps account of what is missing, misshapen and left over."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._given = {plain(key): np.asarray(value) for key, value in tensors.items()}
        self._missing: list[str] = []
        self._misshapen: list[str] = []
        self._used: set[str] = set()

    def take(self, key: str, shape: tuple[int, ...], *, larger: bool = False) -> np.ndarray:
        """Returns a tensor of a shape; zeros, and a note, if it is absent or of another one.

        With ``larger`` the last two sides may be larger by the same even number: a kernel that is to be cropped.
        """
        self._used.add(key)
        if key not in self._given:
            self._missing.append(key)
            return np.zeros(shape, np.float32)
        value = self._given[key]
        fits = value.shape == shape
        if larger and value.ndim == len(shape) and value.shape[:-2] == shape[:-2]:
            height, width = value.shape[-2:]
            fits = height == width >= shape[-1] and (height - shape[-1]) % 2 == 0
        if not fits:
            self._misshapen.append(f"{key} {value.shape} instead of {shape}")
            return np.zeros(shape, np.float32)
        return value.astype(np.float32)

    def finish(self) -> None:
        """Raises ``InputError`` if something was missing, misshapen or is left over."""
        ignored = ("num_batches_tracked", "_matrix")
        rest = sorted(key for key in self._given.keys() - self._used if not key.endswith(ignored))
        for what, names in (
            ("lacks", self._missing),
            ("has misshapen", self._misshapen),
            ("has no place here for", rest),
        ):
            if names:
                shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                raise InputError(f"The checkpoint {what} {shown}; it is truncated or of another network.")
