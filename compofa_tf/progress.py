"""What a person sees of long work: a bar on a terminal, a line now and then in a log file. No TensorFlow."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

_LINE_EVERY_S = 30.0


def say(text: str) -> None:
    """Prints a line to standard output at once."""
    print(text, flush=True)


def duration(seconds: float) -> str:
    """Returns a span of time for people: ``"45 s"``, ``"12 min"``, ``"3 h 20 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def progress_bar(*, total: int, desc: str, initial: int = 0, unit: str = "subnet", shown: bool = True) -> Any:
    """Returns a context manager with ``update(n=1)`` and ``set_postfix_str(text)`` that shows how far the work is.

    On a terminal it is a tqdm bar with rate and time left; elsewhere a line every half minute.

    Args:
      total: Units of work in all.
      desc: What is being done.
      initial: Units already done.
      unit: Name of a unit.
      shown: False shows nothing.
    """
    if not shown or sys.stderr.isatty():
        return tqdm(
            total=total, initial=initial, desc=desc, unit=unit, disable=not shown, dynamic_ncols=True, smoothing=0.1
        )
    return _Lines(total, desc, initial, unit)


class _Lines:
    def __init__(self, total: int, desc: str, initial: int, unit: str) -> None:
        self.total, self.desc, self.done, self.unit = total, desc, initial, unit
        self.printed = time.monotonic()
        self.first: tuple[float, int] | None = None
        self.postfix = ""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set_postfix_str(self, text: str) -> None:
        """Sets the text after the counts."""
        self.postfix = text

    def update(self, n: int = 1) -> None:
        """Counts ``n`` units as done; the first ones, in which graphs are made, tell nothing of the time left."""
        self.done += n
        now = time.monotonic()
        self.first = self.first or (now, self.done)
        start, done = self.first
        if now - self.printed > _LINE_EVERY_S:
            self.printed = now
            text = f"{self.desc}: {self.done} of {self.total} {self.unit}s"
            if self.done > done:
                text += f", {duration((now - start) / (self.done - done) * (self.total - self.done))} left"
            print(f"{text} {self.postfix}".rstrip(), file=sys.stderr, flush=True)
