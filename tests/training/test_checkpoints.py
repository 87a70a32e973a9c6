"""Checkpoints: what goes in comes out, damage is noticed and named, other runs are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from runs import RECIPE

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.training import checkpoints
from compofa_tf.training.checkpoints import Checkpoints, Keep, SaveWhen
from compofa_tf.training.phases import place_phases
from compofa_tf.training.state import TrainState

OWNER: dict[str, str | int] = {"training_hash": "abc", "space": "def", "training_images": 64}


def make(step: int) -> TrainState:
    rng = np.random.default_rng(step)
    state = {
        "stem/conv/kernel": rng.normal(size=(3, 3, 3, 8)).astype(np.float32),
        "stem/conv/gamma": np.ones(8, np.float32),
    }
    velocities = {name: array * 0.5 for name, array in state.items()}
    return TrainState(step, state, velocities, rng.normal(size=(3, 4)).astype(np.float32))


def truncate(path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_round_trip(tmp_path):
    saved = make(7)
    found = checkpoints.load(Checkpoints(tmp_path, OWNER).save(saved), owner=OWNER)
    assert found.step == 7
    np.testing.assert_array_equal(found.losses, saved.losses)
    for mine, theirs in ((saved.weights, found.weights), (saved.velocities, found.velocities)):
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])


def test_the_header_says_what_it_was_made_with(tmp_path):
    path = Checkpoints(tmp_path, OWNER, recipe_hash="xyz").save(make(7))
    with np.load(path) as content:
        header = json.loads(str(content["header"]))
    assert header == {"step": 7, "schema_version": 2, "recipe_hash": "xyz", **OWNER}


def test_the_newest_two_are_kept_in_order_of_steps(tmp_path):
    kept = Checkpoints(tmp_path, OWNER)
    for step in (8, 9, 10, 100):
        kept.save(make(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000010.npz", "step-000000100.npz"]
    assert kept.restore(log=pytest.fail).step == 100


@pytest.mark.parametrize(("newest", "dropped"), [(1, [3, 5]), (2, [3]), (3, []), (4, [])])
def test_what_is_kept_is_a_value(newest, dropped):
    assert Keep(newest).dropped([3, 5, 8]) == dropped


def test_when_to_save_is_a_value():
    """Four steps per epoch; the teacher has two epochs, the family three."""
    teacher, train = place_phases(RECIPE, train_size=32)

    def due(when):
        steps = [(phase, step) for phase in (teacher, train) for step in range(phase.start + 1, phase.end + 1)]
        return [step for phase, step in steps if when.due(phase, step)]

    assert due(SaveWhen()) == [4, 8, 12, 16, 20]
    assert due(SaveWhen(every_epochs=2)) == [8, 16, 20]  # after the last epoch of a phase in any case
    assert SaveWhen().due(train, 9, stopping=True)
    assert not SaveWhen(on_signal=False).due(train, 9, stopping=True)
    assert SaveWhen(on_signal=False).due(train, 12, stopping=True)


def test_policies_without_sense_are_refused():
    with pytest.raises(InputError, match=r"every_epochs must be at least 1\. Received: every_epochs=0"):
        SaveWhen(every_epochs=0)
    with pytest.raises(InputError, match=r"newest must be at least 1\. Received: newest=0"):
        Keep(newest=0)


def test_no_checkpoint_yet(tmp_path):
    assert Checkpoints(tmp_path / "absent", OWNER).restore(log=pytest.fail) is None


def test_truncated_checkpoint_is_set_aside_and_the_one_before_it_taken(tmp_path):
    kept = Checkpoints(tmp_path, OWNER)
    kept.save(make(5))
    truncate(kept.save(make(6)))
    said: list[str] = []
    assert kept.restore(log=said.append).step == 5
    assert "step-000000006.npz is truncated" in said[0]
    assert "Continuing from the checkpoint before it" in said[1]
    assert (tmp_path / "step-000000006.npz.damaged").exists()
    kept.save(make(7))
    assert {"step-000000005.npz", "step-000000007.npz"} <= {path.name for path in tmp_path.iterdir()}


def test_only_truncated_checkpoints(tmp_path):
    kept = Checkpoints(tmp_path, OWNER)
    truncate(kept.save(make(5)))
    with pytest.raises(InputError, match=r"remove the folder .* to start over\. Received: .*step-000000005\.npz"):
        kept.restore(log=lambda line: None)


@pytest.mark.parametrize("key", list(OWNER))
def test_checkpoint_of_another_run_is_refused(tmp_path, key):
    Checkpoints(tmp_path, {**OWNER, key: "other"}).save(make(5))
    with pytest.raises(
        InputError, match=f"belongs to another {key.replace('_', ' ')}; use another --workdir.*Received: other"
    ):
        Checkpoints(tmp_path, OWNER).restore(log=pytest.fail)
    assert (tmp_path / "step-000000005.npz").exists()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (1, r"by an earlier version of compofa_tf, which did not record its training_hash; .*to start over"),
        (3, r"by a newer version of compofa_tf; upgrade to read it\. Received: schema_version=3"),
    ],
)
def test_checkpoints_of_other_versions_are_named_as_such(tmp_path, monkeypatch, version, message):
    monkeypatch.setitem(files.SCHEMA_VERSIONS, "checkpoint", version)
    Checkpoints(tmp_path, {"space": "def", "training_images": 64}, "xyz").save(make(5))
    monkeypatch.undo()
    with pytest.raises(InputError, match=message):
        Checkpoints(tmp_path, OWNER).restore(log=pytest.fail)


def test_another_npz_is_not_a_checkpoint(tmp_path):
    np.savez(tmp_path / "step-000000005.npz", weights=np.zeros(3))
    with pytest.raises(InputError, match="is not a checkpoint of compofa_tf"):
        checkpoints.load(tmp_path / "step-000000005.npz", owner=OWNER)


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path, OWNER)
    kept.save(make(5))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        kept.save(make(6))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000005.npz"]
