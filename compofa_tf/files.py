"""Files that are never half written, and JSON that says what it is and what made it."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf._version import __version__
from compofa_tf.errors import InputError

SCHEMA_VERSIONS: dict[str, int] = {"accuracy_table": 3, "artifact": 2, "checkpoint": 2, "front": 2, "supernet": 2}
"""Version of each kind of file that this package writes; of kinds that are not here 1."""

_UNFINISHED = ".writing-"

_RECORDED_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` that takes its place when the block ends without an error.

    Args:
      path: The final file. Its folder is created when absent.
      overwrite: Whether an existing file may be replaced.

    Yields:
      The temporary path to write to. Its content is flushed to disk and renamed on success, removed on failure, so that
      ``path`` holds either its old content or all of the new one.

    Raises:
      InputError: If ``path`` exists and may not be replaced.
      OSError: If the folder cannot be written or the disk is full.
    """
    target = Path(path)
    refuse_to_replace(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=_UNFINISHED, suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:  # Windows flushes only what is open for writing
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes a renaming last through a loss of power, where the system can; the content itself is on disk already."""
    with contextlib.suppress(OSError):  # Windows opens no folder, and some network disks sync none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_unfinished(folder: Path) -> None:
    """Removes what processes that were killed while they wrote left in a folder; nobody may be writing there now."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        left.unlink(missing_ok=True)


def refuse_to_replace(*paths: Path, overwrite: bool) -> None:
    """Raises ``InputError`` that names the first of some files that is there, unless it may be replaced."""
    present = [] if overwrite else sorted(path for path in paths if path.exists())
    if present:
        more = f" and {len(present) - 1} more exist" if len(present) > 1 else " exists"
        raise InputError(f"{present[0]}{more}; pass --overwrite (overwrite=True) to replace what is there.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def schema_version(kind: str) -> int:
    """Returns the version of a kind of file that is written now; older ones are read."""
    return SCHEMA_VERSIONS.get(kind, 1)


def versions() -> dict[str, str]:
    """Returns the installed versions that decide numbers, without importing the packages."""
    found = {"compofa_tf": __version__}
    for package in _RECORDED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def write_json(
    path: str | os.PathLike[str],
    payload: dict[str, Any],
    *,
    kind: str,
    recipe_hash: str | None = None,
    overwrite: bool = True,
) -> None:
    """Writes ``payload`` under a header that names its kind, schema, date, recipe and versions.

    Args:
      path: The file, written atomically.
      payload: JSON-serialisable mapping; keys of the header in it (from a file read before) are replaced.
      kind: What the file is, for example ``"latency_table"``.
      recipe_hash: ``Recipe.hash`` of the run that the file belongs to, if any.
      overwrite: Whether an existing file may be replaced.
    """
    header: dict[str, Any] = {
        "kind": kind,
        "schema_version": schema_version(kind),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "recipe_hash": recipe_hash,
        "versions": versions(),
    }
    body = {key: value for key, value in payload.items() if key not in header}
    text = json.dumps({**header, **body}, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str], *, kind: str) -> dict[str, Any]:
    """Reads a file of ``write_json``, header included.

    Raises:
      InputError: If the file is missing, truncated, has a key twice, is of another kind, or written by a newer version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; {_named(kind)} was expected there.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable as JSON ({error}); it is truncated or not {_named(kind)}.") from None
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    found = content.get("kind") if isinstance(content, dict) else None
    if found != kind:
        raise InputError(f"{path} is not {_named(kind)}. Received: kind={found!r}")
    schema = content.get("schema_version")
    if not isinstance(schema, int) or schema > schema_version(kind):
        raise InputError(
            f"{path} was written by a newer version of compofa_tf; upgrade to read it. "
            f"Received: schema_version={schema!r}"
        )
    return content


def _named(kind: str) -> str:
    """A kind of file in a sentence: ``"an accuracy table file"``."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind.replace('_', ' ')} file"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise InputError(f"{twice!r} stands there twice, only one can be meant.")
    return found


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads an ``.npz`` of plain arrays; a truncated, damaged or foreign file is an ``InputError`` that names it."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is truncated or not a weights file ({error}); restore it or train again.") from error


def sha256(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def interpreted(path: str | os.PathLike[str], *, again: str) -> Iterator[None]:
    """Says which file cannot be used where the block, which makes something of its content, fails.

    Args:
      path: The file.
      again: What to do when a part of it is missing, for example ``"search again"``.

    Raises:
      InputError: For any error by which Python says that content is not as expected.
    """
    try:
        yield
    except KeyError as error:
        raise InputError(f"{path} lacks {error}; it is damaged, {again}.") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path} cannot be used: {error}") from error
