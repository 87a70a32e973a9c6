"""Hides what TensorFlow's native code prints while it starts. Imports nothing of it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

_COMPLAINT = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Improper call to JPEG|Invalid SOS parameters|libpng (warning|error)"
    rb"|Inconsistent progression sequence|Unsupported marker type|Bogus marker|Warning: unknown JFIF"
    rb"|[Ee]xtraneous bytes before marker|Not a JPEG file|Adobe APP14|Application transferred too (few|many) scanlines"
)
"""Lines of libjpeg and libpng about files that they read nevertheless, or that are refused with a sentence of ours."""


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


@contextlib.contextmanager
def decoder_complaints_hidden() -> Iterator[None]:
    """Keeps what image decoders print about odd files off the terminal, for they name no file; all else goes through.

    The libjpeg in TensorFlow writes to file descriptor 2. In the block that is a pipe, read by a thread that passes on
    every line but those; Python's own ``sys.stderr`` goes on writing to the terminal itself.
    """
    python_stderr = sys.stderr
    try:
        python_stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError):  # closed: nothing reaches a terminal
        yield
        return
    reading, writing = os.pipe()
    with os.fdopen(os.dup(saved), "w", buffering=1) as terminal:
        if _descriptor(python_stderr) == 2:
            sys.stderr = terminal
        os.dup2(writing, 2)
        os.close(writing)
        passing = threading.Thread(target=_pass_on, args=(reading, saved), daemon=True)
        passing.start()
        try:
            yield
        finally:
            if sys.stderr is terminal:
                sys.stderr = python_stderr
            os.dup2(saved, 2)  # closes the pipe, so that the thread ends, unless another process still holds it
            passing.join(timeout=1.0)
            if not passing.is_alive():
                os.close(saved)


def _pass_on(reading: int, terminal: int) -> None:
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        rest = b""
        while chunk := pipe.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            kept = [line + b"\n" for line in lines if not _COMPLAINT.search(line)]
            if kept:
                os.write(terminal, b"".join(kept))
        if rest:
            os.write(terminal, rest)


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
