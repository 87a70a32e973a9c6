"""The numbers of the figures: measured and predicted apart, and every panel that the files allow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from finished_run import copy_without, words

from compofa_tf import families
from compofa_tf.accuracy.table import AccuracyRecord
from compofa_tf.latency.table import LatencyTable
from compofa_tf.reports import charts, reading
from compofa_tf.reports.page import report
from compofa_tf.workdir import WorkDir


def trained_with(*records):
    return reading.Material(WorkDir(Path()), metrics=list(records))


def test_predicted_and_measured_never_mix(finished):
    root, _ = finished
    material = reading.read(root)
    front = material.fronts["front.json"]
    (panel,) = charts.panels([front], material.sidecars)
    assert len(panel.marks) == 3 and [mark.budget_ms for mark in panel.marks] == list(front.budgets)
    contents = [sidecar.content for sidecar in material.sidecars if sidecar.precision == "int8"]
    for mark, content in zip(panel.marks, contents, strict=True):
        choice = next(c for c in front.candidates if c.id == mark.label)
        assert mark.predicted == (choice.predicted_ms, choice.top1)
        assert mark.measured.ms == content["latency"]["measured"]["ms"]
        assert (mark.measured.top1, mark.measured.low) == (content["accuracy"]["top1"], content["accuracy"]["low"])


def test_unmeasured_choices_are_marked_as_predicted_only(finished):
    material = reading.read(finished[0])
    (panel,) = charts.panels([material.fronts["front.json"]], [])
    assert len(panel.marks) == 3 and all(mark.predicted and mark.measured is None for mark in panel.marks)


def test_precision_that_was_measured_but_not_searched_gets_its_panel(finished):
    material = reading.read(finished[0])
    float32, int8 = charts.all_fronts(material)
    assert [float32.precision, int8.precision] == ["float32", "int8"] and material.problems == []
    assert float32.budgets == () and int8.budgets and int8 is material.fronts["front.json"]
    panels = charts.panels([float32, int8], material.sidecars)
    assert all(len(panel.marks) == 3 for panel in panels)
    assert all(mark.budget_ms is None and mark.measured for mark in panels[0].marks)


def test_without_an_accuracy_table_the_accuracies_are_those_of_the_front(finished, tmp_path):
    whole = reading.read(finished[0])
    without = reading.read(copy_without(finished[0], tmp_path / "run", "accuracy"))
    assert without.accuracy == {} and len(charts.all_fronts(whole)) == 2
    found = charts.panels(charts.all_fronts(without), without.sidecars)
    assert found == charts.panels(charts.all_fronts(whole), whole.sidecars)


def test_predicted_accuracies_are_no_measured_ones_of_another_precision(finished):
    material = reading.read(finished[0])
    predicted = replace(material.fronts["front.json"], examined=729)
    without = replace(material, accuracy={}, fronts={"front.json": predicted})
    assert charts.all_fronts(without) == [predicted]


def test_latency_table_that_does_not_fit_becomes_a_problem(finished, tmp_path):
    root = copy_without(finished[0], tmp_path / "run", "nothing")
    other = families.mobilenet_v3(classes=10, input_size=32)
    LatencyTable(other, precision="float32").save(root / "latency" / "host-float32-t1.json")
    text = words(report(root).read_text())
    assert "host-float32-t1.json cannot be used: it is of another space" in text and "int8 on host" in text


def test_budgets_of_another_device_are_not_compared_with_measurements_here(finished, tmp_path):
    root = copy_without(finished[0], tmp_path / "run", "nothing")
    front = json.loads((root / "front.json").read_text())
    front["latency"]["device"] = "note10"
    (root / "front.json").write_text(json.dumps(front))
    for path in (root / "models").iterdir():
        content = json.loads(path.read_text())
        content["latency"]["measured"]["ms"] += 1000
        path.write_text(json.dumps(content))
    text = words(report(root).read_text())
    assert text.count("ms predicted on note10") == text.count("ms measured on host") == 3
    assert "over budget" not in text
    material = reading.read(root)
    panels = charts.panels(charts.all_fronts(material), material.sidecars)
    of_note10 = next(panel for panel in panels if "note10" in panel.title)
    assert of_note10.marks and all(mark.measured is None and mark.predicted for mark in of_note10.marks)


def test_curves_run_over_all_phases_and_repeated_steps_replace():
    losses, accuracies, phases = charts.curves(
        trained_with(
            {"phase": "teacher", "step": 10, "epoch": 1, "loss": 2.0},
            {"phase": "teacher", "epoch": 1, "val_top1": {"largest": 0.5}},
            {"phase": "teacher", "step": 20, "epoch": 2, "loss": 1.5},
            {"phase": "teacher", "step": 20, "epoch": 2, "loss": 1.4},
            {"phase": "train", "step": 25, "epoch": 1, "loss": 4.0, "val_top1": {"largest": 0.6, "smallest": None}},
            {"phase": "train", "step": 28, "epoch": 1, "loss": float("nan"), "val_top1": 3},
            {"unknown": 1},
        )
    )
    assert losses == {"loss": [(10, 2.0), (20, 1.4), (25, 4.0)]}
    assert accuracies == {"largest": [(10, 50.0), (25, 60.0)]}
    assert phases == [("teacher", 20), ("train", 28)]


def test_curves_of_nothing():
    assert charts.curves(trained_with()) == ({}, {}, [])


def test_figures_of_different_pictures_stand_on_one_axis_only_where_it_says_so(finished):
    """A family that was measured on a part of the pictures beside files that were measured on all of them."""
    material = reading.read(finished[0])
    front = material.fronts["front.json"]
    count = front.candidates[0].count
    (panel,) = charts.panels([front], material.sidecars)
    assert (panel.accuracy, panel.pictures) == ("top-1 accuracy, %", "")
    part = replace(front, candidates=tuple(replace(c, count=400) for c in front.candidates))
    (panel,) = charts.panels([part], material.sidecars)
    assert panel.pictures == f"accuracy on different pictures: dots 400, line 400, files {count:,}"
    confirmed = {point.id for point in part.points}
    whole = replace(
        part,
        candidates=tuple(
            replace(c, whole=AccuracyRecord(c.arch, c.top1 - 0.01, 1.0, count, 0.5)) if c.id in confirmed else c
            for c in part.candidates
        ),
    )
    (panel,) = charts.panels([whole], material.sidecars)
    assert panel.pictures == f"accuracy on different pictures: dots 400, line {count:,}, files {count:,}"
    assert [top1 for _, top1 in panel.front] == [point.top1 - 0.01 for point in part.points]


def test_a_front_of_balanced_accuracies_shows_those_of_the_files_too(finished):
    material = reading.read(finished[0])
    front = material.fronts["front.json"]
    balanced = replace(
        front,
        objective="balanced",
        candidates=tuple(replace(c, balanced=c.top1 - 0.1) for c in front.candidates),
    )
    (panel,) = charts.panels([balanced], material.sidecars)
    assert panel.accuracy == "balanced accuracy, %"
    assert {top1 for _, top1, _ in panel.dots} == {c.top1 - 0.1 for c in front.candidates}
    assert {mark.measured.top1 for mark in panel.marks} == {0.8}
