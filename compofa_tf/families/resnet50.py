"""ResNet50 with elastic depth, expand ratio and width, as in Once-for-All (arXiv:1908.09791), as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from compofa_tf.errors import InputError
from compofa_tf.families.arguments import checked_arguments
from compofa_tf.space import DenseUnit, PoolUnit, ResidualStage, ResidualStem, Space, Stage, make_divisible


class Row(NamedTuple):
    """A stage: channels at full width, blocks at depth 0, stride for images of 224."""

    width: int
    base: int
    stride: int


STAGES = (
    # width, base, stride; at 224 pixels the stem and its pool leave a map of 56 x 56
    Row(256, 2, 1),  # 56 x 56
    Row(512, 2, 2),  # 28 x 28
    Row(1024, 4, 2),  # 14 x 14
    Row(2048, 2, 2),  # 7 x 7
)
STEM = 64
"""Channels of the stem at full width."""

CHOICES = ((0, 0.2), (1, 0.25), (2, 0.35))
"""Blocks beyond the base, and expand ratio. Compound: they and the width of a stage grow together; that is ours."""

WIDTH_CHOICES = (0.65, 0.8, 1.0)

STRIDES = {224: (2, 2, *(row.stride for row in STAGES)), 64: (2, 1, 1, 2, 2, 2), 32: (1, 1, 1, 2, 2, 2)}
"""Strides of the stem, its pool and the four stages for an image side: 224 as published; the others keep 4 x 4."""


def resnet50(
    *,
    width_mult: float = 1.0,
    widths: Sequence[float] = WIDTH_CHOICES,
    kernel: Literal["fixed"] = "fixed",
    coupling: Literal["compound", "independent"] = "compound",
    profile: Literal["mobile", "edgetpu"] = "mobile",
    classes: int = 1000,
    input_size: int = 224,
    strides: Sequence[int] | None = None,
) -> Space:
    """Returns the ResNet50-D space: every stage has a depth, an expand ratio per block and a width of its own.

    Depths are those of the published settings: blocks beyond 2, 2, 4, 2, and for the stem 2 with the residual
    convolution in its middle, 0 without. ``Arch.widths`` are six indices into the argument ``widths``: the
    middle of the stem, the stem, the four stages.

    Args:
      width_mult: Multiplies every width, rounded to multiples of 8.
      widths: Shares of the full width that a stage may have, ascending, as many as ``CHOICES``.
      kernel: ``"fixed"``: 3 everywhere.
      coupling: ``"compound"`` (243 subnets: depth, expand ratio and width of a stage grow together) or
        ``"independent"`` (Once-for-All, published).
      profile: ``"mobile"`` or ``"edgetpu"``; the network is the same, all its operations map to the Edge TPU.
      classes: Number of classes, at least 2.
      input_size: Side of the images it is meant for: 224, 64 or 32. Decides the strides only; any resolution runs.
      strides: Strides of the stem, its pool and the four stages, instead of those of ``input_size``.

    Raises:
      InputError: For a value outside the lists above.
    """
    if kernel != "fixed":
        raise InputError(f"Kernels of ResNet50 are fixed. Received: kernel={kernel!r}")
    shares = _checked_shares(widths)
    steps, arguments = checked_arguments(
        by_size=STRIDES,
        input_size=input_size,
        strides=strides,
        width_mult=width_mult,
        widths=list(shares),
        coupling=coupling,
        profile=profile,
        classes=classes,
    )
    stages = _stages(shares, width_mult, steps, coupling)
    return Space(
        family="resnet50",
        arguments=arguments,
        stem=(),
        stages=stages,
        head=(PoolUnit("head_pool"), DenseUnit("classifier", stages[-1].out_channels(None), classes)),
        coupling=coupling,
        kernel=kernel,
        profile=profile,
        classes=classes,
    )


def _stages(shares: Sequence[float], width_mult: float, steps: Sequence[int], coupling: str) -> tuple[Stage, ...]:
    stems, *options = (
        tuple(make_divisible(width * width_mult * share) for share in shares)
        for width in (STEM, *(row.width for row in STAGES))
    )
    stem = ResidualStem(
        middles=tuple(make_divisible(width // 2) for width in stems),
        widths=stems,
        strides=(steps[0], steps[1]),
        choices=tuple((depth, 0) for depth, _ in CHOICES if coupling == "compound" or depth != 1),
    )
    rows = enumerate(zip(STAGES, (stems, *options), options, steps[2:]), start=1)
    return stem, *(
        ResidualStage(before, own, stride, row.base, CHOICES, name=f"stage{number}")
        for number, (row, before, own, stride) in rows
    )


def _checked_shares(widths: Any) -> tuple[float, ...]:
    shares = tuple(widths) if isinstance(widths, Sequence) else ()
    known = all(isinstance(share, (int, float)) and 0 < share <= 8 for share in shares)
    if not known or len(shares) != len(CHOICES) or list(shares) != sorted(shares):
        raise InputError(f"widths needs {len(CHOICES)} numbers in (0, 8], ascending. Received: widths={widths!r}")
    return tuple(float(share) for share in shares)
