"""MobileNetV3 as searched by Once-for-All and CompOFA (arXiv:1908.09791, arXiv:2104.12642), as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from compofa_tf.families.arguments import checked_settings
from compofa_tf.space import Space
from compofa_tf.space.stages import InvertedStage
from compofa_tf.space.units import Activation, BlockUnit, ConvUnit, DenseUnit, PoolUnit, make_divisible

WIDTHS = (24, 40, 80, 112, 160)
KERNELS = (3, 5, 3, 3, 5)
HARD_SWISH = (False, False, True, True, True)
SQUEEZE_EXCITE = (False, True, False, True, True)
CHOICES = ((2, 3), (3, 4), (4, 6))
"""Depth and expand ratio of a stage grow together (CompOFA, section 3.1)."""

STRIDES = {224: (2, 2, 2, 2, 1, 2), 64: (2, 1, 2, 2, 1, 2), 32: (1, 1, 2, 2, 1, 2)}
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
    swish: Activation = "hard_swish" if profile == "mobile" else "relu6"
    relu: Activation = "relu" if profile == "mobile" else "relu6"
    first, *widths, expanded, mix = (make_divisible(width * width_mult) for width in (16, *WIDTHS, 960, 1280))
    stages = tuple(
        InvertedStage(
            in_channels=in_channels,
            width=width,
            stride=stride,
            activation=swish if has_swish else relu,
            squeeze_excite=has_se and profile == "mobile",
            kernel=size,
            choices=CHOICES,
            kernels=(3, 5, 7),
        )
        for in_channels, width, stride, has_swish, has_se, size in zip(
            (first, *widths), widths, steps[1:], HARD_SWISH, SQUEEZE_EXCITE, KERNELS
        )
    )
    return Space(
        family="mobilenet_v3",
        arguments=settings,
        stem=(
            ConvUnit("stem", 3, first, 3, steps[0], swish),
            BlockUnit("first", first, first, first, 3, 1, relu, shortcut=True, expansion=False),
        ),
        stages=stages,
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
