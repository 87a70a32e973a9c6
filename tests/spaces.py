"""Small spaces that have everything the published ones have: strides, squeeze-and-excite, shortcuts, skipped blocks."""

from __future__ import annotations

from compofa_tf.space import Space, Stage
from compofa_tf.units import BlockUnit, ConvUnit, DenseUnit, PoolUnit

KINDS = tuple((kernel, coupling) for kernel in ("fixed", "elastic") for coupling in ("compound", "independent"))


def small_space(kernel: str = "fixed", coupling: str = "compound") -> Space:
    """4, 64, 216 or 1764 subnets of two stages, for inputs of 8 pixels and more."""
    choices = ((1, 2), (2, 3))
    return Space(
        family="small",
        settings={"kernel": kernel, "coupling": coupling},
        stem=(
            ConvUnit("stem", 3, 8, 3, 2, "hard_swish"),
            BlockUnit("first", 8, 8, 8, 3, 1, "relu", shortcut=True, expansion=False),
        ),
        stages=(
            Stage(8, 16, 2, "relu", False, 5, choices, (3, 5, 7)),
            Stage(16, 16, 1, "hard_swish", True, 3, choices, (3, 5, 7)),
        ),
        head=(
            ConvUnit("head_expand", 16, 24, activation="hard_swish"),
            PoolUnit("head_pool"),
            ConvUnit("head_mix", 24, 32, activation="hard_swish", norm=False),
            DenseUnit("classifier", 32, 5),
        ),
        coupling=coupling,
        kernel=kernel,
        profile="mobile",
        classes=5,
    )
