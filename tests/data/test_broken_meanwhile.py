"""Pictures that vanish or break while a training runs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from pictures import all_labels, fill, load_folder

from compofa_tf.data import pipelines, store
from compofa_tf.data.dataset import PicturesLostError


@pytest.fixture
def data(tmp_path, monkeypatch):
    """48 pictures of two classes, read from disk."""
    monkeypatch.setattr(store, "MEMORY_LIMIT_BYTES", 100)
    fill(tmp_path / "set" / "a", 24)
    fill(tmp_path / "set" / "b", 24, seed=100)
    return load_folder(tmp_path / "set", max_bad_share=0.1)


ASKED = {"batch_size": 6, "seed": 3}
RESOLUTIONS = np.full(12, 10, np.int32)


def batches_of(data, start, steps):
    return data.train(**ASKED, steps=steps, start_step=start, resolutions=RESOLUTIONS)


def break_one(data, tmp_path, step, *, vanish):
    ids = pipelines.ids_at(data.train_ids, batch_size=6, step=step, seed=3)
    path = tmp_path / "set" / data.images.names[ids[0]]
    path.unlink() if vanish else path.write_bytes(b"no picture any more")
    return data.images.names[ids[0]]


def test_the_ids_of_a_step_are_those_of_its_batch(data):
    for step, (_, labels) in zip(range(12), batches_of(data, 0, 12)):
        ids = pipelines.ids_at(data.train_ids, batch_size=6, step=step, seed=3)
        np.testing.assert_array_equal(data.images.labels[ids], labels)


@pytest.mark.parametrize("vanish", [True, False])
def test_a_broken_picture_is_replaced_by_the_next_and_named_once(data, tmp_path, vanish):
    before = [x for x, _ in batches_of(data, 0, 3)]
    name = break_one(data, tmp_path, 1, vanish=vanish)
    iterator = iter(batches_of(data, 0, 3))
    np.testing.assert_array_equal(next(iterator)[0], before[0])
    with pytest.raises(tf.errors.OpError):
        next(iterator)
    reason = "the file has vanished" if vanish else "the file can no longer be decoded"
    assert data.mend(**ASKED, step=1) == [(name, reason)]
    assert data.mend(**ASKED, step=1) == []
    after = [x for x, _ in batches_of(data, 0, 3)]
    np.testing.assert_array_equal(after[0], before[0])
    same = [np.array_equal(a, b) for a, b in zip(after[1], before[1])]
    assert same.count(False) == 1


def test_an_evaluation_goes_on_without_it(data, tmp_path, capsys):
    name = data.images.names[data.val_ids[0]]
    (tmp_path / "set" / name).unlink()
    assert len(all_labels(data.eval(resolution=8, batch_size=5))) == data.val_size - 1
    assert f"Left out from now on: {name} (the file has vanished)." in capsys.readouterr().out
    assert len(all_labels(data.eval(resolution=8, batch_size=5))) == data.val_size - 1
    assert capsys.readouterr().out == ""


def test_a_file_that_was_only_touched_stays(data, tmp_path, capsys):
    path = tmp_path / "set" / data.images.names[data.val_ids[0]]
    path.write_bytes(path.read_bytes())
    assert len(all_labels(data.eval(resolution=8, batch_size=5))) == data.val_size
    assert capsys.readouterr().out == ""


def test_too_many_broken_pictures_stop_the_work(data, tmp_path):
    for i in data.val_ids[:6]:
        (tmp_path / "set" / data.images.names[i]).unlink()
    with pytest.raises(
        PicturesLostError, match=r"6 images can no longer be read, more than the 10\.0%.*bring them back"
    ):
        data.eval(resolution=8, batch_size=5)


def test_a_failure_for_another_reason_mends_nothing(data):
    assert data.mend(**ASKED, step=0) == []
