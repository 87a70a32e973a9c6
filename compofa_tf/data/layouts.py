"""What the folders of a data set mean: which of them are splits, which are classes. No TensorFlow.

The outer folders are the classes, or they are splits (or other parts of the set) and the folders in them are the
classes. Names decide where they can; where both readings are possible, both are named and nothing is guessed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from compofa_tf.data.listing import ROLES, TEST, TRAIN, VAL, Ignored, printable
from compofa_tf.data.tree import Folder
from compofa_tf.errors import InputError

LAYOUTS = ("auto", "classes", "splits")
"""How a folder may be understood: by its names; the outer folders are classes; the outer folders are splits."""

_WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation"), VAL),
    **dict.fromkeys(("test", "testing"), TEST),
}
_WITHOUT_LABELS = {"pred", "prediction", "predictions", "predict", "unlabeled", "unlabelled"}
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Reading:
    """How a folder was understood.

    Attributes:
      text: In a few words.
      classes: Class names, sorted.
      parts: (role, class folder) of all pictures; the name of the folder is the class.
      ignored: Pictures that belong to no class.
    """

    text: str
    classes: tuple[str, ...]
    parts: list[tuple[int, Folder]]
    ignored: list[Ignored] = field(default_factory=list)


def understand(root: Folder, *, given: str, layout: str = "auto", grouped: bool = False) -> Reading:
    """Returns what the folders below ``root`` mean.

    Single folders around the set are taken off first (``archive/flowers/``). A folder is a split when it is called
    train or training, val, valid or validation, test or testing, in any capitals, and holds class folders; where the
    training split is found so, other words before or after the name are allowed, too (``seg_train``). A split may hold
    another folder of its own name around the classes (``seg_train/seg_train``).

    Args:
      root: The tree.
      given: The folder as the user wrote it, for messages.
      layout: One of ``LAYOUTS``.
      grouped: Whether folders inside the classes are known to be groups, so that they may have the same names.

    Raises:
      InputError: If nothing in it can be a class, there is one class only, splits have different classes, or both
        readings are possible and ``layout`` does not choose.
    """
    reader = _Reader(root, given)
    if layout == "auto":
        layout = reader.layout(grouped)
    reading = reader.splits() if layout == "splits" else reader.classes()
    _require_two(reading.classes, given)
    return reading


class _Reader:
    def __init__(self, top: Folder, given: str) -> None:
        self.top, self.root, self.given = top, _unwrapped(top), given
        self.folders = [folder for folder in self.root.folders if folder.has_pictures]
        self.roles = {folder.name: role for folder in self.folders if (role := self._role(folder)) is not None}

    def _role(self, folder: Folder) -> int | None:
        """The role that the name says, exactly, or beside other words where class folders lie in it."""
        exact = role_of(folder.name)
        if exact is not None or not _with_classes(folder):
            return exact
        words = re.split(r"[\W_]+", folder.name.lower())
        return _WORDS.get(words[0], _WORDS.get(words[-1]))

    def layout(self, grouped: bool) -> str:
        """Decides between the two readings, or refuses to."""
        named = [folder for folder in self.folders if folder.name in self.roles]
        split = [folder for folder in named if _with_classes(folder)]
        other = [folder for folder in self.folders if folder.name not in self.roles and not _without_labels(folder)]
        if named and not split and not other:
            raise InputError(
                f"{_listed(named)} hold pictures and no class folders; put the images of each class into a folder of "
                f"its own, or list them in a table and give csv:FILE. Received: folder:{self.given}"
            )
        if named:
            if self._certain(split, other):
                return "splits"
            self._refuse(named, split)
        inner = [] if grouped else [folder for folder in self.folders if _with_classes(folder)]
        outer_names = {folder.name for folder in self.folders}
        for i, folder in enumerate(inner):
            shared = [one for one in inner[:i] if len(one.names & folder.names) > 1]
            if shared or len(outer_names & folder.names) > 1:
                self._refuse([*shared, folder], [*shared, folder])
        return "classes"

    def _certain(self, split: list[Folder], other: list[Folder]) -> bool:
        """Whether nothing speaks against the folders with names of splits being splits."""
        train = next((_undoubled(folder) for folder in split if self.roles[folder.name] == TRAIN), None)
        if train is None or not other:
            return bool(split)
        alike = [folder for folder in map(_undoubled, split) if len(folder.names & train.names) > 1]
        return len(alike) > 1 and not any(train.names & {folder.name, *folder.names} for folder in other)

    def _refuse(self, named: list[Folder], split: list[Folder]) -> None:
        outer = [folder.name for folder in self.folders]
        inner = sorted(set().union(*(_undoubled(folder).names for folder in split)))
        if inner:
            second = f"the classes {_quoted(inner)}, of which {_listed(split)} are parts"
        else:
            inner = [name for name in outer if name not in {folder.name for folder in named}]
            second = f"the classes {_quoted(inner)}, and {_listed(named)} without labels, left out"
        source = shlex.quote(f"folder:{self.given}")
        raise InputError(
            f"The folder can be understood in two ways: as the classes {_quoted(outer)} (say so by --data {source} "
            f"--set data.layout=classes), or as {second} (--data {source} --set data.layout=splits). "
            f"Received: folder:{self.given}"
        )

    def classes(self) -> Reading:
        """The outer folders are the classes."""
        self._refuse_empty(self.root)
        text = "the folders are the classes"
        return Reading(text, _names(self.folders), [(TRAIN, one) for one in self.folders], self._loose([self.root]))

    def splits(self) -> Reading:
        """The outer folders are splits or other parts, the folders in them are the classes."""
        named = [one for one in self.folders if one.name in self.roles and _with_classes(one)]
        chosen = named or [one for one in self.folders if _with_classes(one)]
        parts = [(self.roles.get(one.name, TRAIN), _undoubled(one)) for one in chosen]
        parts = [(role, one) for role, one in parts if role != TRAIN or not _without_labels(one)]
        classes = set().union(*(one.names for role, one in parts if role == TRAIN))
        parts = [(role, one) for role, one in parts if role != TEST or classes & one.names or not classes]
        if not parts:
            kept = [folder for folder in self.folders if folder.name not in self.roles]
            left = [folder for folder in self.folders if folder.name in self.roles]
            text = f"the folders are the classes, {_listed(left)} left out" if left else "the folders are the classes"
            return Reading(text, _names(kept), [(TRAIN, one) for one in kept], self._left_out(left))
        trained = [one for role, one in parts if role == TRAIN]
        if not trained:
            raise InputError(
                f"There is a {_listed([one for _, one in parts])} but no train/ with class folders beside it. "
                f"Received: folder:{self.given}"
            )
        known = sorted(set().union(*(one.names for one in trained)))
        for role, part in parts:
            self._refuse_empty(part)
            self._require_same(role, part, known, trained)
        used = {id(one) for _, one in parts}
        left = [one for one in self.folders if id(_undoubled(one)) not in used]
        by_role = {
            ROLES[role]: " and ".join(f"{one.name}/" for other, one in parts if other == role)
            for role in sorted({role for role, _ in parts})
        }
        text = "; ".join(f"{name} is {role}" if f"{role}/" != name else name for role, name in by_role.items())
        return Reading(
            f"splits: {text}",
            tuple(known),
            [(role, one) for role, part in parts for one in part.folders if one.has_pictures],
            [*self._left_out(left), *self._loose([self.root, *(one for _, one in parts)])],
        )

    def _require_same(self, role: int, part: Folder, known: list[str], trained: list[Folder]) -> None:
        """Every split has classes of the training split; that for validation has all of them."""
        here = trained[0]
        pairs = [(part, here, part.names - set(known))]
        if role == VAL:
            pairs.append((here, part, set(known) - part.names))
        for has, lacks, names in pairs:
            if names:
                raise InputError(
                    f"{printable(has.path)} has {len(names)} class folder(s) that {printable(lacks.path)} lacks: "
                    f"{', '.join(sorted(names)[:_NAMED])}; both need the same classes."
                )

    def _refuse_empty(self, parent: Folder) -> None:
        for folder in parent.folders:
            if folder.empty:
                raise InputError(
                    f"The class folder {printable(folder.path)} is empty; put images into it or remove it."
                )

    def _left_out(self, folders: list[Folder]) -> list[Ignored]:
        """Folders that are neither a split nor a class."""
        reason = "in a folder that is neither a split nor a class"
        return [Ignored(f"{self.top.relative(one.path)}/", reason, sum(1 for _ in one.walk())) for one in folders]

    def _loose(self, parents: list[Folder]) -> list[Ignored]:
        """Pictures that lie beside class folders."""
        return [
            Ignored(self.top.relative(picture), "in no class folder") for one in parents for picture in one.pictures
        ]


def _with_classes(folder: Folder) -> bool:
    """Whether folders with pictures lie in it, and no picture beside them."""
    return bool(folder.names) and not folder.pictures


def _without_labels(folder: Folder) -> bool:
    return bool(_WITHOUT_LABELS & set(re.split(r"[\W_]+", folder.name.lower())))


def _unwrapped(root: Folder) -> Folder:
    """Takes single folders off that are neither a split nor the only class."""
    while not root.pictures and len(inside := [one for one in root.folders if one.has_pictures]) == 1:
        if inside[0].name.lower() in _WORDS or not _with_classes(inside[0]):
            break
        root = inside[0]
    return root


def _undoubled(split: Folder) -> Folder:
    """Takes a second folder of the same name off: ``seg_train/seg_train/``."""
    inside = [one for one in split.folders if one.has_pictures]
    if len(inside) == 1 and not split.pictures and inside[0].name.lower() == split.name.lower():
        return inside[0] if _with_classes(inside[0]) else split
    return split


def _names(folders: list[Folder]) -> tuple[str, ...]:
    return tuple(sorted({folder.name for folder in folders}))


def _require_two(classes: tuple[str, ...], given: str) -> None:
    if not classes:
        raise InputError(
            "The data folder has no class folders with images in them; put the images of each class into a folder of "
            f"its own, or list them in a table and give csv:FILE. Received: folder:{given}"
        )
    if len(classes) < 2:
        raise InputError(
            f"Only one class was found, {classes[0]!r}; a classifier needs at least two class folders. "
            f"Received: folder:{given}"
        )


def _quoted(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more


def _listed(folders: list[Folder]) -> str:
    return " and ".join(f"{folder.name}/" for folder in folders)


def role_of(word: str) -> int | None:
    """Returns the role that a word stands for, in any capitals; None where it is no name of a split."""
    return _WORDS.get(word.strip().lower())


def walk_classes(reading: Reading) -> Iterator[tuple[int, str, str]]:
    """Yields (role, class, path) of every picture."""
    for role, folder in reading.parts:
        for picture in folder.walk():
            yield role, folder.name, picture
