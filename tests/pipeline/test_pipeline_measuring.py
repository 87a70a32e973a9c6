"""Which subnets a measurement takes, and under what name it is kept."""

from __future__ import annotations

import pytest
import workdirs

from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.pipeline.measuring import choose_archs, confirm, measure_accuracy, measure_latency
from compofa_tf.pipeline.run import Run
from compofa_tf.pipeline.searching import searched
from compofa_tf.searches.exact import search

INT8 = "latency/host-int8-t1.json"


def test_a_quick_look_takes_the_first_or_a_seeded_sample_with_both_ends(tmp_path):
    space = workdirs.described(tmp_path)
    everything = list(space.enumerate(resolutions=(24, 32)))
    assert choose_archs(space, (24, 32), limit=None, sample=None, seed=0) is None
    assert choose_archs(space, (24, 32), limit=3, sample=None, seed=0) == everything[:3]
    drawn = choose_archs(space, (24, 32), limit=None, sample=10, seed=0)
    assert drawn == choose_archs(space, (24, 32), limit=None, sample=10, seed=0)
    assert len(set(drawn)) == 10
    assert {space.largest(32), space.smallest(24)} <= set(drawn) <= set(everything)
    assert len(choose_archs(space, (24,), limit=None, sample=1000, seed=0)) == 243
    with pytest.raises(InputError, match="not both"):
        choose_archs(space, (24,), limit=1, sample=1, seed=0)
    with pytest.raises(InputError, match="sample=0"):
        choose_archs(space, (24,), limit=None, sample=0, seed=0)


def test_accuracies_belong_to_the_training_whatever_else_changes(tmp_path, monkeypatch):
    """Threads of the latency table are no reason to measure accuracies anew."""
    workdirs.with_tables(tmp_path)
    asked = []
    monkeypatch.setattr(AccuracyTable, "measure", lambda net, **given: asked.append(given))
    monkeypatch.setattr("compofa_tf.nets.supernet.Supernet.load", lambda path: "net")
    run = Run(tmp_path)
    trained = run.recipe.training_hash
    measure_accuracy(run.changed(["latency.threads=2"]), limit=1, images=7)
    (given,) = asked
    assert given["training_hash"] == trained and given["recipe_hash"] != run.recipe.hash
    assert (given["images"], given["calibration_images"], given["path"]) == (7, 64, run.accuracy_file)


def test_a_latency_table_per_precision(tmp_path, monkeypatch):
    space = workdirs.described(tmp_path)
    asked = []
    monkeypatch.setattr(LatencyTable, "measure", lambda space, **given: asked.append((space, given)))
    measure_latency(Run(tmp_path).changed(["latency.precisions=float32,int8", "latency.threads=2"]))
    assert [given["path"].name for _, given in asked] == ["host-float32-t2.json", "host-int8-t2.json"]
    assert all(measured == space and given["archs"] is None for measured, given in asked)


def test_the_points_of_the_front_are_measured_on_all_pictures(tmp_path, monkeypatch):
    """Where the table is of a part of them; without a latency table nobody knows yet which these are."""
    space = workdirs.with_tables(tmp_path)
    asked = []
    monkeypatch.setattr(AccuracyTable, "measure", lambda net, **given: asked.append(given) or "measured")
    monkeypatch.setattr("compofa_tf.nets.supernet.Supernet.load", lambda path: "net")
    run = Run(tmp_path)
    run.__dict__["data"] = None
    assert confirm(run) == "measured"
    given = asked[0]
    points = search(
        space, accuracy=AccuracyTable.load(run.accuracy_file), latency=LatencyTable.load(tmp_path / INT8)
    ).points
    assert 1 < len(points) < 243 and given["archs"] == [point.arch for point in points]
    assert given["path"] == tmp_path / "accuracy" / "whole" / "val.json" and "images" not in given
    whole = AccuracyTable(space, "digits", training_hash="another")
    whole.save(run.whole_accuracy_file)
    assert confirm(run) == "measured" and not run.whole_accuracy_file.exists()  # of no use, begun anew
    table = AccuracyTable.load(run.accuracy_file)
    table.available = 40  # those that the table is of
    table.save(run.accuracy_file)
    assert confirm(run) is None
    (tmp_path / INT8).unlink()
    assert confirm(run) is None and len(asked) == 2


def test_a_search_reads_the_figures_on_all_pictures_if_they_are_of_the_same_training(tmp_path):
    space = workdirs.with_tables(tmp_path)
    run = Run(tmp_path)
    before = searched(run)
    assert len(before.unconfirmed) == len(before.points)
    for training, confirmed in (("another", 0), (run.recipe.training_hash, len(before.points))):
        whole = AccuracyTable(space, "digits", training_hash=training, calibration_images=64)
        for point in before.points:
            whole.add(AccuracyRecord(point.arch, 0.6, 0.9, 5000, 0.6))
        whole.save(run.whole_accuracy_file)
        front = searched(run)
        assert len(front.points) - len(front.unconfirmed) == confirmed
