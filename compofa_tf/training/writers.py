"""Metrics where people watch them: TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import tensorflow as tf

from compofa_tf.errors import InputError
from compofa_tf.training.metrics import Record, scalars


class TensorBoard:
    """Writes records as scalars; a context manager.

    Args:
      folder: Where the event files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self._explained():
            self._writer = tf.summary.create_file_writer(str(folder))

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._explained() if error is None else contextlib.suppress(tf.errors.OpError):
            self._writer.close()

    def write(self, record: Record) -> None:
        """Writes the numbers of one record at its step."""
        with self._explained():
            with self._writer.as_default(step=record["step"]):
                for name, value in scalars(record).items():
                    tf.summary.scalar(name, value)
            self._writer.flush()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Says which file cannot be written; TensorFlow's errors are none of the system's."""
        try:
            yield
        except tf.errors.OpError as error:
            reason = " ".join(str(error.message).split())[:200]
            raise InputError(
                f"TensorBoard's file in {self._folder} cannot be written ({reason}); make room, or give yourself the "
                "right to it, and run the same command again to go on."
            ) from error
