"""The names that the published PyTorch checkpoints give to the weights of a space. Needs NumPy only."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space import Space
from compofa_tf.units import BlockUnit, Kernel, Unit

_PARTS = {
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
}
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def plain(key: str) -> str:
    """Returns a key without the doubling that elastic PyTorch layers add (``conv.conv.weight``, ``bn.bn.weight``)."""
    for word in ("conv", "bn", "linear"):
        key = key.replace(f".{word}.{word}.", f".{word}.")
    return key


def _base(unit: Unit, block: int | None, kernel: Kernel) -> str:
    if block is None:
        return _UNITS[unit.name]
    return f"blocks.{block}.mobile_inverted_conv.{_PARTS[kernel.part]}"


def state_from_torch(space: Space, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the weights of a supernet from those of a published checkpoint of its family.

    Axes are turned from PyTorch's to Keras's; fixed kernels take the centre of the published 7 x 7 ones, as the
    authors' evaluation does. Kernel matrices of a space with fixed kernels and batch counters are left out.

    Args:
      space: The space that the checkpoint belongs to.
      tensors: Arrays by PyTorch key, doubled or plain.

    Returns:
      Arrays by stable name, for ``Supernet.set_state``.

    Raises:
      InputError: If keys are missing or left over; they are named.
    """
    given = _Reader(tensors)
    state: dict[str, np.ndarray] = {}
    blocks = itertools.count()
    for slot in space.slots:
        units = [unit for unit in slot.options if unit is not None]
        block = next(blocks) if isinstance(units[-1], BlockUnit) else None
        state.update(_unit_tensors(units, block, given))
    given.finish()
    return state


def unit_from_torch(unit: Unit, block: int | None, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the weights of one unit from those of an extracted subnet; ``block`` is its number there."""
    given = _Reader(tensors)
    state = _unit_tensors([unit], block, given)
    given.finish(allow_rest=True)
    return state


def _unit_tensors(units: Sequence[Unit], block: int | None, given: _Reader) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}
    largest = units[-1]
    for kernel in largest.kernels:
        name, base = f"{largest.name}/{kernel.part}", _base(largest, block, kernel)
        state.update(_tensors(name, base, kernel, given))
        sizes = sorted({k.size for unit in units for k in unit.kernels if k.part == kernel.part}, reverse=True)
        for larger, smaller in itertools.pairwise(sizes):
            matrix = f"{larger}to{smaller}"
            state[f"{name}/{matrix}"] = given.take(f"{base}.{matrix}_matrix", rank=2)
    return state


def _tensors(name: str, base: str, kernel: Kernel, given: _Reader) -> dict[str, np.ndarray]:
    weight = given.take(f"{base}.weight", rank=2 if kernel.kind == "dense" else 4)
    if kernel.kind == "dense":
        weight = weight.T
    else:
        weight = weight.transpose((2, 3, 0, 1) if kernel.kind == "depthwise" else (2, 3, 1, 0))
        start = (weight.shape[0] - kernel.size) // 2
        weight = weight[start : start + kernel.size, start : start + kernel.size]
    found = {f"{name}/kernel": weight}
    if kernel.bias:
        found[f"{name}/bias"] = given.take(f"{base}.bias", rank=1)
    if kernel.norm:
        norm = base.removesuffix("conv") + "bn"
        found.update({f"{name}/{ours}": given.take(f"{norm}.{theirs}", rank=1) for ours, theirs in _NORM.items()})
    return found


class _Reader:
    """Hands out tensors by plain name, and keeps account of what is missing and what is left over."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._given = {plain(key): value for key, value in tensors.items()}
        self._missing: list[str] = []
        self._misshapen: list[str] = []
        self._used: set[str] = set()

    def take(self, key: str, *, rank: int) -> np.ndarray:
        """Returns a tensor; one that is absent or of another rank is remembered, and an empty one returned."""
        value = np.asarray(self._given.get(key, np.zeros((0,) * rank)), np.float32)
        if key not in self._given:
            self._missing.append(key)
        elif value.ndim != rank:
            self._misshapen.append(f"{key} {value.shape}")
            value = np.zeros((0,) * rank, np.float32)
        self._used.add(key)
        return value

    def finish(self, *, allow_rest: bool = False) -> None:
        """Raises ``InputError`` if something was missing or, unless it is allowed, is left over."""
        ignored = ("num_batches_tracked", "_matrix")
        rest = sorted(key for key in self._given.keys() - self._used if not key.endswith(ignored))
        for what, names in (
            ("lacks", self._missing),
            ("has misshapen", self._misshapen),
            ("has no place here for", [] if allow_rest else rest),
        ):
            if names:
                shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                raise InputError(f"The checkpoint {what} {shown}; it is truncated or of another network.")
