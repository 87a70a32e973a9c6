"""The data card of a run: what its data set was, so that later commands bind to it by class name. No TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compofa_tf import files
from compofa_tf.data.listing import ROLES
from compofa_tf.errors import InputError

KINDS_ON_DISK = ("folder", "csv", "images")
"""Kinds of sources whose names are followed by a path."""

_NAMED = 5


def located(source: str, relative_to: str | None) -> str:
    """Returns a source with a relative path made absolute: as seen from a folder if it is there, else from here.

    Args:
      source: A source.
      relative_to: The folder that the path was relative to when it was written down; None where nobody knows.
    """
    kind, _, rest = source.partition(":")
    if kind not in KINDS_ON_DISK:
        return source
    path = Path(rest).expanduser()
    then = path if relative_to is None else Path(relative_to) / path
    return f"{kind}:{then if then.exists() else path}"


@dataclass(frozen=True)
class DataCard:
    """What a data set was when a training began.

    Attributes:
      source: Where it came from.
      relative_to: The folder that a relative path in ``source`` is relative to.
      classes: Class names in the order of the network's outputs.
      counts: Per role the number of usable pictures of each class.
      fingerprint: 16 hexadecimal digits of the names and sizes of all pictures.
      reading: How the source was understood.
    """

    source: str
    relative_to: str
    classes: tuple[str, ...]
    counts: dict[str, list[int]]
    fingerprint: str
    reading: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the card as JSON, replacing the file."""
        content = dataclasses.asdict(self)
        files.write_json(path, {**content, "classes": list(self.classes)}, kind="data_card")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DataCard:
        """Reads a card; ``InputError`` if the file is none or is damaged."""
        content = files.read_json(path, kind="data_card")
        names = [entry.name for entry in dataclasses.fields(cls)]
        with files.interpreted(path, again="train again"):
            found = cls(**{name: content[name] for name in names})
            return dataclasses.replace(found, classes=tuple(found.classes))

    def at(self, source: str) -> DataCard:
        """Returns the card of the same data in another place."""
        return dataclasses.replace(self, source=source, relative_to=os.getcwd())

    def differences(self, other: DataCard) -> list[str]:
        """Returns what is different in another data set, in words, most important first; empty if it is the same."""
        found = class_differences(self.classes, other.classes)
        if found or self.fingerprint == other.fingerprint:
            return found
        for role in ROLES:
            before = dict(zip(self.classes, self.counts.get(role, [])))
            now = dict(zip(other.classes, other.counts.get(role, [])))
            changed = [name for name in self.classes if before.get(name, 0) != now.get(name, 0)]
            if changed:
                some = ", ".join(f"{name} {before.get(name, 0)} and {now.get(name, 0)}" for name in changed[:_NAMED])
                found.append(f"{role} pictures, before and now: {some}{_more(changed)}")
        return found or ["names or sizes of pictures changed"]


def class_differences(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """Returns which classes are gone and which are new, in words; empty if they are the same in any order."""
    kinds = (("are gone", set(before) - set(now)), ("are new", set(now) - set(before)))
    return [f"classes that {what}: {_listed(names)}" for what, names in kinds if names]


def load_card(path: Path) -> DataCard | None:
    """Returns the card that lies there, None where there is none."""
    return DataCard.load(path) if path.exists() else None


def require_same_classes(before: Sequence[str], now: Sequence[str], *, where: str) -> None:
    """Raises ``InputError`` that names the classes which are gone or new, unless they are the same in any order."""
    differences = class_differences(before, now)
    if differences:
        raise InputError(
            f"The data has other classes than the run in {where} began with ({'; '.join(differences)}); rename them "
            "back, or train in another work directory."
        )


def require_named(own: Sequence[str], found: Sequence[str], *, where: str) -> None:
    """Raises ``InputError`` if a network has numbers for class names and the data has names."""
    numbers = [str(number) for number in range(len(own))]
    if list(own) == numbers and not set(found) & set(numbers):
        raise InputError(
            f"The classes of {where} have only numbers for names, so that nobody knows which is which "
            "in the data; import it again with --labels FILE, a name per line in the order of its outputs (for "
            f"torchvision's ImageFolder that is the sorted names of the folders). Received: {', '.join(found[:3])}"
        )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:_NAMED]) + _more(names)


def _more(names: set[str] | list[str]) -> str:
    return f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
