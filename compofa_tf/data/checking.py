"""The check of a data set: every picture is decoded once, and what was found is kept. No TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from compofa_tf import files
from compofa_tf.data import pictures
from compofa_tf.data.listing import Listing, printable
from compofa_tf.data.pictures import Finding
from compofa_tf.errors import InputError
from compofa_tf.progress import progress_bar
from compofa_tf.workdir import WorkDir

_SHOWN_FROM = 2000
_AT_ONCE = 64


def check(listing: Listing, *, home: Path | None = None) -> list[Finding]:
    """Returns what was found out about each picture of a listing.

    Args:
      listing: What the source found.
      home: The work directory, whose ``data_index.json`` spares unchanged files the check. Findings are also kept in
        ``cache_folder``, for other work directories with the same pictures.
    """
    if not listing.in_files:
        return _examined(listing.items)
    stamps = [stamp(path) for path in listing.paths]
    keys = [printable(path) for path in listing.paths]
    indices = [WorkDir(folder).data_index_file for folder in (cache_folder(listing), home) if folder is not None]
    known: dict[str, list[Any]] = {}
    for index in indices:
        known |= _read_index(index)
    found = [_remembered(known.get(key), now) for key, now in zip(keys, stamps)]
    todo = [i for i, finding in enumerate(found) if finding is None]
    for i, finding in zip(todo, _examined([listing.items[i] for i in todo])):
        found[i] = finding
    findings = [finding or Finding() for finding in found]
    outdated = [index for index in indices if todo or not index.exists()]
    if outdated:
        entries = {key: [*now, *dataclasses.astuple(one)] for key, now, one in zip(keys, stamps, findings)}
        for index in outdated:
            # A place that may not be written to costs a second check, nothing else.
            with contextlib.suppress(OSError):
                files.write_json(index, {"pictures": entries}, kind="data_index")
    return findings


def cache_folder(listing: Listing) -> Path:
    """Returns where findings about the files of a listing are kept for every work directory.

    It lies in ``COMPOFA_CACHE``, else in ``compofa_tf`` below ``XDG_CACHE_HOME``, ``~/.cache`` or the folder for
    temporary files.
    """
    base = os.environ.get("COMPOFA_CACHE")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = os.path.join(home if os.path.isabs(home) else tempfile.gettempdir(), "compofa_tf")
    paths = listing.paths
    common = os.path.commonpath([min(paths), max(paths)]) if paths else ""
    return Path(base, hashlib.sha256(os.fsencode(common)).hexdigest()[:16])


def read(path: str) -> bytes:
    """Returns the content of a file, nothing where it cannot be read: the check then says so."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _examined(items: Sequence[str | bytes]) -> list[Finding]:
    """Examines pictures in as many threads as there are cores."""

    def one(item: str | bytes) -> Finding:
        return pictures.examine(item if isinstance(item, bytes) else read(item))

    found: list[Finding] = []
    count = len(items)
    if not count:
        return found
    bar = progress_bar(total=count, desc="checking", unit="picture", shown=count >= _SHOWN_FROM)
    with pictures.large_allowed(), ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        for start in range(0, count, _AT_ONCE):
            found += pool.map(one, items[start : start + _AT_ONCE])
            bar.update(min(_AT_ONCE, count - start))
    return found


def stamp(path: str) -> tuple[int, int]:
    """Returns size in bytes and modification time in ns of a file; (0, 0) where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _remembered(entry: list[Any] | None, now: tuple[int, int]) -> Finding | None:
    """What an index says of a file, unless the file is another one now."""
    if entry is None or tuple(entry[:2]) != now or now == (0, 0):
        return None
    try:
        return Finding(*entry[2:])
    except TypeError:
        return None  # of an older version


def _read_index(path: Path) -> dict[str, list[Any]]:
    with contextlib.suppress(InputError, OSError):
        entries = files.read_json(path, kind="data_index").get("pictures")
        return entries if isinstance(entries, dict) else {}
    return {}
