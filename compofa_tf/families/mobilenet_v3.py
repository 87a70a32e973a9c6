"""MobileNetV3 as searched by Once-for-All and CompOFA (arXiv:1908.09791, arXiv:2104.12642), as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from compofa_tf.families.arguments import checked_arguments
from compofa_tf.space import BlockUnit, ConvUnit, DenseUnit, InvertedStage, PoolUnit, Space, make_divisible
from compofa_tf.space.units import Activation


class Row(NamedTuple):
    """A stage: channels, fixed kernel side, h-swish or ReLU, squeeze-and-excite or not, stride for images of 224."""

    width: int
    kernel: int
    swish: bool
    excite: bool
    stride: int


STAGES = (
    # width, kernel, swish, excite, stride; at 224 pixels the stem leaves a map of 112 x 112
    Row(24, 3, False, False, 2),  # 56 x 56
    Row(40, 5, False, True, 2),  # 28 x 28
    Row(80, 3, True, False, 2),  # 14 x 14
    Row(112, 3, True, True, 1),  # 14 x 14
    Row(160, 5, True, True, 2),  # 7 x 7
)
STEM, EXPANDED, MIX = 16, 960, 1280
"""Channels of the stem and its first block, and of the two convolutions of the head."""

CHOICES = ((2, 3), (3, 4), (4, 6))
"""Depth and expand ratio of a stage grow together (CompOFA, section 3.1)."""

STRIDES = {224: (2, *(row.stride for row in STAGES)), 64: (2, 1, 2, 2, 1, 2), 32: (1, 1, 2, 2, 1, 2)}
"""Strides of the stem and the five stages for an image side: 224 as published; the others keep a last map of 4 x 4."""


def mobilenet_v3(
    *,
    width_mult: float = 1.0,
    kernel: Literal["fixed", "elastic"] = "fixed",
    coupling: Literal["compound", "independent"] = "compound",
    profile: Literal["mobile", "edgetpu"] = "mobile",
    classes: int = 1000,
    input_size: int = 224,
    strides: Sequence[int] | None = None,
) -> Space:
    """Returns the MobileNetV3 space.

    Args:
      width_mult: Multiplies every width, rounded to multiples of 8. Published: 1.0 and 1.2.
      kernel: ``"fixed"`` (3, 5, 3, 3, 5 by stage) or ``"elastic"`` (3, 5 or 7 per block, with learned transforms).
      coupling: ``"compound"`` (243 subnets with fixed kernels) or ``"independent"`` (Once-for-All).
      profile: ``"mobile"`` (hard-swish, squeeze-and-excite) or ``"edgetpu"`` (ReLU6, no squeeze-and-excite: only
        operations that the Edge TPU maps).
      classes: Number of classes, at least 2.
      input_size: Side of the images it is meant for: 224, 64 or 32. Decides the strides only; any resolution runs.
      strides: Strides of the stem and the five stages, instead of those of ``input_size``.

    Raises:
      InputError: For a value outside the lists above.
    """
    steps, arguments = checked_arguments(
        by_size=STRIDES,
        input_size=input_size,
        strides=strides,
        width_mult=width_mult,
        kernel=kernel,
        coupling=coupling,
        profile=profile,
        classes=classes,
    )
    swish, relu = _activations(profile)
    first, *widths, expanded, mix = (
        make_divisible(width * width_mult) for width in (STEM, *(row.width for row in STAGES), EXPANDED, MIX)
    )
    return Space(
        family="mobilenet_v3",
        arguments=arguments,
        stem=(
            ConvUnit("stem", 3, first, 3, steps[0], swish),
            BlockUnit("first", first, first, first, 3, 1, relu, shortcut=True, expansion=False),
        ),
        stages=tuple(_stage(*sizes, profile) for sizes in zip(STAGES, (first, *widths), widths, steps[1:])),
        head=(
            ConvUnit("head_expand", widths[-1], expanded, activation=swish),
            PoolUnit("head_pool"),
            ConvUnit("head_mix", expanded, mix, activation=swish, norm=False),
            DenseUnit("classifier", mix, classes),
        ),
        coupling=coupling,
        kernel=kernel,
        profile=profile,
        classes=classes,
    )


def _stage(row: Row, in_channels: int, width: int, stride: int, profile: str) -> InvertedStage:
    swish, relu = _activations(profile)
    return InvertedStage(
        in_channels=in_channels,
        width=width,
        stride=stride,
        activation=swish if row.swish else relu,
        squeeze_excite=row.excite and profile == "mobile",
        kernel=row.kernel,
        choices=CHOICES,
        kernels=(3, 5, 7),
    )


def _activations(profile: str) -> tuple[Activation, Activation]:
    """What stands where the published network has h-swish, and where it has ReLU."""
    return ("hard_swish", "relu") if profile == "mobile" else ("relu6", "relu6")
