"""What a source found: one row per picture, before any was decoded. No TensorFlow."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

TRAIN, VAL, TEST = 0, 1, 2
"""What a picture is for: training (and calibrating), choosing, judging."""

ROLES = ("train", "val", "test")
"""Names of the roles by their number."""


@dataclass(frozen=True)
class Ignored:
    """A file or folder that was passed over.

    Attributes:
      name: Printable path below the root.
      reason: Why, for example ``"not a picture"``.
      count: Files that it stands for.
    """

    name: str
    reason: str
    count: int = 1


@dataclass(frozen=True, eq=False)
class Listing:
    """What a source found.

    Attributes:
      name: Short name of the data set.
      classes: Class names; a label is a position in it. Empty for pictures without classes.
      items: One absolute path (``str``) or encoded picture (``bytes``) each, all of one kind.
      names: One printable name per picture, for messages.
      labels: int32 ``[n]``.
      roles: int8 ``[n]``, what each picture is for: ``TRAIN``, ``VAL`` or ``TEST``.
      has_val: Whether the source names its validation pictures; else some of the training pictures become that.
      groups: What a picture belongs to, such as a burst or a video, one text per picture; a group stays on one side of
        the split. None where each picture stands for itself.
      reading: How the source was understood, in a few words.
      ignored: What was passed over.
    """

    name: str
    classes: tuple[str, ...]
    items: Sequence[str | bytes]
    names: Sequence[str]
    labels: np.ndarray
    roles: np.ndarray
    has_val: bool
    groups: Sequence[str] | None = None
    reading: str = ""
    ignored: tuple[Ignored, ...] = field(default=())

    @property
    def in_files(self) -> bool:
        """Whether the pictures are files, not held in memory."""
        return len(self.items) > 0 and isinstance(self.items[0], str)

    @property
    def paths(self) -> list[str]:
        """The files, none where the pictures are held in memory."""
        return [item for item in self.items if isinstance(item, str)]

    @property
    def ignored_by_reason(self) -> dict[str, tuple[int, list[str]]]:
        """For each reason how many files were passed over, and their names; the most frequent reason first."""
        counts: Counter[str] = Counter()
        names: dict[str, list[str]] = {}
        for one in self.ignored:
            counts[one.reason] += one.count
            names.setdefault(one.reason, []).append(one.name)
        return {reason: (count, names[reason]) for reason, count in counts.most_common()}


def printable(path: str | os.PathLike[str]) -> str:
    """Returns a path as one line of text that any terminal and file can take.

    Bytes that are not UTF-8, and characters that control terminals, become escape sequences.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
