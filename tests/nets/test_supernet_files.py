"""A saved supernet comes back, and no damaged, foreign or missing file is taken for one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.files import read_arrays
from compofa_tf.nets.supernet import Supernet


@pytest.fixture(scope="module")
def published():
    """The real layout at a quarter of the width."""
    return Supernet(families.mobilenet_v3(width_mult=0.25, input_size=32, classes=10))


@pytest.fixture(scope="module")
def saved(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    published.save(folder, recipe_hash="abc", labels=["a", "b"])
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def test_save_and_load(published, saved, tmp_path):
    assert sorted(path.name for path in saved.iterdir()) == ["supernet.json", "weights.npz"]
    description = json.loads((saved / "supernet.json").read_text())
    assert (description["kind"], description["recipe_hash"], description["labels"]) == ("supernet", "abc", ["a", "b"])
    net = Supernet.load(saved)
    assert net.space == published.space
    before = published.get_state()
    assert all(np.array_equal(before[name], value) for name, value in net.get_state().items())
    shutil.copytree(saved, tmp_path / "run" / "supernet")
    assert Supernet.load(tmp_path / "run").space == published.space


def test_saving_again_replaces_both_files(published, copy):
    published.save(copy, recipe_hash="new")
    assert json.loads((copy / "supernet.json").read_text())["recipe_hash"] == "new"
    assert sorted(path.name for path in copy.iterdir()) == ["supernet.json", "weights.npz"]


def test_truncated_weights_are_refused(copy):
    whole = (copy / "weights.npz").read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (copy / "weights.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"weights\.npz is (truncated|not the file)"):
            Supernet.load(copy)


def test_damaged_weights_are_refused(copy):
    """One byte changed anywhere: the archive, an array's header or its numbers."""
    whole = bytearray((copy / "weights.npz").read_bytes())
    for position in np.random.default_rng(0).integers(len(whole), size=25):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (copy / "weights.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"weights\.npz is (truncated|not the file)"):
            Supernet.load(copy)


def test_foreign_weights_are_refused(copy):
    np.save(copy / "array.npy", np.zeros(3))
    (copy / "array.npy").rename(copy / "weights.npz")
    with pytest.raises(InputError, match=r"weights\.npz is truncated or not a weights file"):
        Supernet.load(copy)
    np.savez(copy / "weights.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"weights\.npz is truncated or not a weights file"):
        read_arrays(copy / "weights.npz")
    np.savez(copy / "weights.npz", x=np.zeros(3))
    with pytest.raises(InputError, match=r"weights\.npz is not the file that .*supernet\.json describes"):
        Supernet.load(copy)


def test_weights_of_another_space_are_refused(copy):
    description = json.loads((copy / "supernet.json").read_text())
    description["space"]["settings"]["classes"] = 12
    (copy / "supernet.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"do not fit the space .*classifier/dense/bias \(10,\) instead of \(12,\)"):
        Supernet.load(copy)


def test_missing_files_are_named(copy, tmp_path):
    with pytest.raises(InputError, match=r"no trained supernet in .*nowhere; run `compofa train`"):
        Supernet.load(tmp_path / "nowhere")
    (copy / "weights.npz").unlink()
    with pytest.raises(InputError, match=r"weights\.npz does not exist"):
        Supernet.load(copy)
    (copy / "supernet.json").write_text(json.dumps({"kind": "supernet", "schema_version": 1}))
    np.savez(copy / "weights.npz", x=np.zeros(3))
    with pytest.raises(InputError):
        Supernet.load(copy)
