"""The networks of a run, the family and its teacher, and the compiled steps that train them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from compofa_tf.nets import channels
from compofa_tf.nets.layers import center_crop
from compofa_tf.nets.supernet import Supernet
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import OptimizerSettings
from compofa_tf.space import Arch
from compofa_tf.space.sampling import codes_at
from compofa_tf.training.optimizer import Nesterov
from compofa_tf.training.phases import Phase, teacher_space
from compofa_tf.training.state import NO_LOSSES, TrainState
from compofa_tf.training.step import TrainingStep


class Learner:
    """A network that is trained: its weights and their momentum.

    Args:
      net: The network.
      settings: Momentum and weight decay.

    Attributes:
      optimizer: Its optimizer.
    """

    def __init__(self, net: Supernet, settings: OptimizerSettings) -> None:
        self.net, self.optimizer = net, Nesterov(net, settings)

    def get_state(self, *, step: int = 0, losses: np.ndarray = NO_LOSSES) -> TrainState:
        """Returns a copy of weights and momentum, as the state of a run after ``step`` steps."""
        velocities = {name: velocity.numpy().copy() for name, velocity in self.optimizer.velocities.items()}
        return TrainState(step, self.net.get_state(), velocities, losses)

    def set_state(self, state: TrainState) -> None:
        """Sets weights and momentum."""
        self.net.set_state(state.weights)
        self.set_velocities(state.velocities)

    def set_velocities(self, values: Mapping[str, np.ndarray] | None) -> None:
        """Sets the momentum of every trainable variable; to 0 for None."""
        for name, velocity in self.optimizer.velocities.items():
            velocity.assign(np.zeros(velocity.shape, np.float32) if values is None else values[name])


class Networks:
    """What a run trains: the family, and the teacher that is made when a phase first needs it.

    Args:
      recipe: The setting.
      classes: Number of classes.

    Attributes:
      space: The space of the family.
      teacher_space: The space whose largest subnet is the teacher.
      family: The supernet; it begins with the weights of the teacher.
    """

    def __init__(self, recipe: Recipe, *, classes: int) -> None:
        self.recipe = recipe
        self.space = recipe.space.build(classes=classes)
        self.teacher_space = teacher_space(recipe, classes=classes)
        self.family = Learner(Supernet(self.space, seed=recipe.seed), recipe.optimizer)
        self._resolution = max(recipe.accuracy.resolutions)
        self._steps: dict[tuple[bool, bool], TrainingStep] = {}

    @functools.cached_property
    def teacher(self) -> Learner:
        """What gives soft labels. When a phase that distills begins, its weights are those of ``teacher/``."""
        return Learner(Supernet(self.teacher_space, seed=self.recipe.seed, name="teacher"), self.recipe.optimizer)

    def of(self, phase: Phase) -> Learner:
        """Returns what a phase trains."""
        return self.teacher if phase.of_teacher else self.family

    def watched(self, phase: Phase) -> dict[str, Arch]:
        """Returns the subnets, by name, whose accuracy is looked at while a phase trains."""
        if not phase.of_teacher:
            return {"largest": self.space.largest(self._resolution), "smallest": self.space.smallest(self._resolution)}
        name = "largest" if self.teacher_space == self.space else "teacher"
        return {name: self.teacher_space.largest(self._resolution)}

    def step_of(self, phase: Phase) -> TrainingStep:
        """Returns the compiled step of a phase; phases that differ in numbers only share one."""
        kind = (phase.of_teacher, phase.settings.kd_ratio > 0)
        if kind not in self._steps:
            learner, settings = self.of(phase), self.recipe.optimizer
            of_teacher, distills = kind
            self._steps[kind] = TrainingStep(
                learner.net,
                learner.optimizer,
                teacher=self.teacher.net if distills else None,
                arch=learner.net.space.largest(self._resolution) if of_teacher else None,
                label_smoothing=settings.label_smoothing,
                dropout=settings.dropout,
            )
        return self._steps[kind]

    def train(self, phase: Phase, images: Any, labels: Any, *, step: int, resolution: int) -> tf.Tensor:
        """Trains on the batch of a step.

        Args:
          phase: The phase that the step belongs to.
          images: float32 ``[batch, resolution, resolution, 3]``, normalised.
          labels: int32 ``[batch]``.
          step: Step of the run; with the seed it decides which subnets are trained and what is dropped out.
          resolution: Side of the images in pixels.

        Returns:
          The loss of each subnet, float32 ``[subnets]``.
        """
        settings, seed = phase.settings, self.recipe.seed
        drawn = {"seed": seed, "step": step, "subnets": settings.subnets, "resolution": resolution}
        codes = codes_at(self.of(phase).net.space.codes, **drawn, **settings.limits)
        rate = phase.learning_rate(step)
        return self.step_of(phase)(images, labels, codes, rate, settings.kd_ratio, seed=(seed, step))

    def hand_over(self) -> None:
        """Gives the family the weights of the teacher: the same, but of larger kernels the centres."""
        found = self.teacher.net.get_state()
        weights = {
            name: center_crop(found[name], variable.shape[0]) if name.endswith("/depth/kernel") else found[name]
            for name, variable in self.family.net.variables_by_name.items()
        }
        self.family.net.set_state(weights)

    def sort_channels(self, skipped: int) -> None:
        """Sorts the middle channels of the family by importance; see ``channels.sort_channels``."""
        net = self.family.net
        net.set_state(channels.sort_channels(self.space, net.get_state(), skipped=skipped))
