"""Runs on a tiny family that train in seconds, and the data they see."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from compofa_tf.normalization import Normalization
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import AccuracySettings, DataSettings, PhaseSettings, SpaceSettings, TeacherSettings

STEPS_PER_EPOCH = 4

RECIPE = Recipe(
    name="tiny",
    space=SpaceSettings(family="tiny"),
    data=DataSettings(resolutions=(12, 16), batch_size=8),
    teacher=TeacherSettings(epochs=2, learning_rate=12.0, warmup_epochs=0.5),
    train=PhaseSettings(epochs=3, learning_rate=8.0, subnets=2),
    accuracy=AccuracySettings(resolutions=(16,)),
    seed=5,
)
"""Of the family ``tiny``; 8 steps of the teacher, then 12 of the family."""

PAPER = RECIPE.override(["space.kernel=fixed", "teacher.kernels=7", "optimizer.dropout=0.1", "train.epochs=1"])
"""With a teacher of larger kernels, of the families of ``small_space``; 8 and 4 steps."""


class FakeData:
    """Images of noise whose mean gives the class away, made from (seed, step) alone."""

    name, labels, skipped = "fake", ("a", "b", "c"), ()
    classes, train_size, val_size = 3, STEPS_PER_EPOCH * 8, 5
    normalization = Normalization.named("symmetric")
    survey = None

    def train(self, *, batch_size, steps, resolutions, seed, start_step=0):
        for step in range(start_step, start_step + steps):
            rng = np.random.default_rng([seed, step])
            labels = rng.integers(0, 3, batch_size).astype(np.int32)
            side = resolutions[step]
            images = rng.normal(size=(batch_size, side, side, 3)) + labels[:, None, None, None]
            yield tf.constant(images, tf.float32), tf.constant(labels)


class FiveClasses(FakeData):
    labels, classes = tuple("abcde"), 5


def nothing(line: str) -> None:
    """A log that nobody reads."""


def same(mine, theirs):
    """Asserts that two mappings hold equal arrays under equal names."""
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
