"""Folders of pictures on disk: of class folders, with or without splits, or of pictures without classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from compofa_tf.data import layouts, tree
from compofa_tf.data.listing import VAL, Listing, printable
from compofa_tf.errors import InputError


def list_folder(path: str | os.PathLike[str], *, layout: str = "auto", group_by: str = "none") -> Listing:
    """Lists the pictures of a folder of class folders.

    Each folder is a class, named by the folder in Unicode NFC, classes sorted by name; pictures may lie in sub-folders
    of it. Around the classes there may be splits and single folders, see ``layouts.understand``.

    Args:
      path: The folder.
      layout: One of ``layouts.LAYOUTS``.
      group_by: What belongs together, see ``group_of``.

    Raises:
      InputError: If the folder is missing, or is not a set of two or more classes.
    """
    root, shown = _existing(path, "folder", "give a folder of class folders")
    top, ignored = tree.scan(root)
    if not top.has_pictures and not top.folders:
        raise InputError(
            f"The data folder has no class folders; put the images of each class into a folder of its own. "
            f"Received: folder:{shown}"
        )
    reading = layouts.understand(top, given=shown, layout=layout, grouped=group_by == "folder")
    number = {name: i for i, name in enumerate(reading.classes)}
    roles, labels, paths = zip(*((role, number[name], found) for role, name, found in layouts.walk_classes(reading)))
    names = [top.relative(found) for found in paths]
    return Listing(
        name=_name(root) or "folder",
        classes=reading.classes,
        items=list(paths),
        names=names,
        labels=np.asarray(labels, np.int32),
        roles=np.asarray(roles, np.int8),
        has_val=VAL in roles,
        groups=[group_of(name, group_by) for name in names] if group_by != "none" else None,
        reading=reading.text,
        ignored=(*ignored, *reading.ignored),
    )


def list_images(path: str | os.PathLike[str]) -> Listing:
    """Lists all pictures below a folder, whatever folders they lie in: no classes, and no validation pictures.

    Raises:
      InputError: If the folder is missing or has no pictures.
    """
    root, shown = _existing(path, "images", "give a folder of images")
    top, ignored = tree.scan(root)
    paths = list(top.walk())
    if not paths:
        raise InputError(f"The data folder holds no picture. Received: images:{shown}")
    return Listing(
        name=_name(root) or "images",
        classes=(),
        items=paths,
        names=[top.relative(found) for found in paths],
        labels=np.zeros(len(paths), np.int32),
        roles=np.zeros(len(paths), np.int8),
        has_val=False,
        reading="pictures without classes",
        ignored=tuple(ignored),
    )


def group_of(name: str, group_by: str) -> str:
    """Returns what a picture belongs to.

    Args:
      name: Its path below the data folder.
      group_by: ``"folder"``: the folder that it lies in; ``"prefix"``: its name without the number at the end, in its
        folder (``cat/walk_017.jpg`` and ``cat/walk_018.jpg`` are of one group).
    """
    folder, file = os.path.split(name)
    if group_by == "folder":
        return folder
    stem = os.path.splitext(file)[0]
    return f"{folder}/{stem.rstrip('0123456789').rstrip('_-. (') or stem}"


def _existing(path: str | os.PathLike[str], kind: str, hint: str) -> tuple[Path, str]:
    root = Path(path).expanduser()
    shown = printable(root)
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"The data folder {state}; {hint}. Received: {kind}:{shown}")
    return root, shown


def _name(root: Path) -> str:
    return tree.nfc(root.resolve().name)
