"""What can be chosen: archs, spaces, and what a family is written with. No TensorFlow."""

from compofa_tf.space.arch import Arch
from compofa_tf.space.space import Space
from compofa_tf.space.stages import InvertedStage, ResidualStage, ResidualStem, Stage
from compofa_tf.space.units import (
    BlockUnit,
    ConvUnit,
    DenseUnit,
    MaxPoolUnit,
    PoolUnit,
    ResidualUnit,
    Unit,
    make_divisible,
)

__all__ = [
    "Arch",
    "BlockUnit",
    "ConvUnit",
    "DenseUnit",
    "InvertedStage",
    "MaxPoolUnit",
    "PoolUnit",
    "ResidualStage",
    "ResidualStem",
    "ResidualUnit",
    "Space",
    "Stage",
    "Unit",
    "make_divisible",
]
