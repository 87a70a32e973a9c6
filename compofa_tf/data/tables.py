"""Data sets as a table: a CSV file that names a picture per row, with its label. No TensorFlow."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf.data.folders import group_of
from compofa_tf.data.layouts import role_of
from compofa_tf.data.listing import TRAIN, VAL, Listing, printable
from compofa_tf.data.tree import nfc
from compofa_tf.errors import InputError

_COLUMNS = {
    "file": ("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_name"),
    "label": ("label", "labels", "class", "class_name", "category", "target"),
    "split": ("split", "subset", "partition", "set"),
    "group": ("group", "group_id"),
}
"""What each column may be called, in any capitals; the first one that is there is taken."""


def list_csv(path: str | os.PathLike[str], *, group_by: str = "none") -> Listing:
    """Lists the pictures that a CSV file names.

    Its columns are found by name: ``file`` (a path, relative to the folder of the table), ``label`` (the class, any
    text), and where they are there ``split`` (train, val or test, see ``layouts``) and ``group`` (what belongs
    together). Commas, semicolons or tabs may stand between them.

    Args:
      path: The table, in UTF-8.
      group_by: What belongs together where there is no column ``group``, see ``folders.group_of``.

    Raises:
      InputError: If it is missing or not such a table, names no picture that exists, or has one class only.
    """
    table = Path(path).expanduser()
    shown = printable(table)
    rows = _rows(table, shown)
    classes = tuple(sorted({nfc(row["label"]) for row in rows}))
    if len(classes) < 2:
        raise InputError(f"The table has one class only, {classes[0]!r}; two are needed. Received: csv:{shown}")
    number = {name: i for i, name in enumerate(classes)}
    folder = os.path.abspath(table.parent)
    paths = [os.path.join(folder, row["file"]) for row in rows]
    if not any(os.path.exists(found) for found in paths):
        raise InputError(
            f"None of the pictures exists; paths in a table are relative to its own folder ({paths[0]} is not there). "
            f"Received: csv:{shown}"
        )
    roles = [row["role"] for row in rows]
    names = [printable(row["file"]) for row in rows]
    groups = [row["group"] for row in rows] if "group" in rows[0] else None
    if groups is None and group_by != "none":
        groups = [group_of(name, group_by) for name in names]
    return Listing(
        name=nfc(table.stem),
        classes=classes,
        items=paths,
        names=names,
        labels=np.asarray([number[nfc(row["label"])] for row in rows], np.int32),
        roles=np.asarray(roles, np.int8),
        has_val=VAL in roles,
        groups=groups,
        reading=f"a table with the columns {', '.join(key for key in _COLUMNS if key in rows[0])}",
    )


def _rows(table: Path, shown: str) -> list[dict[str, Any]]:
    """Each row with what it says of ``_COLUMNS``, and its ``role``."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"The table does not exist. Received: csv:{shown}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The table cannot be read as UTF-8 text ({error}). Received: csv:{shown}") from error
    lines = text.splitlines()
    if len(lines) < 2:
        raise InputError(f"The table has no rows. Received: csv:{shown}")
    delimiter = max(",;\t", key=lines[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    columns = _columns(reader.fieldnames or (), shown)
    seen: dict[str, int] = {}
    rows = []
    for row in reader:
        found = {key: (row[name] or "").strip() for key, name in columns.items()}
        where = f"line {reader.line_num}"
        for key in ("file", "label"):
            if not found[key]:
                raise InputError(f"The table has no {key} in {where}. Received: csv:{shown}")
        role = role_of(found["split"]) if "split" in found else TRAIN
        if role is None:
            raise InputError(
                f"{found['split']!r} in {where} is no split; use train, val or test. Received: csv:{shown}"
            )
        if seen.setdefault(found["file"], reader.line_num) != reader.line_num:
            raise InputError(
                f"{printable(found['file'])} stands in lines {seen[found['file']]} and {reader.line_num}; a picture "
                f"has one row. Received: csv:{shown}"
            )
        rows.append({**found, "role": role})
    if not rows:
        raise InputError(f"The table has no rows. Received: csv:{shown}")
    return rows


def _columns(header: Sequence[str], shown: str) -> dict[str, str]:
    """The name of the column in this table, of each that is there."""
    by_name = {name.strip().lower(): name for name in header if name}
    found = {
        key: by_name[alias] for key, aliases in _COLUMNS.items() for alias in reversed(aliases) if alias in by_name
    }
    for key in ("file", "label"):
        if key not in found:
            raise InputError(
                f"The table needs a column {key}; it has {', '.join(by_name) or 'none'}. Received: csv:{shown}"
            )
    return found
