"""One writer for each output, whatever the file system offers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from compofa_tf import locks
from compofa_tf.errors import InputError
from compofa_tf.locks import locked
from compofa_tf.workdir import WorkDir

HOLDER = """
import sys, time
from pathlib import Path
from compofa_tf.locks import locked
with locked(Path(sys.argv[1]), what="the front"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["with locks", "without locks"])
def file(request, tmp_path, monkeypatch):
    """The lock of an output, on a file system with and without locks."""
    if request.param == "without locks":
        monkeypatch.setattr(locks, "_flock", lambda handle: "none")
    return WorkDir(tmp_path).lock_file("front")


def written_by(file, **changes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = {"host": socket.gethostname(), "process": os.getpid(), "since": 0, "beat": time.time()}
    file.write_text(json.dumps({**writer, **changes}))


def test_a_second_writer_of_an_output_is_refused_and_told_who_writes(file):
    with locked(file, what="the front"):
        assert json.loads(file.read_text())["process"] == os.getpid()
        message = rf"Another command \(process {os.getpid()} on .*\) is writing the front in "
        with pytest.raises(InputError, match=message), locked(file, what="the front"):
            pytest.fail("the block must not run")
        with locked(file.with_name("models.lock"), what="the models"):
            pass
    with locked(file, what="the front"):
        pass


def test_a_process_of_its_own_is_refused_too_and_its_death_sets_free(file):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holder.pid} on"), locked(file, what="the front"):
            pytest.fail("the block must not run")
        holder.kill()
    with locked(file, what="the front"):
        pass


def test_a_writer_of_another_machine_counts_as_gone_without_a_sign_of_life(file):
    written_by(file, host="elsewhere", beat=time.time() - locks.STALE_S / 2)
    with pytest.raises(InputError, match=r"process [0-9]+ on elsewhere"), locked(file, what="the front"):
        pytest.fail("the block must not run")
    written_by(file, host="elsewhere", beat=time.time() - 2 * locks.STALE_S)
    with locked(file, what="the front"):
        pass


@pytest.mark.parametrize("text", ["", "not json", "{}", "[]", '{"host": 1}'])
def test_a_damaged_lock_is_no_lock(file, text):
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with locked(file, what="the front"):
        pass


def test_the_sign_of_life_is_repeated(file, monkeypatch):
    monkeypatch.setattr(locks, "BEAT_S", 0.01)
    with locked(file, what="the front"):
        first = json.loads(file.read_text())["beat"]
        deadline = time.monotonic() + 10
        while json.loads(file.read_text() or "{}").get("beat", first) == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_folders_that_were_made_for_nothing_are_removed(tmp_path):
    file = WorkDir(tmp_path / "runs" / "new").lock_file("training")
    with locked(file, what="the training"):
        assert file.exists()
    assert list(tmp_path.iterdir()) == []
    with locked(file, what="the training"):
        (tmp_path / "runs" / "new" / "recipe.json").write_text("{}")
    assert (tmp_path / "runs" / "new" / "recipe.json").exists()
