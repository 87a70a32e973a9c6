"""Which subnets a measurement takes, and under what name it is kept."""

from __future__ import annotations

import pytest
import workdirs

from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.pipeline.measuring import choose_archs, measure_accuracy, measure_latency
from compofa_tf.pipeline.run import Run


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
