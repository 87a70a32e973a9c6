"""Extracted subnets: which member of a space a checkpoint is, and its weights in place. Needs NumPy only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.interop.names import state_from_torch
from compofa_tf.space import Arch, Space
from compofa_tf.stages import InvertedStage, ResidualStage, ResidualStem, Stage
from compofa_tf.units import make_divisible

_BLOCK = re.compile(r"blocks\.(\d+)\.(?:mobile_inverted_conv|conv1)\.")


class _Block(NamedTuple):
    """What the tensors of a block tell: channels, kernel, and whether there is a convolution in its shortcut."""

    reads: int
    middle: int
    writes: int
    kernel: int
    starts: bool


_Found = tuple[int, list[float], list[int], list[int]]
"""Depth, expand ratios, kernels and width choices of a stage."""


def static_arch(space: Space, tensors: Mapping[str, np.ndarray], *, resolution: int = 224) -> Arch | None:
    """Returns the member that an extracted subnet is, or None if the tensors are those of a whole supernet.

    Raises:
      InputError: If it is no member of the space.
    """
    numbers = sorted({int(match[1]) for name in tensors if (match := _BLOCK.match(name))})
    if isinstance(space.stages[0], InvertedStage):
        rest = [_inverted(tensors, block) for block in numbers[1:]]
    else:
        rest = [_residual(tensors, block) for block in numbers]
    depths, expands, kernels, widths = [], [], [], []
    for stage in space.stages:
        depth, ratios, sides, chosen = _take(space, stage, rest, tensors)
        spare = [0] * (stage.blocks - len(ratios))
        depths.append(depth)
        expands += [*ratios, *spare]
        kernels += [*sides, *spare]
        widths += chosen
    if rest:
        raise InputError(f"The blocks of this checkpoint are not those of a member of {space!r}.")
    largest = space.largest(resolution)
    if (tuple(depths), tuple(expands), tuple(widths)) == (largest.depths, largest.expands, largest.widths):
        return None
    return space.arch(depths=depths, expands=expands, kernels=kernels, widths=widths, resolution=resolution)


def _take(space: Space, stage: Stage, rest: list[_Block], tensors: Mapping[str, np.ndarray]) -> _Found:
    """Takes the blocks of a stage from the front of the list: the first of the next stage changes the width."""
    if isinstance(stage, ResidualStem):
        middle, *between, last = _stem(tensors)
        found = _index(stage.middles, middle), _index(stage.widths, last)
        depth = 2 if between else 0 if space.coupling == "independent" else stage.depths[found[1]]
        return depth, [], [], list(found)
    kept = [rest.pop(0)] if rest else []
    while kept and rest and not rest[0].starts and rest[0].reads == rest[0].writes == kept[0].writes:
        kept.append(rest.pop(0))
    ratios: list[float] = []
    falling = sorted(stage.expands, reverse=True)
    for block in kept:
        of = block.reads if isinstance(stage, InvertedStage) else block.writes
        ratios.append(next((r for r in falling if make_divisible(round(of * r)) == block.middle), 0))
    sides = [block.kernel for block in kept]
    if isinstance(stage, ResidualStage):
        return len(kept) - stage.base, ratios, sides, [_index(stage.widths, kept[0].writes if kept else 0)]
    if kept and kept[0].writes != stage.out_channels(None):
        raise InputError(f"The blocks of this checkpoint are not those of a member of {space!r}.")
    return len(kept), ratios, sides, []


def _index(options: tuple[int, ...], channels: int) -> int:
    """Returns the last option that has these channels: narrow families have several."""
    if channels not in options:
        raise InputError(f"A stage of this checkpoint has {channels} channels, where its space has {options}.")
    return len(options) - 1 - options[::-1].index(channels)


def _stem(tensors: Mapping[str, np.ndarray]) -> list[int]:
    """Channels that the convolutions of the stem of a ResNet write."""
    names = [f"input_stem.{number}.conv.weight" for number in range(3)]
    return [_shape(tensors, name)[0] for name in names if name in tensors or name != names[2]]


def _inverted(tensors: Mapping[str, np.ndarray], block: int) -> _Block:
    parts = ("inverted_bottleneck", "depth_conv", "point_linear")
    expand, depth, project = (
        _shape(tensors, f"blocks.{block}.mobile_inverted_conv.{part}.conv.weight") for part in parts
    )
    return _Block(expand[1], expand[0], project[0], depth[-1], False)


def _residual(tensors: Mapping[str, np.ndarray], block: int) -> _Block:
    first, middle, last = (_shape(tensors, f"blocks.{block}.conv{number}.conv.weight") for number in (1, 2, 3))
    return _Block(first[1], first[0], last[0], middle[-1], f"blocks.{block}.downsample.conv.weight" in tensors)


def _shape(tensors: Mapping[str, np.ndarray], name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise InputError(f"The checkpoint lacks {name}; it is truncated or of another network.")
    shape = tensors[name].shape
    if len(shape) != 4:
        raise InputError(f"The checkpoint has misshapen {name} {shape}; it is damaged or of another network.")
    return shape


def place(tensors: Mapping[str, np.ndarray], space: Space, *, given: bool) -> tuple[Space, Arch | None]:
    """Returns the space, and the member if the tensors are those of one alone: then perhaps of a larger space."""
    larger = (
        []
        if given or space.width_spans[-1].stop
        else [{"kernel": "elastic"}, {"kernel": "elastic", "coupling": "independent"}]
    )
    spaces = [space, *(families.get(space.family, **{**space.settings, **changes}) for changes in larger)]
    for number, candidate in enumerate(spaces, start=1):
        try:
            return candidate, static_arch(candidate, tensors)
        except InputError:
            if number == len(spaces):
                raise
    raise AssertionError("unreachable")


def embedded(net: Any, arch: Arch, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of one member in a supernet that is zero elsewhere (variances one, kernel transforms identity)."""
    state = {
        name: value if name.endswith(("moving_variance", "7to5", "5to3")) else np.zeros_like(value)
        for name, value in net.get_state().items()
    }
    state.update({name: np.ones_like(value) for name, value in state.items() if name.endswith("moving_variance")})
    for name, value in state_from_torch(net.space, tensors, arch=arch).items():
        target = state[name]
        place = [slice(0, size) for size in value.shape]
        if name.endswith("/depth/kernel"):  # a small kernel is the centre of the large one
            start = (target.shape[0] - value.shape[0]) // 2
            place[:2] = [slice(start, start + value.shape[0])] * 2
        target[tuple(place)] = value
    return state
