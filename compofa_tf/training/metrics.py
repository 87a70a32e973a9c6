"""What a run leaves behind while it trains: ``metrics.jsonl`` and TensorBoard scalars."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorflow as tf

from compofa_tf import files
from compofa_tf.workdir import WorkDir


class Journal:
    """Appends records to ``metrics.jsonl`` and to ``tensorboard/``; a context manager.

    A record has at least ``phase``, ``epoch`` (a fraction within the phase), ``step`` (over all phases), ``loss`` and
    ``learning_rate``. Nested mappings (``val_top1``) become ``val_top1/largest`` in TensorBoard.

    Args:
      folder: Work directory.
      step: Step that the run resumes at; later records, of steps that will be repeated, are removed.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._path = WorkDir(folder).metrics_file
        self._truncate(step)
        self._writer = tf.summary.create_file_writer(str(WorkDir(folder).tensorboard))

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, record: dict[str, Any]) -> None:
        """Appends one record; a crash can damage the last line only."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        with self._writer.as_default(step=record["step"]):
            for name, value in _scalars(record).items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def _truncate(self, step: int) -> None:
        if self._path.exists():
            kept = [record for record in read(self._path) if record["step"] <= step]
            with files.atomic_write(self._path) as temporary:
                temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the records of a ``metrics.jsonl``; an incomplete line, left by a crash, is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records


def _scalars(record: dict[str, Any]) -> dict[str, float]:
    flat = {}
    for name, value in record.items():
        entries = value.items() if isinstance(value, dict) else [("", value)]
        flat.update(
            {f"{name}/{key}".rstrip("/"): number for key, number in entries if isinstance(number, (int, float))}
        )
    flat.pop("step")
    return flat
