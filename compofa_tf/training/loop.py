"""Training a family: the teacher, then all subnets together. Read from top to bottom.

Where a run continues from, in this order: (1) ``<workdir>/supernet`` exists: the run is finished; (2) the newest
readable file in ``<workdir>/checkpoints``; (3) fresh weights from the recipe's seed. What a step trains is a function
of the seed and the step, so a resumed run repeats what the uninterrupted one would have done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from compofa_tf.errors import InputError
from compofa_tf.nets import channels
from compofa_tf.nets.layers import center_crop
from compofa_tf.nets.supernet import Supernet
from compofa_tf.progress import duration, say
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import OptimizerSettings
from compofa_tf.space import Arch, Space, cost
from compofa_tf.space.sampling import codes_at, resolutions_at
from compofa_tf.training import checkpoints, metrics
from compofa_tf.training.optimizer import Nesterov
from compofa_tf.training.phases import Phase, check_phases, plan, teacher_space
from compofa_tf.training.step import TrainingStep
from compofa_tf.training.validation import validator
from compofa_tf.workdir import WorkDir

if TYPE_CHECKING:
    from compofa_tf.data import Data

__all__ = ["Learner", "Losses", "Trainer", "train"]

Validate = Callable[[Supernet, Mapping[str, Arch]], Mapping[str, float]]
"""Gets the supernet and named members, returns their top-1 (fractions) by the same names."""

_CHECK_EVERY = 10  # looking at a loss waits for the device
_RECORDS_PER_EPOCH = 5
_TIMED = 3
_NAMED_SKIPS = 5
_BAR = "{desc} {percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt}{postfix}"


def train(
    recipe: Recipe,
    *,
    workdir: str | os.PathLike[str],
    data: str | Data | None = None,
    validate: Validate | None = None,
    log: Callable[[str], None] = say,
) -> Supernet:
    """Trains a family as the recipe says, or continues where an earlier call stopped.

    Writes ``recipe.json``, ``metrics.jsonl``, ``tensorboard/``, ``checkpoints/`` (every epoch, and on SIGTERM or
    SIGINT), ``teacher/`` and at last ``supernet/`` to the work directory.

    Args:
      recipe: The setting.
      workdir: Folder of the run; created when absent.
      data: A source that replaces the recipe's (``"digits"``, ``"folder:PATH"``, ``"tfds:NAME"``), or loaded data.
      validate: Called at the end of each epoch; its result goes to ``metrics.jsonl`` as ``val_top1``. When absent,
        ``evaluation.validator`` for data that is loaded here, nothing for data that is given.
      log: Gets the lines that tell what happens.

    Returns:
      The trained supernet.

    Raises:
      InputError: If the work directory holds a run of another recipe, a checkpoint or an image folder cannot be used,
        or the loss is no longer finite.
      SystemExit: After SIGTERM (code 143) or SIGINT (130), with a checkpoint written.
    """
    if isinstance(data, str):
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=data))
    folder = Path(workdir)
    _check_same_recipe(folder, recipe)
    if (WorkDir(folder).supernet_file).exists():
        log(f"{folder} is trained already.")
        return Supernet.load(WorkDir(folder).supernet)
    if data is None or isinstance(data, str):
        source = _load(recipe, folder)
        validate = validate or validator(source, recipe)
    else:
        source = data
    trainer = Trainer(recipe, source, folder, validate=validate, log=log)
    recipe.save(WorkDir(folder).recipe_file)
    trainer.announce()
    with _signals() as received, metrics.Journal(folder, step=trainer.step) as records:
        for phase in trainer.remaining():
            trainer.run(phase, records, received)
    if trainer.phases[-1].name == "teacher":  # no phase after it that would begin with its weights
        trainer.hand_over()
    net = trainer.family.net
    net.save(WorkDir(folder).supernet, recipe_hash=recipe.hash, **_provenance(source))
    log(f"Wrote {folder / 'supernet'}.")
    return net


class Losses:
    """Losses of the steps of one epoch; looking at them waits for the device, so that is done for several at once.

    Args:
      first_step: Step of the first entry.
      done: Losses of the steps that were done before, ``[steps, subnets]``.
    """

    def __init__(self, first_step: int, done: np.ndarray | None = None) -> None:
        self.first_step = first_step
        self._known = [] if done is None else list(done)
        self._pending: list[tf.Tensor] = []

    def add(self, losses: tf.Tensor) -> None:
        """Adds the losses of the next step, ``[subnets]``."""
        self._pending.append(losses)

    def settle(self, phase: str) -> np.ndarray:
        """Returns all losses, float32 ``[steps, subnets]``; ``InputError`` names the first step that is not finite."""
        for losses in self._pending:
            values = np.asarray(losses)
            if not np.isfinite(values).all():
                raise _diverged("loss", phase, self.first_step + len(self._known), f"loss={values.tolist()}")
            self._known.append(values)
        self._pending.clear()
        return np.stack(self._known) if self._known else np.zeros([0, 0], np.float32)


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

    def get_velocities(self) -> dict[str, np.ndarray]:
        """Returns a copy of the momentum of every trainable variable, by stable name."""
        return {name: velocity.numpy().copy() for name, velocity in self.optimizer.velocities.items()}

    def set_velocities(self, values: Mapping[str, np.ndarray] | None) -> None:
        """Sets the momentum of every trainable variable; to 0 for None."""
        for name, velocity in self.optimizer.velocities.items():
            velocity.assign(np.zeros(velocity.shape, np.float32) if values is None else values[name])


class Trainer:
    """A run in progress: the teacher, the family, the step reached.

    Args:
      recipe: The setting.
      data: Loaded data.
      folder: Work directory; the newest checkpoint in it is restored.
      validate: See ``train``.
      log: See ``train``.

    Attributes:
      family: The supernet; it begins with the weights of the teacher.
      teacher: What the first phase trains and gives soft labels to the others: the largest member of its space.
      phases: The phases of the run, those done included.
      step: Steps done, counted over all phases.
      compiled: The step functions in use; phases that differ in numbers only share one.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        folder: Path,
        *,
        validate: Validate | None = None,
        log: Callable[[str], None] = say,
    ) -> None:
        self.recipe, self.data, self.folder, self.validate, self.log = recipe, data, folder, validate, log
        self.space = recipe.space.build(classes=data.classes)
        self.phases = plan(recipe, train_size=data.train_size)
        check_phases(recipe, classes=data.classes)
        self.resolutions = resolutions_at(recipe.data.resolutions, seed=recipe.seed, steps=self.phases[-1].end)
        self.family = Learner(Supernet(self.space, seed=recipe.seed), recipe.optimizer)
        self.compiled: dict[str, TrainingStep] = {}
        self.step = 0
        self._losses = Losses(0)
        self._seconds: dict[str, float] = {}
        self._owner: dict[str, str | int] = {
            "recipe_hash": recipe.hash,
            "space": self.space.fingerprint,
            "training_images": data.train_size,
        }
        found = checkpoints.load_latest(WorkDir(folder).checkpoints, owner=self._owner, log=log)
        if found is not None:
            learner = self.learner(next(phase for phase in self.phases if found.step <= phase.end))
            learner.net.set_state(found.state)
            learner.set_velocities(found.velocities)
            self.step = found.step
            self._losses = Losses(found.step - len(found.losses), found.losses)
            log(f"Resuming {folder} at step {self.step} of {self.phases[-1].end}.")

    def remaining(self) -> list[Phase]:
        """The phases that are not finished."""
        return [phase for phase in self.phases if self.step < phase.end]

    @functools.cached_property
    def teacher(self) -> Learner:
        """See the class. Its weights are those of ``teacher/`` when a phase that distills begins."""
        space = teacher_space(self.recipe, classes=self.data.classes)
        return Learner(Supernet(space, seed=self.recipe.seed, name="teacher"), self.recipe.optimizer)

    def learner(self, phase: Phase) -> Learner:
        """Returns what a phase trains."""
        return self.teacher if phase.name == "teacher" else self.family

    def step_function(self, phase: Phase) -> TrainingStep:
        """Returns the compiled step of a phase."""
        kind = "teacher" if phase.name == "teacher" else "distill" if phase.settings.kd_ratio > 0 else "plain"
        if kind not in self.compiled:
            learner, settings = self.learner(phase), self.recipe.optimizer
            self.compiled[kind] = TrainingStep(
                learner.net,
                learner.optimizer,
                teacher=self.teacher.net if kind == "distill" else None,
                arch=learner.net.space.largest(self._side) if kind == "teacher" else None,
                label_smoothing=settings.label_smoothing,
                dropout=settings.dropout,
            )
        return self.compiled[kind]

    @property
    def _side(self) -> int:
        return max(self.recipe.accuracy.resolutions)

    def _archs(self, phase: Phase) -> dict[str, Arch]:
        """The members that are looked at while a phase trains."""
        space = self.learner(phase).net.space
        if phase.name != "teacher":
            return {"largest": space.largest(self._side), "smallest": space.smallest(self._side)}
        return {"largest" if space == self.space else "teacher": space.largest(self._side)}

    def announce(self) -> None:
        """Says what will happen and how long it may take, from a few timed steps; the weights stay as they are."""
        recipe, data, log = self.recipe, self.data, self.log
        skipped = getattr(data, "skipped", ())
        log(f"Training recipe {recipe.name} ({recipe.hash}) in {self.folder}.")
        log(f"Family: {recipe.space.family}, {self.space.size} subnets.")
        for name, arch in (("largest", self.space.largest(self._side)), ("smallest", self.space.smallest(self._side))):
            log(f"  {name}: {_size(self.space, arch)}")
        if self.phases[0].name == "teacher" and self.teacher.net.space != self.space:
            space, side = self.teacher.net.space, recipe.teacher.kernels[0]
            found = _size(space, space.largest(self._side))
            log(f"  teacher: {found}, kernels of {side} x {side}; the family starts from their centres")
        log(
            f"Data: {data.name}, {data.train_size} training, {data.val_size} validation images, {data.classes} classes."
        )
        for name, reason in skipped[:_NAMED_SKIPS]:
            log(f"  skipped {name}: {reason}")
        if len(skipped) > _NAMED_SKIPS:
            log(f"  and {len(skipped) - _NAMED_SKIPS} more that cannot be decoded; data_index.json names them")
        sides = ", ".join(map(str, recipe.data.resolutions))
        log(f"Batches of {recipe.data.batch_size} at {sides} px, {self.phases[0].epoch_steps} steps per epoch.")
        for phase in self.remaining():
            self._seconds[phase.name], ready_s = self._time_steps(phase)
            subnets = "largest network" if phase.name == "teacher" else f"{phase.settings.subnets} subnets per step"
            log(
                f"  {phase.name}: {phase.settings.epochs} epochs, {phase.steps} steps, {subnets}, learning rate up to "
                f"{phase.peak:.4g}, {self._seconds[phase.name]:.3g} s per step here (first one {ready_s:.0f} s)"
            )
        log(
            f"Estimated time from {_TIMED} timed steps per phase, without validation: {duration(self._seconds_left())}."
        )

    def _time_steps(self, phase: Phase) -> tuple[float, float]:
        """Returns seconds per step and seconds until the first step was done."""
        learner = self.learner(phase)
        state, velocities = learner.net.get_state(), learner.get_velocities()
        sides = np.asarray(self.recipe.data.resolutions)
        typical = sides[np.argmin(np.abs(sides - np.sqrt(np.mean(sides**2))))]
        sides_at = np.full(phase.start + _TIMED + 1, typical, np.int32)
        times = [time.perf_counter()]
        for images, labels in self._batches(start=phase.start, steps=_TIMED + 1, resolutions=sides_at):
            np.asarray(self._train_on(images, labels, phase, step=phase.start))
            times.append(time.perf_counter())
        learner.net.set_state(state)
        learner.set_velocities(velocities)
        return float(np.median(np.diff(times)[1:])), times[1] - times[0]

    def run(self, phase: Phase, records: metrics.Journal, received: list[int]) -> None:
        """Trains a phase from the step reached to its end; stops after a step when a signal was received."""
        self._begin(phase)
        first, began = self.step, time.perf_counter()
        batches = self._batches(start=self.step, steps=phase.end - self.step, resolutions=self.resolutions)
        with tqdm(
            total=phase.steps,
            initial=self.step - phase.start,
            desc=phase.name,
            bar_format=_BAR,
            leave=False,
            disable=None,
        ) as bar:
            for images, labels in batches:
                self._losses.add(self._train_on(images, labels, phase, step=self.step))
                self.step += 1
                bar.update()
                position = (self.step - phase.start - 1) % phase.epoch_steps + 1
                if position % _CHECK_EVERY == 0 or position == phase.epoch_steps:
                    losses = self._losses.settle(phase.name)
                    self._seconds[phase.name] = (time.perf_counter() - began) / (self.step - first)
                    bar.set_postfix_str(self._status(phase, losses[-_CHECK_EVERY:]))
                self._record(phase, position, records)
                if received:
                    self._stop(phase, received[0])
        if self.step != phase.end:
            raise InputError(
                f"The images ended before the phase {phase.name}. Received: {self.step} of {phase.end} steps"
            )

    def _begin(self, phase: Phase) -> None:
        """Fresh momentum, weights of the teacher, sorted channels at the first step of a phase; a teacher to ask."""
        before = [earlier.name for earlier in self.phases if earlier.end == phase.start]
        if self.step == phase.start:
            self.learner(phase).set_velocities(None)
            if before == ["teacher"]:
                self.hand_over()
            if phase.settings.sort_channels is not None:
                net, skipped = self.family.net, phase.settings.sort_channels
                net.set_state(channels.sort_channels(self.space, net.get_state(), skipped=skipped))
        if self.step_function(phase).teacher is not None:
            self.teacher.net.set_state(Supernet.load(WorkDir(self.folder).teacher).get_state())

    def hand_over(self) -> None:
        """Writes ``teacher/`` and gives the family the weights of the teacher."""
        self.teacher.net.save(WorkDir(self.folder).teacher, recipe_hash=self.recipe.hash, **_provenance(self.data))
        self.family.net.set_state(_centres(self.teacher.net, self.family.net))

    def _batches(self, *, start: int, steps: int, resolutions: np.ndarray) -> Any:
        return self.data.train(
            batch_size=self.recipe.data.batch_size,
            start_step=start,
            steps=steps,
            resolutions=resolutions,
            seed=self.recipe.seed,
        )

    def _train_on(self, images: tf.Tensor, labels: tf.Tensor, phase: Phase, *, step: int) -> tf.Tensor:
        settings, archs = phase.settings, {"step": step, "subnets": phase.settings.subnets}
        limits = {} if phase.name == "teacher" else settings.limits
        side = int(self.resolutions[step])
        codes = codes_at(self.learner(phase).net.space.codes, seed=self.recipe.seed, resolution=side, **archs, **limits)
        rate = phase.learning_rate(step)
        return self.step_function(phase)(images, labels, codes, rate, settings.kd_ratio, seed=(self.recipe.seed, step))

    def _record(self, phase: Phase, position: int, records: metrics.Journal) -> None:
        """Writes metrics a few times per epoch; validates and writes a checkpoint at its end."""
        every = max(1, phase.epoch_steps // _RECORDS_PER_EPOCH)
        done = position == phase.epoch_steps
        if position % every and not done:
            return
        losses = self._losses.settle(phase.name)
        record: dict[str, Any] = {
            "phase": phase.name,
            "epoch": round((self.step - phase.start) / phase.epoch_steps, 4),
            "step": self.step,
            "loss": float(losses[(position - 1) // every * every :].mean()),
            "learning_rate": phase.learning_rate(self.step - 1),
        }
        if done:
            if self.validate is not None:
                record["val_top1"] = dict(self.validate(self.learner(phase).net, self._archs(phase)))
            record["images_per_s"] = round(self._images_per_s(phase), 2)
            self._say_epoch(phase, record, float(losses.mean()))
            self._losses = Losses(self.step)
        records.write(record)
        if done:
            self.save_checkpoint(phase)

    def _say_epoch(self, phase: Phase, record: dict[str, Any], loss: float) -> None:
        found = "".join(f", {name} {top1:.1%}" for name, top1 in record.get("val_top1", {}).items())
        with tqdm.external_write_mode():
            self.log(
                f"{phase.name} epoch {round(record['epoch'])}/{phase.settings.epochs}: loss {loss:.4f}{found}, "
                f"{self._images_per_s(phase):.0f} images/s, {duration(self._seconds_left())} left"
            )

    def _status(self, phase: Phase, losses: np.ndarray) -> str:
        speed, left = self._images_per_s(phase), duration(self._seconds_left())
        return f"{speed:.0f} images/s, loss {losses.mean():.4f}, {left} left"

    def _images_per_s(self, phase: Phase) -> float:
        return self.recipe.data.batch_size / max(self._seconds[phase.name], 1e-9)

    def _seconds_left(self) -> float:
        return sum((p.end - max(self.step, p.start)) * self._seconds.get(p.name, 0.0) for p in self.remaining())

    def save_checkpoint(self, phase: Phase) -> Path:
        """Writes a checkpoint of the step reached; never one with weights that are not finite."""
        losses = self._losses.settle(phase.name)
        learner = self.learner(phase)
        state, velocities = learner.net.get_state(), learner.get_velocities()
        for name, array in [*state.items(), *velocities.items()]:
            if not np.isfinite(array).all():
                raise _diverged("update", phase.name, self.step - 1, f"variable={name}")
        made = checkpoints.Checkpoint(self.step, state, velocities, losses, self._owner)
        return checkpoints.save(WorkDir(self.folder).checkpoints, made)

    def _stop(self, phase: Phase, signum: int) -> None:
        self.save_checkpoint(phase)
        name = signal.Signals(signum).name
        self.log(f"Stopped by {name} after step {self.step}; run the same command again to resume.")
        raise SystemExit(128 + signum)


def _size(space: Space, arch: Arch) -> str:
    params, macs = (count(space, arch) / 1e6 for count in (cost.params, cost.macs))
    return f"{params:.2f} M parameters, {macs:.1f} M MACs at {arch.resolution} px"


def _centres(teacher: Supernet, family: Supernet) -> dict[str, np.ndarray]:
    """The weights of the teacher for the family: the same, but of larger kernels the centres."""
    found = teacher.get_state()
    return {
        name: center_crop(found[name], variable.shape[0]) if name.endswith("/depth/kernel") else found[name]
        for name, variable in family.variables_by_name.items()
    }


def _check_same_recipe(folder: Path, recipe: Recipe) -> None:
    if not (WorkDir(folder).recipe_file).exists():
        return
    found = Recipe.load(WorkDir(folder).recipe_file)
    if found.hash != recipe.hash:
        differences = found.differences(recipe)
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise InputError(
            f"{folder} holds a run with other settings; use another --workdir, or the same settings to resume it. "
            f"There and here: {'; '.join(differences[:3])}{more}"
        )


def _load(recipe: Recipe, folder: Path) -> Data:
    from compofa_tf import data

    found = data.load(recipe.data.source, recipe.data, seed=recipe.seed, workdir=folder)
    found.require_labels("Training")
    return found


def _provenance(data: Data) -> dict[str, Any]:
    """What must travel with the weights to use them."""
    return {"labels": list(data.labels), "normalization": data.normalization.to_json()}


def _diverged(what: str, phase: str, step: int, received: str) -> InputError:
    key = f"{phase}.learning_rate"
    return InputError(
        f"The {what} of step {step} in phase {phase} is not finite: training diverged. Try a lower {key} or a longer "
        f"{phase}.warmup_epochs in another --workdir. Received: {received}"
    )


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT; a second one of a kind acts at once. Only the main thread can listen."""
    received: list[int] = []

    def handle(signum: int, frame: Any) -> None:
        received.append(signum)
        signal.signal(signum, previous[signum])

    previous: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                previous[signum] = signal.getsignal(signum)
                signal.signal(signum, handle)
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
