"""What a run is about to do and how long it may take, from a few timed steps; and how fast it goes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from compofa_tf.data import Data
from compofa_tf.progress import duration
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.space import Arch, Space, cost
from compofa_tf.training.networks import Networks
from compofa_tf.training.phases import Phase

_TIMED = 3
_LOOK_EVERY = 10  # looking at a loss waits for the device


class Pace:
    """How fast the phases of a run go, and how long the rest takes.

    Args:
      phases: All phases of the run.
      batch_size: Images per step.
    """

    def __init__(self, phases: Sequence[Phase], *, batch_size: int) -> None:
        self._phases, self._batch_size = phases, batch_size
        self._seconds: dict[str, float] = {}
        self._began = (0, 0.0)

    def expect(self, phase: Phase, seconds: float) -> None:
        """Takes a phase to need so many seconds per step."""
        self._seconds[phase.name] = seconds

    def knows(self, phase: Phase) -> bool:
        """Whether anything is known of the speed of a phase."""
        return phase.name in self._seconds

    def begin(self, step: int) -> None:
        """Starts the clock at a step of the run."""
        self._began = (step, time.perf_counter())

    def due(self, phase: Phase, step: int) -> bool:
        """Whether to look at the clock and the losses after ``step`` steps of the run: now and then, for both wait."""
        return phase.position(step) % _LOOK_EVERY == 0 or phase.ends_epoch(step)

    def look(self, phase: Phase, step: int, losses: np.ndarray) -> str:
        """Takes the phase to go on as it did since the clock was started.

        Args:
          phase: The phase in training.
          step: Steps of the run that are done.
          losses: Losses of the epoch so far, float32 ``[steps, subnets]``.

        Returns:
          The end of a progress bar: speed, mean of the latest losses, time left.
        """
        first, began = self._began
        self._seconds[phase.name] = (time.perf_counter() - began) / (step - first)
        loss = losses[-_LOOK_EVERY:].mean()
        return f"{self.images_per_s(phase):.0f} images/s, loss {loss:.4f}, {self.left(step)} left"

    def images_per_s(self, phase: Phase) -> float:
        """Images per second in a phase."""
        return self._batch_size / max(self._seconds[phase.name], 1e-9)

    def left(self, step: int) -> str:
        """Returns in words how long the run takes after ``step`` steps; phases that nothing is known of count 0."""
        todo = ((phase.name, max(0, phase.end - max(step, phase.start))) for phase in self._phases)
        return duration(sum(steps * self._seconds.get(name, 0.0) for name, steps in todo))


def announce(
    recipe: Recipe,
    data: Data,
    networks: Networks,
    phases: Sequence[Phase],
    *,
    step: int,
    log: Callable[[str], None],
    timed: bool = True,
) -> Pace:
    """Says what will happen and how long it may take; the weights stay as they are.

    Args:
      recipe: The setting.
      data: Loaded data.
      networks: What is trained.
      phases: All phases of the run.
      step: Steps that are done.
      log: Gets the lines.
      timed: Whether some steps of each phase are timed, for which all have to be compiled; a run that resumes goes on
        at once instead.

    Returns:
      The pace that the phases to come are expected to have.
    """
    _tell_family(recipe, networks, phases, log)
    _tell_data(recipe, data, phases, log)
    pace = Pace(phases, batch_size=recipe.data.batch_size)
    for phase in (phase for phase in phases if step < phase.end):
        took = ""
        if timed:
            seconds, ready_s = _time_steps(recipe, data, networks, phase)
            pace.expect(phase, seconds)
            took = f", {seconds:.3g} s per step here (first one {ready_s:.0f} s)"
        subnets = "largest network" if phase.of_teacher else f"{phase.settings.subnets} subnets per step"
        log(
            f"  {phase.name}: {phase.settings.epochs} epochs, {phase.steps} steps, {subnets}, learning rate up to "
            f"{phase.peak:.4g}{took}"
        )
    if timed:
        log(f"Estimated time from {_TIMED} timed steps per phase, without validation: {pace.left(step)}.")
    return pace


def _tell_family(recipe: Recipe, networks: Networks, phases: Sequence[Phase], log: Callable[[str], None]) -> None:
    space, teacher, side = networks.space, networks.teacher_space, max(recipe.accuracy.resolutions)
    log(f"Family: {recipe.space.family}, {space.size} subnets.")
    for name, arch in (("largest", space.largest(side)), ("smallest", space.smallest(side))):
        log(f"  {name}: {_size(space, arch)}")
    if phases[0].of_teacher and teacher != space:
        found, kernel = _size(teacher, teacher.largest(side)), recipe.teacher.kernels[0]
        log(f"  teacher: {found}, kernels of {kernel} x {kernel}; the family starts from their centres")


def _size(space: Space, arch: Arch) -> str:
    params, macs = (count(space, arch) / 1e6 for count in (cost.params, cost.macs))
    return f"{params:.2f} M parameters, {macs:.1f} M MACs at {arch.resolution} px"


def _tell_data(recipe: Recipe, data: Data, phases: Sequence[Phase], log: Callable[[str], None]) -> None:
    if data.survey is None:
        log(f"{data.name}: {data.classes} classes, {data.train_size} training, {data.val_size} validation pictures.")
    else:
        for line in data.survey.lines():
            log(line)
    sides = ", ".join(map(str, recipe.data.resolutions))
    log(f"Batches of {recipe.data.batch_size} at {sides} px, {phases[0].epoch_steps} steps per epoch.")


def _time_steps(recipe: Recipe, data: Data, networks: Networks, phase: Phase) -> tuple[float, float]:
    """Returns seconds per step and seconds until the first step was done."""
    learner = networks.of(phase)
    before = learner.get_state()
    side = _typical(recipe.data.resolutions)
    batches = data.train(
        batch_size=recipe.data.batch_size,
        start_step=phase.start,
        steps=_TIMED + 1,
        resolutions=np.full(phase.start + _TIMED + 1, side, np.int32),
        seed=recipe.seed,
    )
    times = [time.perf_counter()]
    for images, labels in batches:
        np.asarray(networks.train(phase, images, labels, step=phase.start, resolution=side))
        times.append(time.perf_counter())
    learner.set_state(before)
    return float(np.median(np.diff(times)[1:])), times[1] - times[0]


def _typical(resolutions: Sequence[int]) -> int:
    """The resolution whose images take about as long as those of all on average, for time grows as their area."""
    sides = np.asarray(resolutions)
    return int(sides[np.argmin(np.abs(sides - np.sqrt(np.mean(sides**2))))])
