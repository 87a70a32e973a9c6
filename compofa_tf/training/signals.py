"""SIGTERM and SIGINT while a run trains: the step under way is finished first. No TensorFlow."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
"""What stops a run: the wish of a scheduler, or of somebody at the keyboard."""


@contextlib.contextmanager
def stop_signals() -> Iterator[list[signal.Signals]]:
    """Collects ``STOPPING`` signals; a second one of a kind acts at once. Only the main thread can listen.

    Yields:
      A list that grows when one comes.
    """
    received: list[signal.Signals] = []

    def handle(number: int, frame: Any) -> None:
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
