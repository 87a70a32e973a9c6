"""Metrics where people watch them: TensorBoard."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import tensorflow as tf

from compofa_tf.training.metrics import Record, scalars


class TensorBoard:
    """Writes records as scalars; a context manager.

    Args:
      folder: Where the event files go.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, record: Record) -> None:
        """Writes the numbers of one record at its step."""
        with self._writer.as_default(step=record["step"]):
            for name, value in scalars(record).items():
                tf.summary.scalar(name, value)
        self._writer.flush()
