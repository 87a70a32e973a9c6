"""Hides what TensorFlow's native code prints while it starts. Imports nothing of it."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def native_stderr_hidden() -> Iterator[list[str]]:
    """Keeps what is written to file descriptor 2 out of sight, and shows it after all if the block fails.

    Python's own ``sys.stderr`` goes on writing to the terminal.

    Yields:
      A list that holds the hidden text once the block has ended.
    """
    hidden: list[str] = []
    sys.stderr.flush()
    saved = os.dup(2)
    python_stderr = sys.stderr
    with tempfile.TemporaryFile() as sink, os.fdopen(os.dup(saved), "w", buffering=1) as terminal:
        if _descriptor(python_stderr) == 2:
            sys.stderr = terminal
        os.dup2(sink.fileno(), 2)
        failed = True
        try:
            yield hidden
            failed = False
        finally:
            sys.stderr = python_stderr
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            hidden.append(sink.read().decode(errors="replace"))
            if failed:
                sys.stderr.write(hidden[0])


def _descriptor(stream: Any) -> int | None:
    """File descriptor of a stream; notebooks and test runners put streams without one in place of ``sys.stderr``."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError):
        return None


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without its start-up notices; warnings and errors of later work still show.

    No operation runs, so that threads can still be arranged and a strategy for several machines made.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    with native_stderr_hidden():
        import tensorflow as tf

        tf.config.list_physical_devices()
    tf.get_logger().setLevel("ERROR")
