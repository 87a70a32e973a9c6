"""A family small enough to trace in seconds: a stem, two elastic stages, a head."""

from __future__ import annotations

from compofa_tf.space import Space
from compofa_tf.space.stages import InvertedStage
from compofa_tf.space.units import ConvUnit, DenseUnit, PoolUnit


def tiny_space(*, classes: int = 10, **settings) -> Space:
    """Takes the settings of any family and ignores all but the classes, so that it can stand in for one."""
    choices = ((1, 2), (2, 3))
    return Space(
        family="tiny",
        arguments={"classes": classes},
        stem=(ConvUnit("stem", 3, 8, 3, 2, "hard_swish"),),
        stages=(
            InvertedStage(8, 8, 1, "relu", False, 3, choices, (3,)),
            InvertedStage(8, 16, 2, "hard_swish", True, 3, choices, (3,)),
        ),
        head=(PoolUnit("head_pool"), DenseUnit("classifier", 16, classes)),
        coupling="compound",
        kernel="fixed",
        profile="mobile",
        classes=classes,
    )


def tiny(*, classes: int = 10) -> Space:
    """``tiny_space`` as a family that can be registered."""
    return tiny_space(classes=classes)
