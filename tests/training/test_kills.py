"""A run that is killed, at any moment and however often, ends as one that was left alone."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from runs import RECIPE, FakeData, nothing, same

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.training import checkpoints, metrics, writers
from compofa_tf.training.checkpoints import Checkpoints
from compofa_tf.training.loop import train
from compofa_tf.training.metrics import MetricsLog
from compofa_tf.training.networks import Networks

TESTS = Path(__file__).resolve().parents[1]

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from runs import RECIPE, FakeData
from tiny import tiny_space
from compofa_tf import families
from compofa_tf.accuracy.evaluation import evaluate
from compofa_tf.nets.subnet import calibrate
from compofa_tf.training.loop import train

families.get = lambda name, **settings: tiny_space(**settings)

def validate(net, archs):
    batch = list(FakeData().train(batch_size=8, steps=1, resolutions=[16], seed=0))
    for arch in archs.values():
        calibrate(net, arch, [images for images, _ in batch])  # which leaves other statistics behind
    return {name: evaluate(net, batch, arch=arch).top1 for name, arch in archs.items()}

print("started", flush=True)
train(RECIPE, workdir=sys.argv[2], data=FakeData(), validate=validate, checkpoint_minutes=1e-6, log=print)
"""


class Killed(BaseException):
    """Stands for a kill where a test says at which line it comes: nothing catches it."""


@pytest.fixture(scope="module")
def whole(tiny_family, tmp_path_factory):
    """Weights and metrics of a run that was left alone."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    net = train(RECIPE, workdir=folder, data=FakeData(), validate=validate, log=nothing)
    return net.get_state(), numbers(folder)


def validate(net, archs):
    """Moves the stored statistics, as calibration does."""
    for name, variable in net.variables_by_name.items():
        if name.endswith("moving_mean"):
            variable.assign_add(np.ones(variable.shape, np.float32))
    return dict.fromkeys(archs, 0.5)


def numbers(folder):
    """Metrics without what depends on the clock."""
    return [{k: v for k, v in r.items() if k != "images_per_s"} for r in metrics.read(folder / "metrics.jsonl")]


def signalled(net, archs):
    signal.raise_signal(signal.SIGTERM)


def of_step(number):
    """A kill before a step is trained, or while it is."""
    original = Networks.train

    def die(self, phase, images, labels, *, step, resolution):
        found = original(self, phase, images, labels, step=step, resolution=resolution)
        if step == number and not getattr(self, "timing", False):
            raise Killed
        return found

    return Networks, "train", die


def in_write(number):
    """A kill while the checkpoint of a step is written: half of it stays under another name."""

    def die(folder, state, **named):
        if state.step == number:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".writing-half.npz").write_bytes(b"half")
            raise Killed
        return write(folder, state, **named)

    write = checkpoints.write
    return checkpoints, "write", die


def before_record(number):
    """A kill between the checkpoint of a step and its record, or while it is validated."""
    original = MetricsLog.write

    def die(self, record):
        if record["step"] == number:
            raise Killed
        original(self, record)

    return MetricsLog, "write", die


@pytest.mark.parametrize(
    "kill",
    [of_step(8), of_step(14), in_write(0), in_write(8), *map(before_record, (3, 8, 20))],
    ids=[
        *("in the first step of a phase", "in the middle of an epoch", "in the first write", "in the write of a phase"),
        *("before a record", "in the validation of a phase", "in the last validation"),
    ],
)
def test_a_kill_at_this_line_changes_nothing(whole, tiny_family, tmp_path, kill):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*kill)
        with pytest.raises(Killed):
            train(RECIPE, workdir=tmp_path, data=FakeData(), validate=validate, log=nothing)
    net = train(RECIPE, workdir=tmp_path, data=FakeData(), validate=validate, log=nothing)
    same(net.get_state(), whole[0])
    assert numbers(tmp_path) == whole[1]
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".writing-")]


def test_a_run_that_resumes_trains_at_once(tiny_family, tmp_path, monkeypatch):
    """The plan is said again; no phase is compiled for its sake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*in_write(4))
        with pytest.raises(Killed):
            train(RECIPE, workdir=tmp_path, data=FakeData(), log=nothing)
    said, trained, original = [], [], Networks.train

    def watch(self, phase, images, labels, *, step, resolution):
        trained.append(step)
        return original(self, phase, images, labels, step=step, resolution=resolution)

    monkeypatch.setattr(Networks, "train", watch)
    train(RECIPE, workdir=tmp_path, data=FakeData(), log=said.append)
    assert trained == list(range(20))  # from the beginning, each step once
    assert any(line.startswith("  train: 3 epochs, 12 steps") for line in said)
    assert not any("per step here" in line or line.startswith("Estimated time") for line in said)


