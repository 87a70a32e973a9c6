"""The phases of a run on its axis of steps, and whether they fit the family. No TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from compofa_tf.errors import InputError
from compofa_tf.nets import channels
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import PhaseSettings
from compofa_tf.space import Space
from compofa_tf.space.sampling import check_limits
from compofa_tf.training import schedules

__all__ = ["Phase", "check_phases", "plan", "teacher_space"]


@dataclass(frozen=True)
class Phase:
    """A phase placed on the run's axis of steps.

    Attributes:
      name: ``"teacher"``, ``"shrink.0"``, ... or ``"train"``.
      settings: The recipe's settings of the phase.
      start: First step, counted over all phases.
      epoch_steps: Steps per epoch.
      peak: Peak learning rate for the recipe's batch size.
    """

    name: str
    settings: PhaseSettings
    start: int
    epoch_steps: int
    peak: float

    @property
    def steps(self) -> int:
        """Steps of the phase."""
        return self.settings.epochs * self.epoch_steps

    @property
    def end(self) -> int:
        """First step after the phase."""
        return self.start + self.steps

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step of the run."""
        warmup = round(self.settings.warmup_epochs * self.epoch_steps)
        return schedules.cosine(step - self.start, total_steps=self.steps, peak=self.peak, warmup_steps=warmup)


def plan(recipe: Recipe, *, train_size: int) -> tuple[Phase, ...]:
    """Returns the phases of a run over ``train_size`` images, in order."""
    batch = recipe.data.batch_size
    if train_size < batch:
        raise InputError(
            f"There are fewer training images than one batch has; set data.batch_size to at most {train_size}. "
            f"Received: data.batch_size={batch}"
        )
    placed: list[Phase] = []
    for name, phase in recipe.phases:
        start = placed[-1].end if placed else 0
        placed.append(
            Phase(name, phase, start, train_size // batch, schedules.scaled(phase.learning_rate, batch_size=batch))
        )
    if not placed:
        raise InputError("There is nothing to train; set train.epochs to at least 1. Received: train.epochs=0")
    return tuple(placed)


def teacher_space(recipe: Recipe, *, classes: int) -> Space:
    """Returns the space whose largest member is the teacher: that of the family, but where ``teacher.kernels`` says so.

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
    if recipe.teacher.kernels and not recipe.teacher.epochs:
        raise InputError(
            "Without epochs of the teacher its kernels mean nothing: leave teacher.kernels empty. "
            f"Received: teacher.kernels={recipe.teacher.kernels}, teacher.epochs=0"
        )
    for name, phase in recipe.phases:
        try:
            if name == "teacher":
                _check_teacher(teacher_space(recipe, classes=classes), phase)
                continue
            check_limits(space, **phase.limits)
            if phase.sort_channels is not None:
                channels.check_skipped(space, phase.sort_channels)
        except InputError as error:
            raise InputError(f"PhaseSettings {name}: {error}") from error


def _check_teacher(space: Space, phase: PhaseSettings) -> None:
    largest = _largest_kernel(space)
    if phase.kernels not in ((), (largest,)):
        raise InputError(
            f"The teacher is the largest network: kernels must be {largest}, or empty for those of the family. "
            f"Received: kernels={phase.kernels}"
        )
    if phase.depths or phase.expands or phase.sort_channels is not None:
        raise InputError(
            "The teacher is the largest network: leave depths, expands and sort_channels empty. Received: "
            f"depths={phase.depths}, expands={phase.expands}, sort_channels={phase.sort_channels}"
        )
