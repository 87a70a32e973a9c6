"""The one exception that means "the input was wrong, and here is how to mend it", and the usual sentences of it.

``ValueError`` is for mistakes of a programmer, which no user can make.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something a user gave cannot be used.

    The message is one sentence that names what was wrong and how to mend it; the command line prints it as one line on
    standard error and exits with code 1.
    """


class NotCoveredError(InputError, KeyError):
    """A table was asked for something that nobody measured."""

    def __str__(self) -> str:
        """Returns the plain sentence; ``KeyError`` would quote it."""
        return str(self.args[0]) if self.args else ""


def at_least(least: float, **values: float) -> None:
    """Raises ``InputError`` naming the first of some values that is smaller than ``least``."""
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name} must be at least {least}. Received: {name}={value}")


def did_you_mean(word: str, known: Iterable[str], *, say: str = "{}", count: int = 2, cutoff: float = 0.5) -> str:
    """Returns the half sentence that names what is near to a mistyped word, or else all that is known.

    Args:
      word: What was given.
      known: What there is.
      say: How a near word is written, ``{}`` standing for it.
      count: How many near words at most.
      cutoff: How near, 1 being the word itself.
    """
    names = list(known)
    near = difflib.get_close_matches(word, names, n=count, cutoff=cutoff)
    if near:
        return f"did you mean {' or '.join(map(say.format, near))}?"
    return f"there are {', '.join(names)}."
