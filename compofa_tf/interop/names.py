"""The names that the published PyTorch checkpoints give to the weights of a space. Needs NumPy only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space import Space
from compofa_tf.units import Kernel, Unit

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
    block = -1
    for slot in space.slots:
        units = [unit for unit in slot.options if unit is not None]
        in_block = slot.name == "first" or slot in space.elastic_slots or len(slot.settings[0] or ()) > 0
        block += in_block
        for kernel in units[-1].kernels:
            base = _base(units[-1], block if in_block else None, kernel)
            size = max(k.size for unit in units for k in unit.kernels if k.part == kernel.part)
            state.update(_tensors(f"{slot.name}/{kernel.part}", base, kernel, size, given))
            if (
                kernel.kind == "depthwise"
                and len({unit.kernels for unit in units})
                and space.kernel == "elastic"
                and slot.elastic
            ):
                for name in ("7to5", "5to3"):
                    state[f"{slot.name}/{kernel.part}/{name}"] = _take(given, f"{base}.{name}_matrix")
    return state


def _tensors(name: str, base: str, kernel: Kernel, size: int, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    weight = _take(given, f"{base}.weight")
    if kernel.kind == "dense":
        weight = weight.T
    else:
        weight = weight.transpose((2, 3, 0, 1) if kernel.kind == "depthwise" else (2, 3, 1, 0))
        start = (weight.shape[0] - size) // 2
        weight = weight[start : start + size, start : start + size]
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
