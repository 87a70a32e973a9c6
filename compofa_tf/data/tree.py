"""The pictures below a folder as they lie, without what is no picture. No TensorFlow."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from compofa_tf.data.listing import Ignored, printable
from compofa_tf.workdir import WorkDir

_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp"),
    *(".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2"),
)
"""A file with one of them is a picture, or a broken one; others are judged by how they begin."""

_JUNK = {
    "@eadir": "thumbnails of a network storage",
    "#recycle": "a recycle bin",
    "$recycle.bin": "a recycle bin",
    "__macosx": "left behind by macOS",
    "system volume information": "left behind by Windows",
    "lost+found": "left behind by the file system",
}

_HEAD_BYTES = 16


@dataclass(eq=False)
class Folder:
    """A folder and what lies in it.

    Attributes:
      path: Where it is.
      name: Its name in Unicode NFC, printable.
      folders: Its sub-folders, sorted by name.
      pictures: Paths of the pictures that lie in it directly, sorted.
      others: Number of files in it that are no pictures, and of folders that are passed over; hidden ones do not count.
    """

    path: str
    name: str
    folders: list[Folder] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    others: int = 0

    def walk(self) -> Iterator[str]:
        """Yields all pictures, those in sub-folders last."""
        yield from self.pictures
        for folder in self.folders:
            yield from folder.walk()

    @property
    def has_pictures(self) -> bool:
        """Whether there is any picture in it or below it."""
        return next(self.walk(), None) is not None

    @property
    def empty(self) -> bool:
        """Whether there is no file in it or below it."""
        return not self.pictures and not self.others and all(folder.empty for folder in self.folders)

    @property
    def names(self) -> set[str]:
        """Names of the sub-folders that have pictures."""
        return {folder.name for folder in self.folders if folder.has_pictures}

    def relative(self, path: str) -> str:
        """Returns a path below this folder as text for people."""
        return printable(path[len(self.path) :].lstrip(os.sep))


def scan(root: str | os.PathLike[str]) -> tuple[Folder, list[Ignored]]:
    """Reads the tree of folders below ``root``; all paths in it are absolute.

    Links are followed; what they lead to is taken once, and not where it lies below ``root`` anyway. A link to a folder
    that holds ``root`` would never end and is passed over. Hidden files and folders are passed over without a word,
    whatever else is no picture is named.
    """
    scanner = _Scanner(os.path.abspath(root))
    return scanner.folder(scanner.root), scanner.ignored


def nfc(name: str) -> str:
    """Returns the name of a file as it is printed and compared: composed characters, no bytes outside UTF-8."""
    return printable(unicodedata.normalize("NFC", name))


class _Scanner:
    def __init__(self, root: str) -> None:
        self.root = root
        self.ignored: list[Ignored] = []
        self._real = os.path.realpath(root)
        self._seen = {self._real}

    def folder(self, path: str) -> Folder:
        found = Folder(path, nfc(os.path.basename(path)))
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    if self._enters(entry):
                        found.folders.append(self.folder(entry.path))
                    else:
                        found.others += 1
                elif self._is_picture(entry):
                    if not self._is_double(entry):
                        found.pictures.append(entry.path)
                else:
                    found.others += 1
        return found

    def _enters(self, entry: os.DirEntry[str]) -> bool:
        reason = _JUNK.get(entry.name.lower())
        if reason is None and os.path.isfile(WorkDir(Path(entry.path)).recipe_file):
            reason = "a work directory of a training"
        if reason is not None:
            self._ignore(entry.path, reason, sum(len(names) for _, _, names in os.walk(entry.path)))
            return False
        return not self._is_double(entry)

    def _is_double(self, entry: os.DirEntry[str]) -> bool:
        """Whether a link leads to what is taken anyway, or was taken by another link."""
        if not entry.is_symlink():
            return False
        real = os.path.realpath(entry.path)
        if real in self._seen or self._is_taken(real):
            return True
        self._seen.add(real)
        return False

    def _is_taken(self, real: str) -> bool:
        """Whether a path lies below the root, or around it, and is found there without links."""
        if os.path.commonpath([self._real, real]) == real:
            return True
        parts = os.path.relpath(real, self._real).split(os.sep)
        return not any(part.startswith(".") or part.lower() in _JUNK for part in parts)

    def _is_picture(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.lower().endswith(_ENDINGS):
            return True
        if not entry.is_file():
            self._ignore(entry.path, "not a file")
        elif _begins_as_picture(entry.path):
            return True
        else:
            self._ignore(entry.path, "not a picture")
        return False

    def _ignore(self, path: str, reason: str, count: int = 1) -> None:
        self.ignored.append(Ignored(printable(os.path.relpath(path, self.root)), reason, count))


def _begins_as_picture(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"))
        or head[:12] == b"\0\0\0\x0cjP  \r\n\x87\n"
    )
