"""Checkpoints: what goes in comes out, damage is noticed and named, other runs are refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from compofa_tf.errors import InputError
from compofa_tf.training import checkpoints
from compofa_tf.training.checkpoints import Checkpoint

OWNER: dict[str, str | int] = {"recipe_hash": "abc", "space": "def", "training_images": 64}


def make(step: int) -> Checkpoint:
    rng = np.random.default_rng(step)
    state = {
        "stem/conv/kernel": rng.normal(size=(3, 3, 3, 8)).astype(np.float32),
        "stem/conv/gamma": np.ones(8, np.float32),
    }
    velocities = {name: array * 0.5 for name, array in state.items()}
    return Checkpoint(step, state, velocities, rng.normal(size=(3, 4)).astype(np.float32), OWNER)


def truncate(path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_round_trip(tmp_path):
    saved = make(7)
    found = checkpoints.load(checkpoints.save(tmp_path, saved), owner=OWNER)
    assert found.step == 7
    np.testing.assert_array_equal(found.losses, saved.losses)
    for mine, theirs in ((saved.state, found.state), (saved.velocities, found.velocities)):
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])


def test_the_newest_two_are_kept_in_order_of_steps(tmp_path):
    for step in (8, 9, 10, 100):
        checkpoints.save(tmp_path, make(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000010.npz", "step-000000100.npz"]
    assert checkpoints.load_latest(tmp_path, owner=OWNER, log=pytest.fail).step == 100


def test_no_checkpoint_yet(tmp_path):
    assert checkpoints.load_latest(tmp_path / "absent", owner=OWNER, log=pytest.fail) is None


def test_truncated_checkpoint_is_set_aside_and_the_one_before_it_taken(tmp_path):
    checkpoints.save(tmp_path, make(5))
    truncate(checkpoints.save(tmp_path, make(6)))
    said: list[str] = []
    assert checkpoints.load_latest(tmp_path, owner=OWNER, log=said.append).step == 5
    assert "step-000000006.npz is truncated" in said[0]
    assert "Continuing from the checkpoint before it" in said[1]
    assert (tmp_path / "step-000000006.npz.damaged").exists()
    checkpoints.save(tmp_path, make(7))
    assert {"step-000000005.npz", "step-000000007.npz"} <= {path.name for path in tmp_path.iterdir()}


def test_only_truncated_checkpoints(tmp_path):
    truncate(checkpoints.save(tmp_path, make(5)))
    with pytest.raises(InputError, match=r"remove the folder .* to start over\. Received: .*step-000000005\.npz"):
        checkpoints.load_latest(tmp_path, owner=OWNER, log=lambda line: None)


@pytest.mark.parametrize("key", list(OWNER))
def test_checkpoint_of_another_run_is_refused(tmp_path, key):
    checkpoints.save(tmp_path, dataclasses.replace(make(5), owner={**OWNER, key: "other"}))
    with pytest.raises(
        InputError, match=f"belongs to another {key.replace('_', ' ')}; use another --workdir.*Received: other"
    ):
        checkpoints.load_latest(tmp_path, owner=OWNER, log=pytest.fail)
    assert (tmp_path / "step-000000005.npz").exists()


def test_another_npz_is_not_a_checkpoint(tmp_path):
    np.savez(tmp_path / "step-000000005.npz", weights=np.zeros(3))
    with pytest.raises(InputError, match="is not a checkpoint of compofa_tf"):
        checkpoints.load(tmp_path / "step-000000005.npz", owner=OWNER)


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, make(5))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(tmp_path, make(6))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000005.npz"]
