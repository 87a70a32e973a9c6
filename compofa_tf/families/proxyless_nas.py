"""The ProxylessNAS space of Once-for-All (arXiv:1812.00332, arXiv:1908.09791), as data: a MobileNetV2 at heart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from compofa_tf.families.arguments import checked_settings
from compofa_tf.space import Space
from compofa_tf.space.stages import InvertedStage
from compofa_tf.space.units import BlockUnit, ConvUnit, DenseUnit, PoolUnit, make_divisible

WIDTHS = (24, 40, 80, 96, 192, 320)
CHOICES = ((2, 3), (3, 4), (4, 6))
LAST_CHOICES = ((1, 6),)
"""The last stage always has one block. Compound: at the largest ratio. That coupling of this family is ours."""

KERNELS = (3, 5, 3, 3, 5, 3)
"""Fixed kernels by stage: those of the compound MobileNetV3, and 3 in the sixth stage; ours. Published: elastic."""

STRIDES = {224: (2, 2, 2, 2, 1, 2, 1), 64: (2, 1, 2, 2, 1, 2, 1), 32: (1, 1, 2, 2, 1, 2, 1)}
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
    steps, settings = checked_settings(
        by_size=STRIDES,
        input_size=input_size,
        strides=strides,
        width_mult=width_mult,
        kernel=kernel,
        coupling=coupling,
        profile=profile,
        classes=classes,
    )
    stem, first, *widths, mix = (make_divisible(width * width_mult) for width in (32, 16, *WIDTHS, 1280))
    stages = tuple(
        InvertedStage(
            in_channels=in_channels,
            width=width,
            stride=stride,
            activation="relu6",
            squeeze_excite=False,
            kernel=size,
            choices=CHOICES if number < len(WIDTHS) else LAST_CHOICES,
            kernels=(3, 5, 7),
            ratios=(3, 4, 6),
        )
        for number, (in_channels, width, stride, size) in enumerate(
            zip((first, *widths), widths, steps[1:], KERNELS), start=1
        )
    )
    return Space(
        family="proxyless_nas",
        arguments=settings,
        stem=(
            ConvUnit("stem", 3, stem, 3, steps[0], "relu6"),
            BlockUnit("first", stem, stem, first, 3, 1, "relu6", expansion=False),
        ),
        stages=stages,
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
