"""Extracted subnets: which member of a space a checkpoint is, and its weights in place. Needs NumPy only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.published.torch_names import MismatchError, first_block, state_from_torch
from compofa_tf.space import Arch, Space
from compofa_tf.space.stages import InvertedStage, ResidualStage, ResidualStem, Stage
from compofa_tf.space.units import make_divisible

_BLOCK = re.compile(r"blocks\.(\d+)\.(?:mobile_inverted_conv|conv1)\.")


class _Block(NamedTuple):
    """What the tensors of a block tell: channels, kernel, and whether there is a convolution in its shortcut."""

    reads: int
    middle: int
    writes: int
    kernel: int
    starts: bool


def static_arch(space: Space, tensors: Mapping[str, np.ndarray], *, resolution: int = 224) -> Arch:
    """Returns the member that has the blocks of a checkpoint.

    Raises:
      InputError: If no member of the space has.
    """
    numbers = sorted({int(match[1]) for name in tensors if (match := _BLOCK.match(name))})
    kind = _inverted if any(isinstance(stage, InvertedStage) for stage in space.stages) else _residual
    rest = [kind(tensors, block) for block in numbers[first_block(space) :]]
    depths, expands, kernels, widths = [], [], [], []
    for stage in space.stages:
        kept = [] if isinstance(stage, ResidualStem) else _take(stage, rest)
        depth, ratios, chosen = _choices(space, stage, kept, _stem(tensors) if isinstance(stage, ResidualStem) else [])
        spare = [0] * (stage.blocks - len(kept))
        depths.append(depth)
        expands += [*ratios, *spare]
        kernels += [*(block.kernel for block in kept), *spare]
        widths += chosen
    if rest:
        raise InputError(f"The blocks of this checkpoint are not those of a member of {space!r}.")
    return space.arch(depths=depths, expands=expands, kernels=kernels, widths=widths, resolution=resolution)


def _take(stage: Stage, rest: list[_Block]) -> list[_Block]:
    """Takes the blocks of a stage from the front of the list: the first of the next stage changes the width."""
    kept = [rest.pop(0)] if rest else []
    while rest and len(kept) < stage.blocks and not rest[0].starts:
        if not rest[0].reads == rest[0].writes == kept[0].writes:
            break
        kept.append(rest.pop(0))
    return kept


def _choices(space: Space, stage: Stage, kept: list[_Block], stem: list[int]) -> tuple[int, list[Any], list[int]]:
    """The depth, expand ratios and width choices that a stage of these sizes has; of equal ones the largest."""
    for depth in sorted(stage.depths, reverse=True):
        places = [place for place in stage.specs if place.needs <= depth]
        if len(places) != len(stem) + 1 if stem else not kept or stage.kept_blocks(depth) != len(kept):
            continue
        expands, _ = space.allowed(stage, depth)
        of = [block.reads if isinstance(stage, InvertedStage) else block.writes for block in kept]
        ratios = [
            next((r for r in sorted(expands, reverse=True) if make_divisible(round(n * r)) == block.middle), None)
            for n, block in zip(of, kept)
        ]
        sizes = [stem[0], stem[-1]] if stem else [kept[0].writes]
        options = [stage.middles, stage.widths] if isinstance(stage, ResidualStem) else [_widths(stage)]
        widths = [
            next((w for w in sorted(allowed, reverse=True) if channels[w] == size), None)
            for size, channels, allowed in zip(sizes, options, space.allowed_widths(stage, depth) or [(0,)])
        ]
        if None not in ratios and None not in widths:
            return depth, ratios, [w for w in widths if w is not None] if stage.width_counts else []
    raise InputError(f"The blocks of this checkpoint are not those of a member of {space!r}.")


def _widths(stage: Stage) -> tuple[int, ...]:
    return stage.widths if isinstance(stage, ResidualStage) else (stage.out_channels(None),)


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
    shape = tensors[name].shape if name in tensors else None
    if shape is None or len(shape) != 4:
        wrong = f"lacks {name}" if shape is None else f"has misshapen {name} {shape}"
        # One is known; how many more is not. A whole supernet that is damaged has fewer.
        count = len(tensors) // 2
        raise MismatchError(f"The checkpoint {wrong}; it is truncated or of another network.", count=count)
    return shape


def member_of(
    space: Space, tensors: Mapping[str, np.ndarray], *, given: bool, whole: MismatchError
) -> tuple[Space, Arch, dict[str, np.ndarray]]:
    """Returns the space, the member whose weights a checkpoint has, and these weights by stable name.

    Args:
      space: The space that it may be of; if it was not ``given``, larger ones are tried, too.
      tensors: The checkpoint.
      given: Whether the user named the space.
      whole: Why it is no whole supernet of the space.

    Raises:
      InputError: ``whole`` or what a member lacks, whichever names fewer tensors.
    """
    nearest = whole
    if getattr(tensors, "elastic", False):
        raise whole
    changes = [{}, {"kernel": "elastic"}, {"kernel": "elastic", "coupling": "independent"}]
    for change in changes[:1] if given or space.width_spans[-1].stop else changes:
        candidate = families.get(space.family, **{**space.arguments, **change}) if change else space
        try:
            arch = static_arch(candidate, tensors)
            return candidate, arch, state_from_torch(candidate, tensors, arch=arch)
        except MismatchError as error:
            nearest = min(nearest, error, key=lambda found: found.count)
        except InputError:
            continue
    raise nearest


def embedded(net: Any, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the weights of one member in a supernet that is zero elsewhere: variances one, transforms identity."""
    state = {
        name: value if name.endswith(("moving_variance", "7to5", "5to3")) else np.zeros_like(value)
        for name, value in net.get_state().items()
    }
    state.update({name: np.ones_like(value) for name, value in state.items() if name.endswith("moving_variance")})
    for name, value in weights.items():
        target = state[name]
        place = [slice(0, size) for size in value.shape]
        if name.endswith("/depth/kernel"):  # a small kernel is the centre of the large one
            start = (target.shape[0] - value.shape[0]) // 2
            place[:2] = [slice(start, start + value.shape[0])] * 2
        target[tuple(place)] = value
    return state
