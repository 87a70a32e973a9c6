"""Checkpoints of a training run: one ``.npz`` of plain arrays each, written atomically, the last two kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.files import read_arrays

KEPT = 2
_NAME = re.compile(r"step-(\d{9})\.npz")


@dataclass(frozen=True)
class Checkpoint:
    """Everything that decides how a run continues. Sampling needs no state: it is a function of seed and step.

    Attributes:
      step: Steps done, counted over all phases.
      state: Every variable of the supernet by stable name.
      velocities: Momentum of every trainable variable, by the same names.
      losses: Losses of the steps done in the current epoch, float32 ``[steps, subnets]``.
      owner: What the run is about: recipe hash, space fingerprint, number of training images.
    """

    step: int
    state: dict[str, np.ndarray]
    velocities: dict[str, np.ndarray]
    losses: np.ndarray
    owner: dict[str, str | int]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint to ``folder`` and removes all but the newest two.

    Raises:
      OSError: If the folder cannot be written or the disk is full; older checkpoints are then untouched.
    """
    path = folder / f"step-{checkpoint.step:09d}.npz"
    header = json.dumps(
        {"step": checkpoint.step, "schema_version": files.schema_version("checkpoint"), **checkpoint.owner}
    )
    arrays = {
        "header": np.array(header),
        "losses": checkpoint.losses,
        **{f"state/{name}": array for name, array in checkpoint.state.items()},
        **{f"velocity/{name}": array for name, array in checkpoint.velocities.items()},
    }
    with files.atomic_write(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    for old in _found(folder)[:-KEPT]:
        old.unlink()
    return path


def load(path: Path, *, owner: dict[str, str | int]) -> Checkpoint:
    """Reads a checkpoint of the run described by ``owner``.

    Raises:
      InputError: If the file is truncated or damaged, or belongs to another space, recipe or set of images.
    """
    return _interpret(path, read_arrays(path), owner)


def _interpret(path: Path, arrays: dict[str, np.ndarray], owner: dict[str, str | int]) -> Checkpoint:
    try:
        header = json.loads(str(arrays.pop("header")))
        step, losses = int(header["step"]), arrays.pop("losses")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a checkpoint of compofa_tf; remove it and run again.") from error
    for key, value in owner.items():
        if header.get(key) != value:
            raise InputError(
                f"{path} belongs to another {key.replace('_', ' ')}; use another --workdir, or remove the folder "
                f"{path.parent} to start over. Expected: {value}. Received: {header.get(key)}"
            )
    parts: dict[str, dict[str, np.ndarray]] = {"state": {}, "velocity": {}}
    for name, array in arrays.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = array
    return Checkpoint(step, parts["state"], parts["velocity"], losses, dict(owner))


def load_latest(folder: Path, *, owner: dict[str, str | int], log: Callable[[str], None]) -> Checkpoint | None:
    """Reads the newest checkpoint; a damaged one is set aside, said so, and the one before it is taken.

    Returns:
      The checkpoint, or None if there is none yet.

    Raises:
      InputError: If there are checkpoints but every one is damaged, or one belongs to another run.
    """
    damaged: list[str] = []
    for path in reversed(_found(folder)):
        try:
            arrays = read_arrays(path)
        except InputError as error:
            log(f"Warning: {error}")
            damaged.append(str(path))
            path.rename(path.with_name(path.name + ".damaged"))
            continue
        if damaged:
            log(f"Continuing from the checkpoint before it, {path}.")
        return _interpret(path, arrays, owner)
    if damaged:
        raise InputError(
            f"Every checkpoint is truncated or damaged; remove the folder {folder} and run the same command to start "
            f"over. Received: {', '.join(damaged)}"
        )
    return None


def _found(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.npz") if _NAME.fullmatch(path.name))
