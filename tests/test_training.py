"""A run from start to end on a tiny family: resuming, stopping, refusing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
from spaces import small_space
from tiny import tiny_space

from compofa_tf import families
from compofa_tf.data.normalization import Normalization
from compofa_tf.errors import InputError
from compofa_tf.nets import channels
from compofa_tf.nets.supernet import Supernet
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import AccuracySettings, DataSettings, PhaseSettings, SpaceSettings
from compofa_tf.space import cost
from compofa_tf.training import metrics
from compofa_tf.training.loop import Losses, Trainer, train
from compofa_tf.training.phases import check_phases, plan

RECIPE = Recipe(
    name="tiny",
    space=SpaceSettings(family="tiny"),
    data=DataSettings(resolutions=(12, 16), batch_size=8),
    teacher=PhaseSettings(epochs=2, learning_rate=12.0, warmup_epochs=0.5, subnets=1, kd_ratio=0),
    train=PhaseSettings(epochs=3, learning_rate=8.0, subnets=2),
    accuracy=AccuracySettings(resolutions=(16,)),
    seed=5,
)
STEPS_PER_EPOCH = 4


class FakeData:
    """Images of noise whose mean gives the class away, made from (seed, step) alone."""

    name, labels = "fake", ("a", "b", "c")
    classes, train_size, val_size = 3, STEPS_PER_EPOCH * 8, 5
    normalization = Normalization.named("symmetric")

    def train(self, *, batch_size, steps, resolutions, seed, start_step=0):
        for step in range(start_step, start_step + steps):
            rng = np.random.default_rng([seed, step])
            labels = rng.integers(0, 3, batch_size).astype(np.int32)
            images = (
                rng.normal(size=(batch_size, resolutions[step], resolutions[step], 3)) + labels[:, None, None, None]
            )
            yield tf.constant(images, tf.float32), tf.constant(labels)


@pytest.fixture(scope="module", autouse=True)
def tiny_family():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "get", lambda name, **settings: tiny_space(**settings))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run: its folder, its weights, what it said, what validation was asked."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    said, asked = [], []

    def validate(net, archs):
        asked.append(dict(archs))
        return dict.fromkeys(archs, 0.5)

    net = train(RECIPE, workdir=folder, data=FakeData(), validate=validate, log=said.append)
    return folder, net.get_state(), said, asked


def same(mine, theirs):
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


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
    description = json.loads((folder / "supernet" / "supernet.json").read_text())
    assert description["labels"] == ["a", "b", "c"]
    assert description["recipe_hash"] == RECIPE.hash
    assert "normalization" in description
    assert list((folder / "tensorboard").iterdir())


def test_plan_is_said_before_the_start(finished):
    text = "\n".join(finished[2])
    for part in (RECIPE.hash, "4 subnets", "32 training, 5 validation images, 3 classes", "Batches of 8 at 12, 16 px"):
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
def test_signal_stops_with_a_checkpoint_and_resuming_repeats_the_run(finished, tmp_path, signum, code, monkeypatch):
    """Stopped in the middle of an epoch, in the teacher's phase or in the other one."""
    step = 6 if signum == signal.SIGTERM else 11
    original, before = Trainer._record, signal.getsignal(signum)

    def record(self, phase, position, records):
        original(self, phase, position, records)
        if self.step == step:
            signal.raise_signal(signum)

    monkeypatch.setattr(Trainer, "_record", record)
    said: list[str] = []
    with pytest.raises(SystemExit) as stopped:
        train(RECIPE, workdir=tmp_path, data=FakeData(), log=said.append)
    assert stopped.value.code == code
    assert said[-1] == f"Stopped by {signum.name} after step {step}; run the same command again to resume."
    assert signal.getsignal(signum) is before
    assert (tmp_path / "checkpoints" / f"step-{step:09d}.npz").exists()
    monkeypatch.undo()
    monkeypatch.setattr(families, "get", lambda name, **settings: tiny_space(**settings))
    net = train(RECIPE, workdir=tmp_path, data=FakeData(), log=said.append)
    assert f"Resuming {tmp_path} at step {step} of 20." in said
    same(net.get_state(), finished[1])
    assert numbers(tmp_path) == numbers(finished[0])


def test_damaged_checkpoint_is_said_and_the_one_before_repeats_the_run(finished, tmp_path):
    """The work directory as a crash after the last epoch but before the end would leave it, its last file damaged."""
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("supernet"))
    last = folder / "checkpoints" / "step-000000020.npz"
    last.write_bytes(last.read_bytes()[:1000])
    said: list[str] = []
    net = train(RECIPE, workdir=folder, data=FakeData(), log=said.append)
    assert any("step-000000020.npz is truncated" in line for line in said)
    assert any("Resuming" in line and "at step 16 of 20" in line for line in said)
    same(net.get_state(), finished[1])
    assert numbers(folder) == numbers(finished[0])


def test_crash_between_last_checkpoint_and_the_end(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("supernet"))
    same(train(RECIPE, workdir=folder, data=FakeData(), log=lambda line: None).get_state(), finished[1])
    assert (folder / "supernet" / "weights.npz").exists()


