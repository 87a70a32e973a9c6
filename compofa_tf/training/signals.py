"""SIGTERM and SIGINT while a run trains: the step under way is finished first, but not its compiling. No TensorFlow."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
"""What stops a run: the wish of a scheduler, or of somebody at the keyboard."""


class Stopped(SystemExit):
    """A signal came while nothing was to be lost: the process ends by the code of that signal.

    Args:
      found: The signal.
    """

    def __init__(self, found: signal.Signals) -> None:
        super().__init__(128 + found)
        self.signal = found


class Received(list[signal.Signals]):
    """Signals that came and wait for the end of a step.

    Attributes:
      at_once: Whether the next one ends the process at once (``Stopped``): while a step is compiled, which takes longer
        than a scheduler waits, and everything so far is in a checkpoint.
    """

    at_once = False


@contextlib.contextmanager
def stop_signals() -> Iterator[Received]:
    """Collects ``STOPPING`` signals; a second one of a kind acts at once. Only the main thread can listen.

    Yields:
      A list that grows when one comes.
    """
    received = Received()

    def handle(number: int, frame: Any) -> None:
        if received.at_once:
            raise Stopped(signal.Signals(number))
        received.append(signal.Signals(number))
        signal.signal(number, previous[number])

    previous: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for wish in STOPPING:
                previous[wish] = signal.getsignal(wish)
                signal.signal(wish, handle)
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
