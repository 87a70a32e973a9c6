"""Checkpoints of a training run: one ``.npz`` of plain arrays each, written atomically. NumPy only.

Writing takes place beside the training: that stops for a copy to memory and no longer.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compofa_tf import files
from compofa_tf.errors import InputError, at_least
from compofa_tf.training.phases import Phase
from compofa_tf.training.state import TrainState

_NAME = re.compile(r"step-(\d{9})\.npz")

Owner = Mapping[str, str | int]
"""Whose a checkpoint is: ``training_hash``, ``space`` (a fingerprint) and ``training_images`` (their number)."""


@dataclass(frozen=True)
class SaveWhen:
    """When a checkpoint is written.

    Attributes:
      every_epochs: At the end of every so many epochs of a phase, and of the phase.
      on_signal: Before a signal stops the run.
      every_minutes: When so many minutes have passed since the last one, in the middle of an epoch too: more than that
        and a start is not lost when the run is killed.
    """

    every_epochs: int = 1
    on_signal: bool = True
    every_minutes: float = 10.0

    def __post_init__(self) -> None:
        """Rejects what never comes."""
        at_least(1, every_epochs=self.every_epochs)
        if not self.every_minutes > 0:
            raise InputError(
                f"every_minutes must be positive, for example 10. Received: every_minutes={self.every_minutes!r}"
            )

    def due(self, phase: Phase, step: int, *, stopping: bool = False, minutes: float = 0.0) -> bool:
        """Whether a checkpoint is due after ``step`` steps of the run, ``minutes`` after the last one."""
        if (stopping and self.on_signal) or minutes >= self.every_minutes:
            return True
        return phase.ends_epoch(step) and (step == phase.end or phase.epoch(step) % self.every_epochs == 0)


@dataclass(frozen=True)
class Keep:
    """Which checkpoints are kept when another one was written.

    Attributes:
      newest: So many, the one just written among them.
    """

    newest: int = 2

    def __post_init__(self) -> None:
        """Rejects keeping none."""
        at_least(1, newest=self.newest)

    def dropped(self, steps: Sequence[int]) -> Sequence[int]:
        """Returns which of some steps, ascending, have a checkpoint no longer."""
        return steps[: -self.newest]


@dataclass
class Checkpoints:
    """The checkpoints of one run.

    Attributes:
      folder: Where they are.
      owner: Whose they are; others are refused.
      recipe_hash: ``Recipe.hash``, recorded in each.
      when: When one is written.
      keep: Which are kept.
    """

    folder: Path
    owner: Owner
    recipe_hash: str | None = None
    when: SaveWhen = SaveWhen()
    keep: Keep = Keep()
    _saved: float = field(default_factory=time.monotonic, init=False, repr=False)  # which no setting of the clock moves
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1), init=False, repr=False)
    _writing: Future[Path] | None = field(default=None, init=False, repr=False)

    def due(self, phase: Phase, step: int, *, stopping: bool) -> bool:
        """Whether one is due after ``step`` steps of the run."""
        return self.when.due(phase, step, stopping=stopping, minutes=(time.monotonic() - self._saved) / 60)

    def save(self, state: TrainState) -> Path:
        """Writes a checkpoint, and removes those that are not kept.

        Raises:
          OSError: If the folder cannot be written or the disk is full; older checkpoints are then untouched.
        """
        self.wait()
        self._saved = time.monotonic()
        return self._write(state)

    def begin(self, state: TrainState) -> None:
        """Begins to write a checkpoint, when the one before is written, and does not wait for the end.

        Args:
          state: What it holds; nobody may change it.

        Raises:
          OSError: If the one before could not be written.
        """
        self.wait()
        self._saved = time.monotonic()
        self._writing = self._writer.submit(self._write, state)

    def wait(self) -> None:
        """Waits until what was begun is written; raises ``OSError`` where it could not be."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, state: TrainState) -> Path:
        path = write(self.folder, state, owner=self.owner, recipe_hash=self.recipe_hash)
        there = _found(self.folder)
        for step in self.keep.dropped(list(there)):
            there[step].unlink()
        return path

    def restore(self, *, log: Callable[[str], None]) -> TrainState | None:
        """Reads the newest checkpoint; a damaged one is set aside, said so, and the one before it is taken.

        Returns:
          What it holds, or None if there is none yet.

        Raises:
          InputError: If there are checkpoints but every one is damaged, or one belongs to another run.
        """
        files.clear_unfinished(self.folder)
        damaged: list[str] = []
        for path in reversed(_found(self.folder).values()):
            try:
                arrays = files.read_arrays(path)
            except InputError as error:
                log(f"Warning: {error}")
                damaged.append(str(path))
                path.rename(path.with_name(path.name + ".damaged"))
                continue
            if damaged:
                log(f"Continuing from the checkpoint before it, {path}.")
            return _interpreted(path, arrays, self.owner)
        if damaged:
            raise InputError(
                f"Every checkpoint is truncated or damaged; remove the folder {self.folder} and run the same command "
                f"to start over. Received: {', '.join(damaged)}"
            )
        return None


def write(folder: Path, state: TrainState, *, owner: Owner, recipe_hash: str | None = None) -> Path:
    """Writes a checkpoint to ``folder`` and returns its path."""
    path = folder / f"step-{state.step:09d}.npz"
    made = {"schema_version": files.schema_version("checkpoint"), "recipe_hash": recipe_hash}
    arrays = {
        "header": np.array(json.dumps({"step": state.step, **made, **owner})),
        "losses": state.losses,
        **{f"state/{name}": array for name, array in state.weights.items()},
        **{f"velocity/{name}": array for name, array in state.velocities.items()},
    }
    with files.atomic_write(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    return path


def load(path: Path, *, owner: Owner) -> TrainState:
    """Reads a checkpoint of the run described by ``owner``.

    Raises:
      InputError: If the file is truncated or damaged, belongs to another training, space or set of images, or is of an
        earlier version that did not record what ``owner`` names.
    """
    return _interpreted(path, files.read_arrays(path), owner)


def _interpreted(path: Path, arrays: dict[str, np.ndarray], owner: Owner) -> TrainState:
    try:
        header = json.loads(str(arrays.pop("header")))
        step, losses, version = int(header["step"]), arrays.pop("losses"), int(header["schema_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a checkpoint of compofa_tf; remove it and run again.") from error
    _check_header(path, header, version, owner)
    parts: dict[str, dict[str, np.ndarray]] = {"state": {}, "velocity": {}}
    for name, array in arrays.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = array
    return TrainState(step, parts["state"], parts["velocity"], losses)


def _check_header(path: Path, header: dict[str, str | int], version: int, owner: Owner) -> None:
    newest = files.schema_version("checkpoint")
    over = f"use another --workdir, or remove the folder {path.parent} to start over"
    if version > newest:
        raise InputError(
            f"{path} was written by a newer version of compofa_tf; upgrade to read it. "
            f"Received: schema_version={version}"
        )
    for key, value in owner.items():
        if key not in header and version < newest:
            raise InputError(
                f"{path} was written by an earlier version of compofa_tf, which did not record its {key}; {over}. "
                f"Received: schema_version={version}"
            )
        if header.get(key) != value:
            raise InputError(
                f"{path} belongs to another {key.replace('_', ' ')}; {over}. Expected: {value}. "
                f"Received: {header.get(key)}"
            )


def _found(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by their steps, ascending."""
    names = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*.npz"))
    return dict(sorted((int(match[1]), path) for match, path in names if match))