def test_work_directory_of_another_recipe_is_refused_and_left_alone(finished):
    folder = finished[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(
        InputError, match=r"holds a run with other settings; use another --workdir.*train\.epochs: 3 and 4"
    ):
        train(RECIPE.override(["train.epochs=4"]), workdir=folder, data=FakeData(), log=pytest.fail)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_changed_images_are_refused(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("supernet"))
    more = FakeData()
    more.train_size = 33
    with pytest.raises(InputError, match=r"another training images.*Expected: 33\. Received: 32"):
        train(RECIPE, workdir=folder, data=more, log=lambda line: None)


def test_unusable_source_claims_no_work_directory(tmp_path):
    with pytest.raises(InputError):
        train(RECIPE, workdir=tmp_path / "run", data=f"folder:{tmp_path / 'absent'}", log=lambda line: None)
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_nan_stops_the_run_and_names_the_step(tmp_path, monkeypatch):
    original = Trainer._train_on

    def spoil(self, images, labels, phase, *, step):
        bad = phase.name == "teacher" and step == 6 and bool(self._seconds)
        return original(self, images * np.nan if bad else images, labels, phase, step=step)

    monkeypatch.setattr(Trainer, "_train_on", spoil)
    monkeypatch.setattr(Trainer, "announce", lambda self: self._seconds.update(teacher=1.0))
    with pytest.raises(
        InputError, match=r"loss of step 6 in phase teacher is not finite.*lower teacher\.learning_rate"
    ):
        train(RECIPE, workdir=tmp_path, data=FakeData(), log=lambda line: None)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000004.npz"]
    assert not (tmp_path / "supernet").exists()


def test_losses_name_the_first_bad_step():
    losses = Losses(40, np.zeros([2, 3], np.float32))
    for value in (1.0, 2.0, np.inf, np.nan):
        losses.add(tf.constant([1.0, value, 1.0]))
    with pytest.raises(InputError, match=r"loss of step 44 in phase train .* Received: loss=\[1\.0, inf, 1\.0\]"):
        losses.settle("train")


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    trainer = Trainer(RECIPE, FakeData(), tmp_path, log=pytest.fail)
    trainer.step = 4
    spoilt = trainer.teacher.net.trainable_variables[0]
    spoilt.assign(np.full(spoilt.shape, np.nan))
    with pytest.raises(InputError, match="update of step 3 in phase teacher is not finite"):
        trainer.save_checkpoint(trainer.phases[0])
    assert not (tmp_path / "checkpoints").exists()


def test_a_phase_that_does_not_fit_the_space_claims_no_work_directory(tmp_path):
    for override, message in (
        ("train.depths=3", r"PhaseSettings train: depths must be some of \(1, 2\)"),
        (
            "train.sort_channels=2",
            r"PhaseSettings train: Channel sorting can skip 0 to 1 of the largest expand ratios",
        ),
    ):
        with pytest.raises(InputError, match=message):
            train(RECIPE.override([override]), workdir=tmp_path / "run", data=FakeData(), log=pytest.fail)
        assert not (tmp_path / "run").exists()


def test_channels_are_sorted_before_the_first_step_of_a_phase_and_never_again(tmp_path):
    """The checkpoint at the end of the phase before holds them unsorted, every later one sorted."""
    recipe = RECIPE.override(["train.sort_channels=0"])
    trainer = Trainer(recipe, FakeData(), tmp_path, log=pytest.fail)
    unsorted = trainer.teacher.net.get_state()
    (_, phase), expected = trainer.phases, channels.sort_channels(trainer.space, unsorted)
    assert any(not np.array_equal(expected[name], unsorted[name]) for name in unsorted)
    trainer.step = phase.start
    trainer._begin(phase)
    same(trainer.family.net.get_state(), expected)
    same(trainer.teacher.net.get_state(), unsorted)
    trainer.family.net.set_state(unsorted)
    trainer.step = phase.start + 1
    trainer._begin(phase)
    same(trainer.family.net.get_state(), unsorted)


PAPER = RECIPE.override(["space.kernel=fixed", "teacher.kernels=7", "optimizer.dropout=0.1", "train.epochs=1"])


class FiveClasses(FakeData):
    labels, classes = tuple("abcde"), 5


@pytest.fixture
def small_family(monkeypatch):
    """A family with kernels of 5 and 3, whose elastic relative has 7 everywhere."""
    monkeypatch.setattr(families, "get", lambda name, **settings: small_space(settings["kernel"]))


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
    trainer = Trainer(PAPER, FiveClasses(), folder, log=said.append)
    assert (trainer.step, said[-1]) == (8, f"Resuming {folder} at step 8 of 12.")
    same(trainer.teacher.net.get_state(), teacher.get_state())
    trainer._begin(trainer.phases[1])
    began, found = trainer.family.net.get_state(), teacher.get_state()
    cropped = [name for name in began if name.endswith("/depth/kernel") and not name.startswith("first")]
    assert {began[name].shape[0] for name in cropped} == {3, 5}
    for name in cropped:
        margin = (7 - began[name].shape[0]) // 2
        np.testing.assert_array_equal(began[name], found.pop(name)[margin:-margin, margin:-margin])
    same({name: array for name, array in began.items() if name not in cropped}, without_transforms(found))
    resumed = train(PAPER, workdir=folder, data=FiveClasses(), log=said.append)
    same(resumed.get_state(), net.get_state())


@pytest.mark.parametrize("override", ["teacher.kernels=7", "teacher.kernels="])
def test_a_run_that_ends_with_the_teacher_keeps_its_weights(small_family, tmp_path, override):
    recipe = PAPER.override([override, "train.epochs=0"])
    net = train(recipe, workdir=tmp_path, data=FiveClasses(), log=lambda line: None)
    found, teacher = net.get_state(), Supernet.load(tmp_path / "teacher").get_state()
    for name, array in found.items():
        margin = (teacher[name].shape[0] - array.shape[0]) // 2 if name.endswith("/depth/kernel") else 0
        whole = teacher[name][margin:-margin, margin:-margin] if margin else teacher[name]
        np.testing.assert_array_equal(array, whole, err_msg=name)
    # As a crash after the last epoch would leave it.
    shutil.rmtree(tmp_path / "supernet")
    shutil.rmtree(tmp_path / "teacher")
    same(train(recipe, workdir=tmp_path, data=FiveClasses(), log=lambda line: None).get_state(), found)
    assert (tmp_path / "teacher" / "weights.npz").exists()


def without_transforms(state):
    return {name: array for name, array in state.items() if not name.endswith(("7to5", "5to3"))}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("teacher.kernels=5", r"PhaseSettings teacher: .*kernels must be 7, or empty.*Received: kernels=\(5,\)"),
        ("teacher.kernels=5,7", r"PhaseSettings teacher: .*kernels must be 7, or empty"),
        ("teacher.depths=1", r"PhaseSettings teacher: .*leave depths, expands and sort_channels empty"),
        ("teacher.sort_channels=0", r"PhaseSettings teacher: .*leave depths, expands and sort_channels empty"),
    ],
)
def test_teachers_that_are_not_the_largest_are_refused(small_family, override, message):
    with pytest.raises(InputError, match=message):
        check_phases(PAPER.override([override]), classes=5)
    check_phases(PAPER, classes=5)


