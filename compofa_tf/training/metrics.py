"""``metrics.jsonl``, a line of JSON for every few steps of a training: what stands in it, writing and reading it.

NumPy only, so that those who look at a run load no TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf import files
from compofa_tf.training.phases import Phase

RECORDS_PER_EPOCH = 5

Record = dict[str, Any]
"""At least ``phase``, ``epoch`` (a fraction within the phase), ``step`` (over all), ``loss`` and ``learning_rate``."""


def record_of(phase: Phase, step: int, losses: np.ndarray) -> Record:
    """Returns what is written of the steps since the last record.

    Args:
      phase: The phase in training.
      step: Steps of the run that are done.
      losses: Losses of the steps of the epoch, float32 ``[steps, subnets]``.
    """
    every = _every(phase)
    return {
        "phase": phase.name,
        "epoch": round(phase.epoch(step), 4),
        "step": step,
        "loss": float(losses[(phase.position(step) - 1) // every * every :].mean()),
        "learning_rate": phase.learning_rate(step - 1),
    }


def _every(phase: Phase) -> int:
    return max(1, phase.epoch_steps // RECORDS_PER_EPOCH)


class MetricsLog:
    """Appends records to a ``metrics.jsonl``.

    Args:
      path: The file.
      step: Step that the run resumes at; later records, of steps that will be repeated, are removed.
      also: Gets every record after it was written.
    """

    def __init__(self, path: Path, *, step: int, also: Callable[[Record], None] | None = None) -> None:
        self._path, self._also = path, also
        self._last = 0
        if path.exists():
            kept = [record for record in read(path) if record["step"] <= step]
            self._last = kept[-1]["step"] if kept else 0
            with files.atomic_write(path) as temporary:
                temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")

    def due(self, phase: Phase, step: int) -> bool:
        """Whether a record is due after ``step`` steps of the run: a few times per epoch, and at its end."""
        return phase.position(step) % _every(phase) == 0 or phase.ends_epoch(step)

    def lacks(self, phase: Phase, step: int) -> bool:
        """Whether a record of the step that a run resumes at is due and was not written before it was stopped."""
        return step > self._last and self.due(phase, step)

    def write(self, record: Record) -> None:
        """Appends one record; a crash can damage the last line only."""
        self._last = record["step"]
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._also is not None:
            self._also(record)


def read(path: Path) -> list[Record]:
    """Returns the records of a ``metrics.jsonl``; what is no record, such as a line that a crash cut, is left out."""
    return [record for record in read_lines(path)[0] if isinstance(record.get("step"), int)]


def read_lines(path: Path) -> tuple[list[Record], int]:
    """Returns what the lines of a ``metrics.jsonl`` say, and how many lines before the last one are unreadable."""
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    found, unreadable = [], 0
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            unreadable += number < len(lines)
            continue
        found += [content] if isinstance(content, dict) else []
    return found, unreadable


def scalars(record: Record) -> dict[str, float]:
    """Returns the numbers of a record but its step, nested ones (``val_top1``) as ``val_top1/largest``."""
    flat = {}
    for name, value in record.items():
        entries = value.items() if isinstance(value, dict) else [("", value)]
        flat.update(
            {f"{name}/{key}".rstrip("/"): number for key, number in entries if isinstance(number, (int, float))}
        )
    flat.pop("step")
    return flat
