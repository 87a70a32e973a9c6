"""The phases of a run on its axis of steps, and whether they fit the family. No TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from compofa_tf.errors import InputError
from compofa_tf.nets import channels
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import FAMILY, TEACHER, PhaseSettings
from compofa_tf.space import Space
from compofa_tf.space.sampling import check_limits
from compofa_tf.training import schedules


@dataclass(frozen=True)
class Phase:
    """A phase placed on the run's axis of steps.

    Attributes:
      name: ``"teacher"``, ``"shrink.0"``, ... or ``"train"``: by what its settings are called in a recipe.
      settings: The recipe's settings of the phase.
      start: First step, counted over all phases.
      epoch_steps: Steps per epoch.
      peak: Peak learning rate for the recipe's batch size.
      after: What the phase before trains, ``"teacher"`` or ``"family"``; empty in the first one.
    """

    name: str
    settings: PhaseSettings
    start: int
    epoch_steps: int
    peak: float
    after: str = ""

    @property
    def of_teacher(self) -> bool:
        """Whether the teacher is trained, or else the family."""
        return self.settings.network == TEACHER

    @property
    def takes_over(self) -> bool:
        """Whether the family begins with the weights of the teacher that the phase before trained."""
        return self.settings.network == FAMILY and self.after == TEACHER

    @property
    def steps(self) -> int:
        """Steps of the phase."""
        return self.settings.epochs * self.epoch_steps

    @property
    def end(self) -> int:
        """First step after the phase."""
        return self.start + self.steps

    def position(self, step: int) -> int:
        """Steps of the current epoch that are done when ``step`` steps of the run are: 1 to ``epoch_steps``."""
        return (step - self.start - 1) % self.epoch_steps + 1

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch is complete when ``step`` steps of the run are done."""
        return self.position(step) == self.epoch_steps

    def epoch(self, step: int) -> float:
        """Epochs of the phase that are done when ``step`` steps of the run are."""
        return (step - self.start) / self.epoch_steps

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step of the run."""
        warmup = round(self.settings.warmup_epochs * self.epoch_steps)
        return schedules.cosine(step - self.start, total_steps=self.steps, peak=self.peak, warmup_steps=warmup)


def place_phases(recipe: Recipe, *, train_size: int) -> tuple[Phase, ...]:
    """Returns the phases of a run over ``train_size`` images, in order."""
    batch = recipe.data.batch_size
    if train_size < batch:
        raise InputError(
            f"There are fewer training images than one batch has; set data.batch_size to at most {train_size}. "
            f"Received: data.batch_size={batch}"
        )
    placed: list[Phase] = []
    for name, settings in recipe.phases:
        before = placed[-1] if placed else None
        start, after = (before.end, before.settings.network) if before else (0, "")
        peak = schedules.scaled(settings.learning_rate, batch_size=batch)
        placed.append(Phase(name, settings, start, train_size // batch, peak, after))
    if not placed:
        raise InputError("There is nothing to train; set train.epochs to at least 1. Received: train.epochs=0")
    return tuple(placed)


def phase_at(phases: Sequence[Phase], step: int) -> Phase:
    """Returns the phase that trained last when ``step`` steps of the run are done; the first one at step 0."""
    return next(phase for phase in phases if step <= phase.end)


def teacher_space(recipe: Recipe, *, classes: int) -> Space:
    """Returns the space whose largest subnet is the teacher: that of the family, but where ``teacher.kernels`` says so.

    A family with fixed kernels may then have a teacher with the largest ones everywhere, as in the paper.
    """
    space = recipe.space.build(classes=classes)
    if not recipe.teacher.kernels or space.kernel != "fixed":
        return space
    if _largest_kernel(space) == max(stage.kernel for stage in space.stages if stage.blocks):
        raise InputError(
            "All kernels of this family are as large as they can be: leave teacher.kernels empty. "
            f"Received: teacher.kernels={recipe.teacher.kernels}, space={space!r}"
        )
    return dataclasses.replace(recipe.space, kernel="elastic").build(classes=classes)


def _largest_kernel(space: Space) -> int:
    return max(size for stage in space.stages if stage.blocks for size in stage.kernels)


def check_phases(recipe: Recipe, *, classes: int) -> None:
    """Raises ``InputError`` that names the first phase whose settings do not fit the family."""
    space = recipe.space.build(classes=classes)
    _check_kernels_of_teacher(recipe, classes=classes)
    for name, settings in recipe.phases:
        try:
            check_limits(space, **settings.limits)
            if settings.sort_channels is not None:
                channels.check_skipped(space, settings.sort_channels)
        except InputError as error:
            raise InputError(f"Phase {name}: {error}") from error


def _check_kernels_of_teacher(recipe: Recipe, *, classes: int) -> None:
    kernels = recipe.teacher.kernels
    if not kernels:
        return
    if all(settings.network != TEACHER for _, settings in recipe.phases):
        raise InputError(
            "Without epochs of the teacher its kernels mean nothing: leave teacher.kernels empty. "
            f"Received: teacher.kernels={kernels}, teacher.epochs=0"
        )
    largest = _largest_kernel(teacher_space(recipe, classes=classes))
    if kernels != (largest,):
        raise InputError(
            f"The teacher is the largest network: teacher.kernels must be {largest}, or empty for those of the family. "
            f"Received: teacher.kernels={kernels}"
        )