def test_larger_kernels_of_a_teacher_that_cannot_be_are_refused():
    none = ["teacher.epochs=0", "teacher.warmup_epochs=0", "train.kd_ratio=0"]
    with pytest.raises(InputError, match=r"leave teacher\.kernels empty\. .*teacher\.epochs=0"):
        check_phases(PAPER.override(none), classes=5)
    resnet = dataclasses.replace(PAPER, space=SpaceSettings(family="resnet50"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "get", lambda name, **settings: families.resnet50(**settings))
        for kernels in ("7", "3"):
            with pytest.raises(InputError, match=r"as large as they can be: leave teacher\.kernels empty"):
                check_phases(resnet.override([f"teacher.kernels={kernels}"]), classes=5)


def test_dropout_of_the_recipe_is_that_of_every_step(small_family, tmp_path):
    trainer = Trainer(PAPER, FiveClasses(), tmp_path, log=pytest.fail)
    assert [trainer.step_function(phase).dropout for phase in trainer.phases] == [0.1, 0.1]


def test_what_is_dropped_out_depends_on_seed_and_step(tmp_path, monkeypatch):
    """So that a resumed run drops out the same."""
    trainer = Trainer(RECIPE, FakeData(), tmp_path, log=pytest.fail)
    assert trainer.step_function(trainer.phases[1]).dropout == 0
    seeds = []
    monkeypatch.setattr(trainer, "step_function", lambda phase: lambda *inputs, seed: seeds.append(seed))
    for step in (0, 9):
        trainer._train_on(None, None, trainer.phases[step // 8], step=step)
    assert seeds == [(5, 0), (5, 9)]


def test_plan_places_phases_one_after_the_other():
    recipe = dataclasses.replace(RECIPE, shrink=(PhaseSettings(epochs=1, learning_rate=1.0, subnets=1),))
    phases = plan(recipe, train_size=39)
    assert [(p.name, p.start, p.end, p.epoch_steps) for p in phases] == [
        ("teacher", 0, 8, 4), ("shrink.0", 8, 12, 4), ("train", 12, 24, 4)
    ]  # fmt: skip
    assert [phases[0].learning_rate(step) for step in (0, 1, 2)] == pytest.approx([0.0234375, 0.046875, 0.046875])
    assert phases[2].learning_rate(12) == pytest.approx(8.0 * 8 / 2048)


def test_plan_refuses_what_cannot_be_trained():
    with pytest.raises(InputError, match=r"set data\.batch_size to at most 7\. Received: data\.batch_size=8"):
        plan(RECIPE, train_size=7)
    nothing = RECIPE.override(["teacher.epochs=0", "teacher.warmup_epochs=0", "train.epochs=0"])
    with pytest.raises(InputError, match="nothing to train"):
        plan(nothing, train_size=64)
