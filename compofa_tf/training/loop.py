"""Training a family: the teacher, then all subnets together. Read from top to bottom.

Where a run continues from, in this order: (1) ``<workdir>/supernet`` exists: the run is finished; (2) the newest
readable file in ``<workdir>/checkpoints``; (3) fresh weights from the recipe's seed. What a step trains is a function
of the seed and the step, so a resumed run repeats what the uninterrupted one would have done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from compofa_tf.data import Data, load
from compofa_tf.data.card import load_card, located, require_same_classes
from compofa_tf.data.dataset import PicturesLostError
from compofa_tf.errors import InputError
from compofa_tf.nets.supernet import Supernet
from compofa_tf.progress import say
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.space.sampling import resolutions_at
from compofa_tf.training.checkpoints import Checkpoints, SaveWhen
from compofa_tf.training.estimate import Pace, announce
from compofa_tf.training.metrics import MetricsLog, Record, record_of
from compofa_tf.training.networks import Networks
from compofa_tf.training.phases import Phase, check_phases, phase_at, place_phases
from compofa_tf.training.signals import Stopped, stop_signals
from compofa_tf.training.state import EpochLosses
from compofa_tf.training.validation import Validate, validator
from compofa_tf.training.writers import TensorBoard
from compofa_tf.workdir import WorkDir

_NAMED_DIFFERENCES = 3
_STOPPED = "Stopped by {} after step {}; run the same command again to resume."
_BAR = "{desc} {percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt}{postfix}"

Log = Callable[[str], None]


def train(
    recipe: Recipe,
    *,
    workdir: str | os.PathLike[str],
    data: str | Data | None = None,
    validate: Validate | None = None,
    checkpoint_minutes: float = 10.0,
    log: Log = say,
) -> Supernet:
    """Trains a family as the recipe says, or continues where an earlier call stopped.

    Writes ``recipe.json``, ``metrics.jsonl``, ``tensorboard/``, ``checkpoints/`` (every some minutes, after every epoch
    and on SIGTERM or SIGINT), ``teacher/`` and at last ``supernet/`` to the work directory. A run that is killed at any
    moment and started again ends with the weights and the metrics of an uninterrupted one on the same machine.

    Args:
      recipe: The setting. Where the work directory has a run of the same ``training_hash``, this recipe replaces that
        of the run: where the images lie and how subnets are measured, searched and exported may change.
      workdir: Folder of the run; created when absent.
      data: A source that replaces the recipe's (``"digits"``, ``"folder:PATH"``, ``"tfds:NAME"``), or loaded data.
      validate: Called at the end of each epoch; its result goes to ``metrics.jsonl`` as ``val_top1``. When absent,
        ``validation.validator`` for data that is loaded here, nothing for data that is given.
      checkpoint_minutes: A checkpoint is written after so many minutes at the latest: more is not lost when the run is
        killed.
      log: Gets the lines that tell what happens.

    Returns:
      The trained supernet.

    Raises:
      InputError: If the work directory holds a run of another training, a checkpoint or an image folder cannot be
        used, or the loss is no longer finite.
      SystemExit: After SIGTERM (code 143) or SIGINT (130), with a checkpoint written.
    """
    paths = WorkDir(Path(workdir))
    if isinstance(data, str):
        recipe, data = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=data)), None
    when = SaveWhen(every_minutes=checkpoint_minutes)
    _check_same_training(recipe, paths)
    if paths.supernet_file.exists():
        _save_recipe(recipe, paths, log)
        log(f"{paths.path} is trained already.")
        return Supernet.load(paths.supernet)
    if data is None:
        data = _load(recipe, paths, log)
        validate = validate or validator(data, recipe)
    return _train(_Training.of(recipe, data, paths, when, validate, log))


@dataclass(frozen=True)
class _Training:
    """What a training is made of."""

    recipe: Recipe
    data: Data
    paths: WorkDir
    phases: tuple[Phase, ...]
    networks: Networks
    checkpoints: Checkpoints
    validate: Validate | None
    log: Log

    @classmethod
    def of(
        cls, recipe: Recipe, data: Data, paths: WorkDir, when: SaveWhen, validate: Validate | None, log: Log
    ) -> _Training:
        phases = place_phases(recipe, train_size=data.train_size)
        check_phases(recipe, classes=data.classes)
        networks = Networks(recipe, classes=data.classes)
        owner: dict[str, str | int] = {
            "training_hash": recipe.training_hash,
            "space": networks.space.fingerprint,
            "training_images": data.train_size,
        }
        checkpoints = Checkpoints(paths.checkpoints, owner, recipe.hash, when)
        return cls(recipe, data, paths, phases, networks, checkpoints, validate, log)


def _train(run: _Training) -> Supernet:
    networks, checkpoints, log = run.networks, run.checkpoints, run.log
    found = checkpoints.restore(log=log)
    state = found or networks.of(run.phases[0]).get_state()
    networks.of(phase_at(run.phases, state.step)).set_state(state)
    step, losses = state.step, EpochLosses.of(state)
    if step:
        log(f"Resuming {run.paths.path} at step {step} of {run.phases[-1].end}.")
    _save_recipe(run.recipe, run.paths, log)
    _save_card(run)
    log(f"Training recipe {run.recipe.name} ({run.recipe.hash}) in {run.paths.path}.")
    if found is None:  # the next start, if there must be one, begins at once
        checkpoints.save(state)
    resolutions = resolutions_at(run.recipe.data.resolutions, seed=run.recipe.seed, steps=run.phases[-1].end)
    with stop_signals() as received, _told(log), TensorBoard(run.paths.tensorboard) as board:
        metrics = MetricsLog(run.paths.metrics_file, step=step, also=board.write)
        received.at_once = True
        pace = announce(run.recipe, run.data, networks, run.phases, step=step, log=log, timed=found is None)
        last = phase_at(run.phases, step)
        if len(state.losses) and metrics.lacks(last, step):  # stopped between the checkpoint and its record
            metrics.write(_record(run, last, step, losses.settle(last.name), pace))
        if step and last.ends_epoch(step):
            losses = EpochLosses(step)
        for phase in (phase for phase in run.phases if state.step < phase.end):
            _begin(run, phase, step)
            pace.begin(step)
            received.at_once = True
            try:
                with _bar(phase, step) as bar:
                    for images, labels in _batches(run, phase, step, resolutions):
                        losses.add(networks.train(phase, images, labels, step=step, resolution=int(resolutions[step])))
                        received.at_once = False
                        step += 1
                        bar.update()
                        if pace.due(phase, step):
                            bar.set_postfix_str(pace.look(phase, step, losses.settle(phase.name)))
                        saved = checkpoints.due(phase, step, stopping=bool(received))
                        if saved:
                            _begin_checkpoint(run, phase, step, losses)
                        if metrics.due(phase, step) and not received:  # written when the run goes on
                            received.at_once = saved  # validation may take longer than a scheduler waits
                            metrics.write(_record(run, phase, step, losses.settle(phase.name), pace))
                            received.at_once = False
                        if received:
                            if not saved and checkpoints.due(phase, step, stopping=True):
                                _begin_checkpoint(run, phase, step, losses)
                            checkpoints.wait()
                            log(_STOPPED.format(received[0].name, step))
                            raise SystemExit(128 + received[0])
                        if phase.ends_epoch(step):
                            losses = EpochLosses(step)
            except PicturesLostError:
                _begin_checkpoint(run, phase, step, losses)
                checkpoints.wait()
                raise
            checkpoints.wait()
    if run.phases[-1].of_teacher:  # no phase after it that would begin with its weights
        _hand_over(run)
    _save(run, networks.family.net, run.paths.supernet)
    log(f"Wrote {run.paths.supernet}.")
    return networks.family.net


def _begin_checkpoint(run: _Training, phase: Phase, step: int, losses: EpochLosses) -> None:
    made = run.networks.of(phase).get_state(step=step, losses=losses.settle(phase.name))
    run.checkpoints.begin(made.check(phase=phase.name))


@contextlib.contextmanager
def _told(log: Log) -> Iterator[None]:
    """Says what stopped a run between its steps: while something was compiled or validated."""
    try:
        yield
    except Stopped as stopped:
        log(f"Stopped by {stopped.signal.name}; nothing is lost, run the same command again to resume.")
        raise


def _begin(run: _Training, phase: Phase, step: int) -> None:
    """Fresh momentum, weights of the teacher, sorted channels at the first step of a phase; a teacher to ask."""
    networks = run.networks
    if step == phase.start:
        networks.of(phase).set_velocities(None)
        if phase.takes_over:
            _hand_over(run)
        if phase.settings.sort_channels is not None:
            networks.sort_channels(phase.settings.sort_channels)
    if networks.step_of(phase).teacher is not None:
        networks.teacher.net.set_state(Supernet.load(run.paths.teacher).get_state())


def _hand_over(run: _Training) -> None:
    """Writes ``teacher/`` and gives the family the weights of the teacher."""
    _save(run, run.networks.teacher.net, run.paths.teacher)
    run.networks.hand_over()


def _save(run: _Training, net: Supernet, folder: Path) -> None:
    """Writes a network with what must travel with the weights to use them."""
    net.save(
        folder,
        recipe_hash=run.recipe.hash,
        training_hash=run.recipe.training_hash,
        labels=list(run.data.labels),
        normalization=run.data.normalization.to_json(),
    )


def _bar(phase: Phase, step: int) -> Any:
    return tqdm(
        total=phase.steps, initial=step - phase.start, desc=phase.name, bar_format=_BAR, leave=False, disable=None
    )


def _batches(run: _Training, phase: Phase, step: int, resolutions: np.ndarray) -> Iterator[tuple[Any, Any]]:
    """Yields the batches of a phase from a step of the run on."""
    chosen = {"batch_size": run.recipe.data.batch_size, "seed": run.recipe.seed}
    while step < phase.end:
        began = step
        try:
            for batch in run.data.train(**chosen, resolutions=resolutions, start_step=step, steps=phase.end - step):
                yield batch
                step += 1
            break
        except tf.errors.OpError:
            found = run.data.mend(**chosen, step=step)
            if not found and step == began:
                raise  # another reason, which would come again and again
            for name, reason in found:
                run.log(f"Replaced by the next picture from now on: {name} ({reason}).")
    if step != phase.end:
        raise InputError(f"The images ended before the phase {phase.name}. Received: {step} of {phase.end} steps")


def _record(run: _Training, phase: Phase, step: int, losses: np.ndarray, pace: Pace) -> Record:
    """What is written of the steps since the last record; at the end of an epoch it is validated and said, too."""
    record = record_of(phase, step, losses)
    if not phase.ends_epoch(step):
        return record
    if run.validate is not None:
        record["val_top1"] = _validated(run, phase, run.validate)
    speed = ""
    if pace.knows(phase):
        record["images_per_s"] = round(pace.images_per_s(phase), 2)
        speed = f", {pace.images_per_s(phase):.0f} images/s, {pace.left(step)} left"
    found = "".join(f", {name} {top1:.1%}" for name, top1 in record.get("val_top1", {}).items())
    with tqdm.external_write_mode():
        run.log(
            f"{phase.name} epoch {round(record['epoch'])}/{phase.settings.epochs}: loss {losses.mean():.4f}{found}"
            f"{speed}"
        )
    return record


def _validated(run: _Training, phase: Phase, validate: Validate) -> dict[str, float]:
    """Top-1 of named subnets. The network stays as it was: calibration leaves other statistics behind."""
    net = run.networks.of(phase).net
    before = net.get_state()
    found = dict(validate(net, run.networks.watched(phase)))
    net.set_state(before)
    return found


def _check_same_training(recipe: Recipe, paths: WorkDir) -> None:
    """Refuses a work directory with weights that other settings decide."""
    found = _recipe_in(paths)
    if found is not None and found.training_hash != recipe.training_hash:
        raise InputError(
            f"{paths.path} holds a run with other settings; use another --workdir, or the same settings to resume it. "
            f"There and here: {_some(found.differences(recipe, of_training=True))}"
        )


def _load(recipe: Recipe, paths: WorkDir, log: Log) -> Data:
    """Loads the data, with the classes that it had when the run began; a relative path counts from there."""
    card, source = load_card(paths.data_card_file), recipe.data.source
    if card is not None and card.source == source:
        source = located(source, card.relative_to)
    data = load(source, recipe.data, seed=recipe.seed, workdir=paths.path, log=log)
    data.require_labels("Training")
    if card is None:
        return data
    require_same_classes(card.classes, data.labels, where=str(paths.path))
    return data.bound_to(card.classes, log=log)


def _save_card(run: _Training) -> None:
    """Writes down what the data is when a run begins, and where it is now when it moved."""
    file, source = run.paths.data_card_file, run.recipe.data.source
    card = load_card(file)
    if run.data.survey is None or (card is not None and card.source == source):
        return
    (run.data.survey.card() if card is None else card.at(source)).save(file)


def _save_recipe(recipe: Recipe, paths: WorkDir, log: Log) -> None:
    """Writes ``recipe.json``, and says what changed where there was one."""
    found = _recipe_in(paths)
    if found == recipe:
        return
    if found is not None:
        log(f"Settings that changed, before and now: {_some(found.differences(recipe))}.")
    recipe.save(paths.recipe_file)


def _recipe_in(paths: WorkDir) -> Recipe | None:
    return Recipe.load(paths.recipe_file) if paths.recipe_file.exists() else None


def _some(differences: list[str]) -> str:
    more = len(differences) - _NAMED_DIFFERENCES
    return "; ".join(differences[:_NAMED_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")
