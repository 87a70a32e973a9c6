"""Small spaces that have everything the published ones have: strides, squeeze-and-excite, shortcuts, skipped blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from compofa_tf.space import Space
from compofa_tf.space.stages import InvertedStage, ResidualStage, ResidualStem
from compofa_tf.space.units import BlockUnit, ConvUnit, DenseUnit, PoolUnit

KINDS = tuple(
    (kernel, coupling) for kernel in ("fixed", "elastic", "residual") for coupling in ("compound", "independent")
)


def small_space(kernel: str = "fixed", coupling: str = "compound") -> Space:
    """Up to 2304 subnets of two stages, for 8 pixels and more; ``"residual"`` is a ResNet of elastic width."""
    if kernel == "residual":
        return _residual(coupling)
    choices = ((1, 2), (2, 3))
    return Space(
        family="small",
        arguments={"kernel": kernel, "coupling": coupling},
        stem=(
            ConvUnit("stem", 3, 8, 3, 2, "hard_swish"),
            BlockUnit("first", 8, 8, 8, 3, 1, "relu", shortcut=True, expansion=False),
        ),
        stages=(
            InvertedStage(8, 16, 2, "relu", False, 5, choices, (3, 5, 7)),
            InvertedStage(16, 16, 1, "hard_swish", True, 3, choices, (3, 5, 7)),
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


def _residual(coupling: str) -> Space:
    stem, one, other = (8, 16), (16, 24), (24, 40)
    choices = ((0, 0.5), (1, 0.75))
    return Space(
        family="small",
        arguments={"kernel": "residual", "coupling": coupling},
        stem=(),
        stages=(
            ResidualStem((8, 16), stem, (2, 1), ((0, 0), (2, 0))),
            ResidualStage(stem, one, 1, 1, choices, name="stage1"),
            ResidualStage(one, other, 2, 1, choices, name="stage2"),
        ),
        head=(PoolUnit("head_pool"), DenseUnit("classifier", 40, 5)),
        coupling=coupling,
        kernel="fixed",
        profile="mobile",
        classes=5,
    )


def images(resolution: int, count: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, resolution, resolution, 3)).astype(np.float32)


def randomise(net: Any, seed: int = 0) -> None:
    """Gives a supernet batch norm that does something, and matrices that are not the identity."""
    rng = np.random.default_rng(seed)
    for name, variable in net.variables_by_name.items():
        if name.endswith(("gamma", "moving_variance")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif name.endswith(("beta", "moving_mean", "bias")):
            variable.assign(0.1 * rng.normal(size=variable.shape))
        elif name.endswith(("7to5", "5to3")):
            variable.assign_add(0.1 * rng.normal(size=variable.shape))
