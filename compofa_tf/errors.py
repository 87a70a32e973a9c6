"""The one exception that means "the input was wrong, and here is how to mend it"."""

from __future__ import annotations


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
