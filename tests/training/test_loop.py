"""A run from start to end on a tiny family: resuming, stopping, refusing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import signal

import numpy as np
import pytest
from runs import PAPER, RECIPE, FakeData, FiveClasses, nothing, same
from spaces import small_space

from compofa_tf.errors import InputError
from compofa_tf.nets import channels
from compofa_tf.nets.supernet import Supernet
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import PhaseSettings
from compofa_tf.space import cost
from compofa_tf.training import loop, metrics
from compofa_tf.training.estimate import Pace
from compofa_tf.training.loop import train
from compofa_tf.training.metrics import MetricsLog
from compofa_tf.training.networks import Networks

pytestmark = pytest.mark.usefixtures("tiny_family")


@pytest.fixture(scope="module")
def finished(tiny_family, tmp_path_factory):
    """An uninterrupted run: its folder, its weights, what it said, what validation was asked."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    said, asked = [], []

    def validate(net, archs):
        asked.append(dict(archs))
        return dict.fromkeys(archs, 0.5)

    net = train(RECIPE, workdir=folder, data=FakeData(), validate=validate, log=said.append)
    return folder, net.get_state(), said, asked


@pytest.fixture
def unfinished(finished, tmp_path):
    """As a crash after the last epoch but before the end would leave the work directory."""
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("supernet"))
    return folder


@pytest.fixture
def untimed(monkeypatch):
    """Leaves out the steps that are timed before the start."""

    def announce(recipe, data, networks, phases, *, step, log, timed):
        return Pace(phases, batch_size=recipe.data.batch_size)

    monkeypatch.setattr(loop, "announce", announce)


@contextlib.contextmanager
def interrupted(*, step, signum=signal.SIGTERM):
    """Sends a signal to the run when it writes the record of a step."""
    original = MetricsLog.write

    def write(self, record):
        original(self, record)
        if record["step"] == step:
            signal.raise_signal(signum)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricsLog, "write", write)
        yield


@contextlib.contextmanager
def beginnings():
    """Yields the weights of the family before each of its steps, as they come."""
    original, found = Networks.train, {}

    def watch(self, phase, images, labels, *, step, resolution):
        if not phase.of_teacher:
            found[step] = self.family.net.get_state()
        return original(self, phase, images, labels, step=step, resolution=resolution)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Networks, "train", watch)
        yield found


def numbers(folder):
    """Metrics without what depends on the clock and on the validation hook."""
    dropped = ("images_per_s", "val_top1")
    return [{k: v for k, v in r.items() if k not in dropped} for r in metrics.read(folder / "metrics.jsonl")]


def test_run_writes_what_it_promises(finished):
    folder, state, *_ = finished
    assert {path.name for path in folder.iterdir()} == {
        "recipe.json", "metrics.jsonl", "tensorboard", "checkpoints", "teacher", "supernet"
    }  # fmt: skip
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "step-000000016.npz",
        "step-000000020.npz",
    ]
    assert Recipe.load(folder) == RECIPE
    same(Supernet.load(folder).get_state(), state)
    for name in ("supernet", "teacher"):
        description = json.loads((folder / name / "supernet.json").read_text())
        assert description["schema_version"] == 2
        assert description["labels"] == ["a", "b", "c"]
        assert description["recipe_hash"] == RECIPE.hash
        assert description["training_hash"] == RECIPE.training_hash
        assert "normalization" in description
    assert list((folder / "tensorboard").iterdir())


def test_plan_is_said_before_the_start(finished):
    text = "\n".join(finished[2])
    for part in (
        RECIPE.hash,
        "4 subnets",
        "3 classes, 32 training, 5 validation pictures",
        "Batches of 8 at 12, 16 px",
    ):
        assert part in text
    assert "teacher: 2 epochs, 8 steps, largest network" in text
    assert "train: 3 epochs, 12 steps, 2 subnets per step, learning rate up to 0.03125" in text
    assert text.index("Estimated time") < text.index("teacher epoch 1/2")


