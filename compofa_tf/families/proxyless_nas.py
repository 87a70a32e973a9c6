"""The ProxylessNAS space of Once-for-All (arXiv:1812.00332, arXiv:1908.09791), as data: a MobileNetV2 at heart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from compofa_tf.families.arguments import checked_arguments
from compofa_tf.space import BlockUnit, ConvUnit, DenseUnit, InvertedStage, PoolUnit, Space, make_divisible

CHOICES = ((2, 3), (3, 4), (4, 6))
LAST_CHOICES = ((1, 6),)
"""The last stage always has one block. Compound: at the largest ratio. That coupling of this family is ours."""


class Row(NamedTuple):
    """A stage: channels, fixed kernel side, depths with their expand ratios, stride for images of 224."""

    width: int
    kernel: int
    choices: tuple[tuple[int, float], ...]
    stride: int


STAGES = (
    # width, kernel, choices, stride; at 224 pixels the stem leaves a map of 112 x 112
    Row(24, 3, CHOICES, 2),  # 56 x 56
    Row(40, 5, CHOICES, 2),  # 28 x 28
    Row(80, 3, CHOICES, 2),  # 14 x 14
    Row(96, 3, CHOICES, 1),  # 14 x 14
    Row(192, 5, CHOICES, 2),  # 7 x 7
    Row(320, 3, LAST_CHOICES, 1),  # 7 x 7
)
"""Fixed kernels are those of the compound MobileNetV3, and 3 in the sixth stage: ours. Published: elastic ones."""

STEM, FIRST, MIX = 32, 16, 1280
"""Channels of the stem, its first block and the convolution of the head."""

STRIDES = {224: (2, *(row.stride for row in STAGES)), 64: (2, 1, 2, 2, 1, 2, 1), 32: (1, 1, 2, 2, 1, 2, 1)}
"""Strides of the stem and the six stages for an image side: 224 as published; the others keep a last map of 4 x 4."""


def proxyless_nas(
    *,
    width_mult: float = 1.3,
    kernel: Literal["fixed", "elastic"] = "fixed",
    coupling: Literal["compound", "independent"] = "compound",
    profile: Literal["mobile", "edgetpu"] = "mobile",
    classes: int = 1000,
    input_size: int = 224,
    strides: Sequence[int] | None = None,
) -> Space:
    """Returns the ProxylessNAS space: ReLU6 throughout, no squeeze-and-excite, batch-norm epsilon 1e-3.

    Args:
      width_mult: Multiplies every width, rounded to multiples of 8. Published: 1.3.
      kernel: ``"fixed"`` by stage or ``"elastic"`` (3, 5 or 7 per block, with learned transforms). Published: elastic.
      coupling: ``"compound"`` (243 subnets with fixed kernels) or ``"independent"`` (Once-for-All, published).
      profile: ``"mobile"`` or ``"edgetpu"``; the network is the same, all its operations map to the Edge TPU.
      classes: Number of classes, at least 2.
      input_size: Side of the images it is meant for: 224, 64 or 32. Decides the strides only; any resolution runs.
      strides: Strides of the stem and the six stages, instead of those of ``input_size``.

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
    stem, first, *widths, mix = (
        make_divisible(width * width_mult) for width in (STEM, FIRST, *(row.width for row in STAGES), MIX)
    )
    return Space(
        family="proxyless_nas",
        arguments=arguments,
        stem=(
            ConvUnit("stem", 3, stem, 3, steps[0], "relu6"),
            BlockUnit("first", stem, stem, first, 3, 1, "relu6", expansion=False),
        ),
        stages=tuple(_stage(*sizes) for sizes in zip(STAGES, (first, *widths), widths, steps[1:])),
        head=(
            ConvUnit("head_mix", widths[-1], mix, activation="relu6"),
            PoolUnit("head_pool"),
            DenseUnit("classifier", mix, classes),
        ),
        coupling=coupling,
        kernel=kernel,
        profile=profile,
        classes=classes,
        epsilon=1e-3,
    )


def _stage(row: Row, in_channels: int, width: int, stride: int) -> InvertedStage:
    return InvertedStage(
        in_channels=in_channels,
        width=width,
        stride=stride,
        activation="relu6",
        squeeze_excite=False,
        kernel=row.kernel,
        choices=row.choices,
        kernels=(3, 5, 7),
        ratios=(3, 4, 6),
    )
