"""Sorting the middle channels of blocks by importance: narrower subnets keep the channels that matter. NumPy only.

A narrower subnet uses the first middle channels of a block. Before expand ratios are trained, Once-for-All puts the
most important ones first (arXiv:1908.09791, section 3.3, "elastic width"); the published CompOFA code does the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space import Space
from compofa_tf.space.units import BlockUnit

__all__ = ["channel_order", "check_skipped", "sort_channels"]

_VECTORS = ("gamma", "beta", "moving_mean", "moving_variance", "bias")


def sort_channels(space: Space, state: Mapping[str, np.ndarray], *, skipped: int = 0) -> dict[str, np.ndarray]:
    """Returns the weights with the middle channels of every block in the order of ``channel_order``.

    Moved together: the outputs of the expansion and its batch norm, the depthwise kernels and their batch norm, the
    outputs and biases of the second squeeze-and-excite convolution, the inputs of the first one, and the inputs of the
    projection. Then the hidden units of squeeze-and-excite are sorted in the same way, by the sum of the absolute
    weights that read them. The largest subnet computes what it did before, up to rounding; narrower ones change.

    Args:
      space: The space.
      state: Every variable by stable name, as ``Supernet.get_state`` gives them.
      skipped: See ``channel_order``.

    Returns:
      New arrays under the same names, for ``Supernet.set_state``.

    Raises:
      InputError: If the space has blocks of another kind, or too few expand ratios to skip so many.
    """
    check_skipped(space, skipped)
    found = dict(state)
    for name, widths in _blocks(space):
        order = channel_order(found[f"{name}/project/kernel"], widths, skipped=skipped)
        _permute(found, name, order, outputs=("expand", "restore"), depthwise=("depth",), inputs=("reduce", "project"))
        if f"{name}/restore/kernel" in found:
            hidden = np.argsort(-_importance(found[f"{name}/restore/kernel"]), kind="stable")
            _permute(found, name, hidden, outputs=("reduce",), inputs=("restore",))
    return found


def channel_order(project: np.ndarray, widths: tuple[int, ...], *, skipped: int = 0) -> np.ndarray:
    """Returns the order of the middle channels of one block: entry ``i`` is the channel that comes to place ``i``.

    The importance of a channel is the sum of the absolute projection weights that read it; channels are sorted by
    falling importance, equal ones keep their order. With ``skipped`` widths only the channels within the next width are
    sorted; those beyond it stay at the end in the order that they have: they are the ones of ratios that an earlier
    phase has trained.

    Args:
      project: Projection kernel ``[1, 1, middle, out]``.
      widths: Middle channels of each expand ratio, falling; the first is ``middle``.
      skipped: How many of the largest widths are skipped, 0 to ``len(widths) - 1``; a block of fewer widths sorts those
        within its smallest.

    Returns:
      int ``[middle]``, a permutation.
    """
    importance = _importance(project)
    if skipped > 0:
        kept = widths[min(skipped, len(widths) - 1)]
        importance[kept:] = -np.arange(len(importance) - kept, dtype=np.float64)
    return np.argsort(-importance, kind="stable")


def check_skipped(space: Space, skipped: int) -> None:
    """Raises ``InputError`` unless ``sort_channels`` can skip so many of the expand ratios of a space."""
    if not all(isinstance(slot.options[-1], BlockUnit) for slot in space.stage_slots):
        raise InputError(
            "Only the middle channels of inverted bottlenecks can be sorted; leave sort_channels at none in this "
            f"family. Received: space={space!r}"
        )
    most = max(len(set(stage.expands)) for stage in space.stages) - 1
    if isinstance(skipped, bool) or not isinstance(skipped, (int, np.integer)) or not 0 <= skipped <= most:
        raise InputError(
            f"Channel sorting can skip 0 to {most} of the largest expand ratios, the ratios of this space less 1. "
            f"Received: skipped={skipped!r}"
        )


def _blocks(space: Space) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name of every block of the full-depth network, and its middle channels for each expand ratio, falling."""
    for position, stage in enumerate(space.stages):
        ratios = sorted(set(stage.expands), reverse=True)
        for spec in stage.specs:
            name = f"{space.stage_name(position)}_{spec.name}"
            units = (stage.unit(name, spec, ratio, stage.kernel, ()) for ratio in ratios)
            yield name, tuple(unit.middle for unit in units if isinstance(unit, BlockUnit))


def _importance(kernel: np.ndarray) -> np.ndarray:
    """Sum of absolute weights for each input channel of a 1x1 kernel, float64 ``[in_channels]``."""
    return np.abs(kernel, dtype=np.float64).sum((0, 1, 3))


def _permute(
    state: dict[str, np.ndarray],
    name: str,
    order: np.ndarray,
    *,
    outputs: tuple[str, ...] = (),
    depthwise: tuple[str, ...] = (),
    inputs: tuple[str, ...] = (),
) -> None:
    """Reorders the named axis of the parts' kernels; of outputs and depthwise kernels also the vectors that follow."""
    axes = [*((part, 3) for part in outputs), *((part, 2) for part in (*depthwise, *inputs))]
    for part, axis in axes:
        if f"{name}/{part}/kernel" in state:
            state[f"{name}/{part}/kernel"] = np.take(state[f"{name}/{part}/kernel"], order, axis)
    for part in (*outputs, *depthwise):
        for vector in _VECTORS:
            if f"{name}/{part}/{vector}" in state:
                state[f"{name}/{part}/{vector}"] = state[f"{name}/{part}/{vector}"][order]