def test_metrics(finished):
    folder, _, said, asked = finished
    records = metrics.read(folder / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, 21))
    ends = [record for record in records if "images_per_s" in record]
    assert [(record["phase"], record["epoch"]) for record in ends] == [
        ("teacher", 1), ("teacher", 2), ("train", 1), ("train", 2), ("train", 3)
    ]  # fmt: skip
    assert [sorted(record["val_top1"]) for record in ends] == [["largest"]] * 2 + [["largest", "smallest"]] * 3
    assert {arch.resolution for archs in asked for arch in archs.values()} == {16}
    assert records[1]["learning_rate"] == pytest.approx(12.0 * 8 / 2048)
    assert len([line for line in said if " epoch " in line]) == 5


def test_the_family_learns_and_the_teacher_is_kept_apart(finished):
    folder, state, *_ = finished
    records = numbers(folder)
    assert np.mean([record["loss"] for record in records[6:8]]) < np.mean([record["loss"] for record in records[:2]])
    teacher = dict(np.load(folder / "teacher" / "weights.npz"))
    assert max(np.abs(teacher[name] - state[name]).max() for name in state) > 1e-3


def test_finished_run_returns_at_once(finished):
    folder, state, *_ = finished
    said: list[str] = []
    same(train(RECIPE, workdir=folder, data=FakeData(), log=said.append).get_state(), state)
    assert said == [f"{folder} is trained already."]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_stops_with_a_checkpoint_and_resuming_repeats_the_run(finished, tmp_path, signum, code):
    """Stopped in the middle of an epoch, in the teacher's phase or in the other one."""
    step, before = 6 if signum == signal.SIGTERM else 11, signal.getsignal(signum)
    said: list[str] = []
    with interrupted(step=step, signum=signum), pytest.raises(SystemExit) as stopped:
        train(RECIPE, workdir=tmp_path, data=FakeData(), log=said.append)
    assert stopped.value.code == code
    assert said[-1] == f"Stopped by {signum.name} after step {step}; run the same command again to resume."
    assert signal.getsignal(signum) is before
    assert (tmp_path / "checkpoints" / f"step-{step:09d}.npz").exists()
    net = train(RECIPE, workdir=tmp_path, data=FakeData(), log=said.append)
    assert f"Resuming {tmp_path} at step {step} of 20." in said
    same(net.get_state(), finished[1])
    assert numbers(tmp_path) == numbers(finished[0])


def test_damaged_checkpoint_is_said_and_the_one_before_repeats_the_run(finished, unfinished):
    last = unfinished / "checkpoints" / "step-000000020.npz"
    last.write_bytes(last.read_bytes()[:1000])
    said: list[str] = []
    net = train(RECIPE, workdir=unfinished, data=FakeData(), log=said.append)
    assert any("step-000000020.npz is truncated" in line for line in said)
    assert any("Resuming" in line and "at step 16 of 20" in line for line in said)
    same(net.get_state(), finished[1])
    assert numbers(unfinished) == numbers(finished[0])


ELSEWHERE = ["name=moved", "data.source=folder:moved", "data.cache=false", "latency.runs=7", "deploy.precisions=int8"]


def test_a_run_goes_on_with_other_settings_that_do_not_decide_the_weights(finished, unfinished):
    """From the last checkpoint to the end, then once more where all is done."""
    moved, said = RECIPE.override(ELSEWHERE), []
    same(train(moved, workdir=unfinished, data=FakeData(), log=said.append).get_state(), finished[1])
    assert Recipe.load(unfinished) == moved
    (changed,) = [line for line in said if line.startswith("Settings that changed")]
    assert changed == (
        "Settings that changed, before and now: name: 'tiny' and 'moved'; data.source: 'digits' and 'folder:moved'; "
        "data.cache: True and False and 2 more."
    )
    description = json.loads((unfinished / "supernet" / "supernet.json").read_text())
    assert (description["recipe_hash"], description["training_hash"]) == (moved.hash, RECIPE.training_hash)
    said.clear()
    train(RECIPE, workdir=unfinished, data="folder:again", log=said.append)
    assert said[0].startswith("Settings that changed, before and now: name: 'moved' and 'tiny'; data.source: ")
    assert said[1:] == [f"{unfinished} is trained already."]
    assert Recipe.load(unfinished).data.source == "folder:again"


