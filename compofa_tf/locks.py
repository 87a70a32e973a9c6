"""One writer for each output: a lock that also works where the file system has none."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compofa_tf.errors import InputError

fcntl: Any = None  # Windows has none: the signs of life alone must do
with contextlib.suppress(ImportError):
    import fcntl

BEAT_S = 10.0
"""Seconds between two signs of life of a writer."""

STALE_S = 60.0
"""Seconds without a sign of life after which a writer of another machine counts as gone."""

_SETTLE_S = 0.2


@dataclass(frozen=True)
class Writer:
    """Who writes an output of a work directory, by the last sign of life.

    Attributes:
      output: The output, as its lock is called.
      host: Name of the machine.
      process: Its number there.
      since: When it began, in seconds since 1970 by the clock of that machine.
      silent_s: Seconds since its last sign of life.
    """

    output: str
    host: str
    process: int
    since: float
    silent_s: float

    @property
    def alive(self) -> bool:
        """Whether it still gives signs of life."""
        return self.silent_s < STALE_S


def writers(folder: Path) -> list[Writer]:
    """Returns who writes in a work directory, or wrote until it was killed, on any machine that has the disk."""
    found = []
    for file in sorted((folder / ".locks").glob("*.lock")):
        with contextlib.suppress(OSError):
            text = file.read_text(encoding="utf-8")
            if signed := _writer(text):
                since = float(json.loads(text).get("since", signed["beat"]))
                silent_s = max(0.0, time.time() - signed["beat"])
                found.append(Writer(file.stem, signed["host"], signed["process"], since, silent_s))
    return found


@contextlib.contextmanager
def locked(file: Path, *, what: str) -> Iterator[None]:
    """Keeps two commands from writing one output at a time.

    The file holds who writes (host, process, since when) and a sign of life every ten seconds, so that a file system
    whose locks do nothing, or do not reach other machines, refuses a second writer too. It is empty afterwards.

    Args:
      file: The lock, ``WorkDir.lock_file``. Folders that are made for it are removed again if nothing else came to be.
      what: The output in words, for the message.

    Raises:
      InputError: If another command writes it; says which.
    """
    folder = file.parents[1]
    made = [parent for parent in file.parents if not parent.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a+", encoding="utf-8") as handle:
        owner = {"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}
        _take(handle, file, owner, what)
        done = threading.Event()
        beats = threading.Thread(target=_beat, args=(handle, owner, done), daemon=True)
        beats.start()
        try:
            yield
        finally:
            done.set()
            beats.join()
            _write(handle, "")
            if made and list(folder.iterdir()) == [file.parent] and list(file.parent.iterdir()) == [file]:
                file.unlink()
                for parent in made:
                    with contextlib.suppress(OSError):
                        parent.rmdir()


def _take(handle: Any, file: Path, owner: dict[str, Any], what: str) -> None:
    state = _flock(handle)
    handle.seek(0)
    writer = _writer(handle.read())
    if state == "busy" or (writer is not None and _alive(writer, locked_here=state == "taken")):
        raise _refusal(file, writer, what)
    _sign(handle, owner)
    if state == "none":  # who signs at the same moment signs over the other
        time.sleep(_SETTLE_S)
        writer = _writer(file.read_text(encoding="utf-8"))
        if writer is None or (writer["host"], writer["process"]) != (owner["host"], owner["process"]):
            raise _refusal(file, writer, what)


def _flock(handle: Any) -> str:
    """``"taken"``, ``"busy"``, or ``"none"`` where the file system has no locks."""
    if fcntl is None:
        return "none"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "busy"
    except OSError:
        return "none"
    return "taken"


def _refusal(file: Path, writer: dict[str, Any] | None, what: str) -> InputError:
    who = "" if writer is None else f" (process {writer['process']} on {writer['host']})"
    return InputError(
        f"Another command{who} is writing {what} in {file.parents[1]}; wait for it or use another work directory. If "
        f"there is none, remove {file}."
    )


def _writer(text: str) -> dict[str, Any] | None:
    """Who has signed, or None."""
    try:
        found = json.loads(text)
        return {"host": str(found["host"]), "process": int(found["process"]), "beat": float(found["beat"])}
    except (ValueError, KeyError, TypeError):
        return None


def _alive(writer: dict[str, Any], *, locked_here: bool) -> bool:
    """Whether a writer still writes. On this machine a lock that could be taken says that it does not."""
    recent = time.time() - writer["beat"] < STALE_S
    if writer["host"] != socket.gethostname():
        return recent
    if locked_here:
        return False
    if os.name == "nt":  # where asking for a process this way would end it
        return recent
    try:
        os.kill(writer["process"], 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists, and is somebody else's
        pass
    return recent  # an old file may name a process that is another one by now


def _sign(handle: Any, owner: dict[str, Any]) -> None:
    _write(handle, json.dumps({**owner, "beat": time.time()}) + "\n")


def _write(handle: Any, text: str) -> None:
    handle.seek(0)
    handle.truncate()
    handle.write(text)
    handle.flush()


def _beat(handle: Any, owner: dict[str, Any], done: threading.Event) -> None:
    while not done.wait(BEAT_S):
        with contextlib.suppress(OSError):  # a full disk must not end the work
            _sign(handle, owner)
