"""Class folders on disk: ``PATH/CLASS/*.jpg``, or ``PATH/train/CLASS/...`` and ``PATH/val/CLASS/...``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from compofa_tf.data.images import Listing, printable
from compofa_tf.errors import InputError

# The decoder reads the first six; the others are counted as undecodable rather than passed over in silence.
_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2")


def list_folder(path: str | os.PathLike[str]) -> Listing:
    """Lists the images of a folder of class folders.

    Each folder is a class, named by the folder, classes sorted by name; images may lie in sub-folders of it. Hidden
    files and folders are ignored, and so are files without an image's extension. When ``train/`` holds folders, it is
    the training split and ``val/`` the validation split; otherwise the folder's own sub-folders are the classes.

    Raises:
      InputError: If the folder is missing, or is not a set of two or more classes with images in each.
    """
    root = Path(path).expanduser()
    shown = printable(root)
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"The data folder {state}; give a folder of class folders. Received: folder:{shown}")
    if not _folders(root):
        raise InputError(
            f"The data folder has no class folders; put the images of each class into a folder of its own. "
            f"Received: folder:{shown}"
        )
    train, val = root / "train", root / "val"
    if not (train.is_dir() and _folders(train)):
        if val.is_dir() and _folders(val):
            raise InputError(f"There is a val/ but no train/ with class folders beside it. Received: folder:{shown}")
        return _listing(root, {root: None})
    if not (val.is_dir() and _folders(val)):
        raise InputError(
            "There is a train/ but no val/ with class folders beside it; add val/, or give folder:"
            f"{shown}/train for an automatic split. Received: folder:{shown}"
        )
    _require_same_classes(train, val)
    return _listing(root, {train: False, val: True})


def list_images(path: str | os.PathLike[str]) -> Listing:
    """Lists all images below a folder, whatever folders they lie in: no classes, and no validation images.

    Hidden files and folders are ignored, and so are files without an image's extension.

    Raises:
      InputError: If the folder is missing or has no images.
    """
    root = Path(path).expanduser()
    shown = printable(root)
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"The data folder {state}; give a folder of images. Received: images:{shown}")
    paths = _images(root)
    if not paths:
        raise InputError(f"The data folder holds no JPEG or PNG image. Received: images:{shown}")
    return Listing(
        name=printable(root.resolve().name) or "images",
        classes=(),
        items=paths,
        names=[printable(os.path.relpath(path, root)) for path in paths],
        labels=np.zeros(len(paths), np.int32),
        val=np.zeros(len(paths), bool),
    )


def _listing(root: Path, splits: dict[Path, bool | None]) -> Listing:
    classes = _folders(next(iter(splits)))
    if len(classes) < 2:
        raise InputError(
            f"Only one class was found, {printable(classes[0])!r}; a classifier needs at least two class folders. "
            f"Received: folder:{printable(root)}"
        )
    paths: list[str] = []
    labels: list[int] = []
    val: list[bool | None] = []
    for split, is_val in splits.items():
        for label, name in enumerate(classes):
            images = _images(split / name)
            if not images:
                raise InputError(
                    f"The class folder {printable(split / name)} holds no JPEG or PNG image; add some or remove it."
                )
            paths += images
            labels += [label] * len(images)
            val += [is_val] * len(images)
    return Listing(
        name=printable(root.resolve().name) or "folder",
        classes=tuple(printable(name) for name in classes),
        items=paths,
        names=[printable(os.path.relpath(path, root)) for path in paths],
        labels=np.asarray(labels, np.int32),
        val=None if None in splits.values() else np.asarray(val, bool),
    )


def _require_same_classes(train: Path, val: Path) -> None:
    trained, validated = set(_folders(train)), set(_folders(val))
    for here, there, missing in ((val, train, validated - trained), (train, val, trained - validated)):
        if missing:
            raise InputError(
                f"{printable(here)} has {len(missing)} class folder(s) that {printable(there)} lacks: "
                f"{', '.join(printable(name) for name in sorted(missing)[:5])}; both need the same classes."
            )


def _folders(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(_EXTENSIONS) and not name.startswith("."):
                found.append(os.path.join(parent, name))
    return found