def test_a_work_directory_of_another_training_is_refused_and_left_alone(finished):
    """Named is what decides the weights, and nothing else."""
    folder = finished[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    other = RECIPE.override([*ELSEWHERE, "train.epochs=4", "seed=6"])
    with pytest.raises(
        InputError,
        match=r"holds a run with other settings; use another --workdir.* here: train\.epochs: 3 and 4; seed: 5 and 6$",
    ):
        train(other, workdir=folder, data=FakeData(), log=pytest.fail)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_changed_images_are_refused(unfinished):
    more = FakeData()
    more.train_size = 33
    with pytest.raises(InputError, match=r"another training images.*Expected: 33\. Received: 32"):
        train(RECIPE, workdir=unfinished, data=more, log=nothing)


def test_unusable_source_claims_no_work_directory(tmp_path):
    with pytest.raises(InputError):
        train(RECIPE, workdir=tmp_path / "run", data=f"folder:{tmp_path / 'absent'}", log=nothing)
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_a_phase_that_does_not_fit_the_space_claims_no_work_directory(tmp_path):
    with pytest.raises(InputError, match=r"Phase train: depths must be some of \(1, 2\)"):
        train(RECIPE.override(["train.depths=3"]), workdir=tmp_path / "run", data=FakeData(), log=pytest.fail)
    assert not (tmp_path / "run").exists()


def test_data_that_end_too_early_are_an_error(tmp_path, untimed):
    class Short(FakeData):
        def train(self, *, steps, **choices):
            return super().train(steps=steps - 1, **choices)

    with pytest.raises(InputError, match=r"images ended before the phase teacher\. Received: 7 of 8 steps"):
        train(RECIPE, workdir=tmp_path, data=Short(), log=nothing)


@pytest.mark.parametrize("spoilt", ["loss", "update"])
def test_nan_stops_the_run_and_names_the_step(tmp_path, monkeypatch, untimed, spoilt):
    """A loss of step 6, or a weight that step 7 leaves behind although its loss was finite."""
    original = Networks.train

    def spoil(self, phase, images, labels, *, step, resolution):
        bad = images * np.nan if (spoilt, step) == ("loss", 6) else images
        losses = original(self, phase, bad, labels, step=step, resolution=resolution)
        if (spoilt, step) == ("update", 7):
            variable = self.of(phase).net.trainable_variables[0]
            variable.assign(np.full(variable.shape, np.nan))
        return losses

    monkeypatch.setattr(Networks, "train", spoil)
    step = 6 if spoilt == "loss" else 7
    with pytest.raises(
        InputError, match=rf"{spoilt} of step {step} in phase teacher is not finite.*lower teacher\.learning_rate"
    ):
        train(RECIPE, workdir=tmp_path, data=FakeData(), log=nothing)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-000000000.npz", "step-000000004.npz"]
    assert not (tmp_path / "supernet").exists()


def test_channels_are_sorted_before_the_first_step_of_a_phase_and_never_again(tmp_path, untimed):
    """Stopped after that step, the run goes on with what it had then."""
    recipe = RECIPE.override(["train.sort_channels=0"])
    with interrupted(step=9), beginnings() as found, pytest.raises(SystemExit):
        train(recipe, workdir=tmp_path, data=FakeData(), log=nothing)
    teacher = Supernet.load(tmp_path / "teacher")
    unsorted = teacher.get_state()
    expected = channels.sort_channels(teacher.space, unsorted)
    assert any(not np.array_equal(expected[name], unsorted[name]) for name in unsorted)
    assert list(found) == [8]
    same(found[8], expected)
    with np.load(tmp_path / "checkpoints" / "step-000000009.npz") as stopped:
        weights = {name.removeprefix("state/"): stopped[name] for name in stopped.files if name.startswith("state/")}
    with beginnings() as again:
        train(recipe, workdir=tmp_path, data=FakeData(), log=nothing)
    assert list(again) == list(range(9, 20))
    same(again[9], weights)


def centres(teacher, family):
    """The weights of a teacher as a family of smaller kernels takes them."""
    found = {}
    for name, array in family.items():
        margin = (teacher[name].shape[0] - array.shape[0]) // 2 if name.endswith("/depth/kernel") else 0
        found[name] = teacher[name][margin:-margin, margin:-margin] if margin else teacher[name]
    return found


def test_family_starts_from_the_centres_of_a_teacher_with_larger_kernels(small_family, tmp_path):
    said, asked = [], []

    def validate(net, archs):
        asked.append((net.space, dict(archs)))
        return dict.fromkeys(archs, 0.5)

    net = train(PAPER, workdir=tmp_path, data=FiveClasses(), validate=validate, log=said.append)
    assert net.space == small_space()
    teacher = Supernet.load(tmp_path / "teacher")
    assert teacher.space == small_space("elastic")
    line = next(line for line in said if line.startswith("  teacher: ") and "kernels of 7 x 7" in line)
    assert f"{cost.macs(teacher.space, teacher.space.largest(16)) / 1e6:.1f} M MACs" in line
    assert [(space.kernel, sorted(archs)) for space, archs in asked] == [
        ("elastic", ["teacher"]), ("elastic", ["teacher"]), ("fixed", ["largest", "smallest"])
    ]  # fmt: skip
    # Again from the checkpoint at the end of the teacher's phase: what the next phase begins with, and what it becomes.
    folder = tmp_path / "again"
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(tmp_path / "checkpoints" / "step-000000008.npz", folder / "checkpoints")
    with beginnings() as found:
        resumed = train(PAPER, workdir=folder, data=FiveClasses(), log=said.append)
    assert f"Resuming {folder} at step 8 of 12." in said
    same(Supernet.load(folder / "teacher").get_state(), teacher.get_state())
    same(found[8], centres(teacher.get_state(), found[8]))
    same(resumed.get_state(), net.get_state())


@pytest.mark.parametrize("kernels", ["7", ""])
def test_a_run_that_ends_with_the_teacher_keeps_its_weights(small_family, tmp_path, kernels):
    recipe = PAPER.override([f"teacher.kernels={kernels}", "train.epochs=0"])
    found = train(recipe, workdir=tmp_path, data=FiveClasses(), log=nothing).get_state()
    same(found, centres(Supernet.load(tmp_path / "teacher").get_state(), found))
    # As a crash after the last epoch would leave it.
    shutil.rmtree(tmp_path / "supernet")
    shutil.rmtree(tmp_path / "teacher")
    same(train(recipe, workdir=tmp_path, data=FiveClasses(), log=nothing).get_state(), found)
    assert (tmp_path / "teacher" / "weights.npz").exists()


def test_the_settings_of_a_phase_say_which_network_it_trains(tmp_path, untimed):
    """A second stretch of the teacher, stopped in its middle; the family begins when both are done."""
    second = PhaseSettings(epochs=1, learning_rate=4.0, subnets=1, kd_ratio=0, network="teacher")
    recipe = dataclasses.replace(RECIPE.override(["teacher.epochs=1", "train.epochs=1"]), shrink=(second,))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with beginnings() as found:
        net = train(recipe, workdir=whole, data=FakeData(), log=nothing)
    assert list(found) == [8, 9, 10, 11]
    same(found[8], Supernet.load(whole / "teacher").get_state())
    with interrupted(step=6), pytest.raises(SystemExit):
        train(recipe, workdir=parts, data=FakeData(), log=nothing)
    assert not (parts / "teacher").exists()
    same(train(recipe, workdir=parts, data=FakeData(), log=nothing).get_state(), net.get_state())