@pytest.mark.parametrize("where", ["compiling", "validation"])
def test_a_signal_that_cannot_wait_for_a_step_ends_the_run_with_its_code(tiny_family, tmp_path, where, whole):
    """Nothing is lost: what there is stands in a checkpoint."""
    said = []
    with pytest.MonkeyPatch.context() as patch:
        if where == "compiling":
            patch.setattr(Networks, "train", lambda *a, **k: signal.raise_signal(signal.SIGTERM))
            hook = validate
        else:
            hook = signalled
        with pytest.raises(SystemExit) as stopped:
            train(RECIPE, workdir=tmp_path, data=FakeData(), validate=hook, log=said.append)
    assert stopped.value.code == 143
    assert said[-1] == "Stopped by SIGTERM; nothing is lost, run the same command again to resume."
    net = train(RECIPE, workdir=tmp_path, data=FakeData(), validate=validate, log=nothing)
    same(net.get_state(), whole[0])
    assert numbers(tmp_path) == whole[1]


def test_a_full_disk_in_a_write_beside_the_training_is_said(tiny_family, tmp_path, monkeypatch):
    write = checkpoints.write

    def full(folder, state, **named):
        if state.step:
            raise OSError(28, "No space left on device", str(folder))
        return write(folder, state, **named)

    monkeypatch.setattr(checkpoints, "write", full)
    with pytest.raises(OSError, match="No space left"):
        train(RECIPE, workdir=tmp_path, data=FakeData(), log=nothing)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000000.npz"]


def test_tensorboard_without_a_place_is_one_sentence(tmp_path):
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    said = pytest.raises(InputError, match=r"TensorBoard's file in .*tensorboard cannot be written \(.*; make room")
    with said, writers.TensorBoard(tmp_path / "tensorboard") as board:
        board.write({"step": 1, "loss": 1.0})


def test_time_is_no_clock_that_can_be_set(tmp_path, monkeypatch):
    """A step of the clock neither delays nor hastens a checkpoint."""
    monkeypatch.setattr(time, "time", lambda: -1e9)
    kept = Checkpoints(tmp_path, {})
    phase = RECIPE  # not asked: the minutes decide first
    monkeypatch.setattr(time, "monotonic", lambda: kept._saved + 601)
    assert kept.due(phase, 3, stopping=False)


def test_what_a_kill_left_behind_is_cleared_and_nothing_else(tmp_path):
    (tmp_path / ".writing-abc.npz").write_bytes(b"half")
    (tmp_path / "step-000000001.npz").write_bytes(b"whole")
    files.clear_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.npz"]


def start(folder):
    """A process that trains; returned when everything is imported."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(TESTS), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=TESTS.parent,
    )
    for line in process.stdout:
        if line == "started\n":
            return process
    pytest.fail(f"ended with {process.wait()} before it began")


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path):
    """Processes of their own, killed with -9 from compiling to the last step."""
    left_alone = start(tmp_path / "whole")
    began = time.monotonic()
    rest, _ = left_alone.communicate()
    assert left_alone.returncode == 0, rest
    seconds = time.monotonic() - began
    rng = np.random.default_rng(0)
    for kill in range(3):
        process = start(tmp_path / "run")
        time.sleep(rng.uniform(0.2, 0.9) * seconds)
        process.kill()
        process.communicate()
        if (tmp_path / "run" / "supernet").exists() and kill < 2:
            shutil.rmtree(tmp_path / "run" / "supernet")  # and the last step once more
    last = start(tmp_path / "run")
    said, _ = last.communicate()
    assert last.returncode == 0, said
    weights = [files.read_arrays(tmp_path / name / "supernet" / "weights.npz") for name in ("run", "whole")]
    same(*weights)
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")
