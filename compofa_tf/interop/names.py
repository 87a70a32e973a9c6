"""The names that the published PyTorch checkpoints give to the weights of a space. Needs NumPy only."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

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
    """Returns the weights of a supernet from those of a published MobileNetV3 checkpoint.

    Axes are turned from PyTorch's to Keras's; fixed kernels take the centre of the published 7 x 7 ones, as the
    authors' evaluation does.

    Args:
      space: The space that the checkpoint belongs to.
      tensors: Arrays by PyTorch key, doubled or plain.

    Returns:
      Arrays by stable name, for ``Supernet.set_state``.

    Raises:
      InputError: If a key is missing.
    """
    given = {plain(key): value for key, value in tensors.items()}
    state: dict[str, np.ndarray] = {}
    blocks = itertools.count()
    for slot in space.slots:
        units = [unit for unit in slot.options if unit is not None]
        largest = units[-1]
        block = next(blocks) if isinstance(largest, BlockUnit) else None
        for kernel in largest.kernels:
            name, base = f"{slot.name}/{kernel.part}", _base(largest, block, kernel)
            state.update(_tensors(name, base, kernel, given))
            sizes = sorted({k.size for unit in units for k in unit.kernels if k.part == kernel.part}, reverse=True)
            for larger, smaller in itertools.pairwise(sizes):
                matrix = f"{larger}to{smaller}"
                state[f"{name}/{matrix}"] = _take(given, f"{base}.{matrix}_matrix")
    return state


def _tensors(name: str, base: str, kernel: Kernel, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    weight = _take(given, f"{base}.weight")
    if kernel.kind == "dense":
        weight = weight.T
    else:
        weight = weight.transpose((2, 3, 0, 1) if kernel.kind == "depthwise" else (2, 3, 1, 0))
        start = (weight.shape[0] - kernel.size) // 2
        weight = weight[start : start + kernel.size, start : start + kernel.size]
    found = {f"{name}/kernel": weight}
    if kernel.bias:
        found[f"{name}/bias"] = _take(given, f"{base}.bias")
    if kernel.norm:
        norm = base.removesuffix("conv") + "bn"
        found.update({f"{name}/{ours}": _take(given, f"{norm}.{theirs}") for ours, theirs in _NORM.items()})
    return found


def _take(given: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    if key not in given:
        raise InputError(f"The checkpoint has no {key}; it is truncated or of another network.")
    return np.asarray(given[key], np.float32)
