"""Right or wrong by subnet and picture: packed, kept beside the table, compared in pairs."""

from __future__ import annotations

import numpy as np
import pytest

from compofa_tf.accuracy.answers import Answers, beside
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.nets.supernet import Supernet


def filled(count=13, names="abc"):
    rng, answers = np.random.default_rng(0), Answers(count)
    for name in names:
        answers.add(name, rng.random(count) < 0.6)
    return answers


def test_answers_survive_their_file(tmp_path):
    answers = filled()
    answers.save(tmp_path / "val.npz")
    found = Answers.load(tmp_path / "val.npz")
    assert (found.count, list(found)) == (13, ["a", "b", "c"])
    for name in found:
        np.testing.assert_array_equal(found[name], answers[name])
    np.testing.assert_array_equal(found.matrix(["c", "a"]), [answers["c"], answers["a"]])


def test_other_lengths_and_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="answers the same 13 pictures"):
        filled().add("d", np.ones(12, bool))
    with pytest.raises(InputError, match="does not exist"):
        Answers.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz lacks 'count'"):
        Answers.load(tmp_path / "other.npz")
    np.savez(tmp_path / "odd.npz", count=100, ids=np.asarray(["a"]), bits=np.zeros((1, 2), np.uint8))
    with pytest.raises(InputError, match="do not fit together"):
        Answers.load(tmp_path / "odd.npz")


def test_differences_rest_on_the_same_pictures():
    answers = Answers(100)
    answers.add("first", np.arange(100) < 60)
    answers.add("second", (np.arange(100) < 50) | (np.arange(100) >= 96))
    difference, low, high, *_ = answers.difference("first", "second")
    assert difference == pytest.approx(0.06)
    assert low < 0.06 < high and high - low < 0.16  # two independent shares would be known to 0.27
    assert answers.difference("first", "first")[1] < 0 < answers.difference("first", "first")[2]


def test_a_table_is_measured_with_its_answers_and_continued(tiny_family, fake_data, tmp_path):
    net, path = Supernet(tiny_family(classes=5)), tmp_path / "val.json"
    settings = {"data": fake_data, "images": 50, "calibration_images": 40, "batch_size": 16, "progress": False}
    archs = list(net.space.enumerate(resolutions=(16,)))
    AccuracyTable.measure(net, archs=archs[:2], path=path, **settings)
    assert len(Answers.load(beside(path))) == 2
    table = AccuracyTable.measure(net, archs=archs, path=path, **settings)
    answers = Answers.load(beside(path))
    assert answers.keys() == table.keys() and answers.count == 50
    np.testing.assert_array_equal(answers.labels, fake_data.eval_labels(limit=50))
    assert all(answers[name].mean() == record.top1 for name, record in table.items())


def test_damaged_answers_do_not_lose_the_table(tiny_family, fake_data, tmp_path):
    net, path = Supernet(tiny_family(classes=5)), tmp_path / "val.json"
    settings = {"data": fake_data, "images": 50, "calibration_images": 40, "batch_size": 16, "progress": False}
    archs = list(net.space.enumerate(resolutions=(16,)))
    AccuracyTable.measure(net, archs=archs[:2], path=path, **settings)
    beside(path).write_bytes(b"torn")
    table = AccuracyTable.measure(net, archs=archs, path=path, **settings)
    assert len(table) == 4 and len(Answers.load(beside(path))) == 2
