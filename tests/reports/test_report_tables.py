"""The tables of the page: measured values before predicted ones, and only what is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compofa_tf.reports import reading, tables
from compofa_tf.reports.sidecars import Sidecar
from compofa_tf.workdir import WorkDir


def material(**parts):
    return reading.Material(WorkDir(Path()), **parts)


def test_cards_show_the_exported_file_where_there_is_one(finished):
    read = reading.read(finished[0])
    front = read.fronts["front.json"]
    first, *others = [sidecar for sidecar in read.sidecars if sidecar.precision == "int8"]
    cards = tables.cards(replace(read, sidecars=[first]), front)
    assert [card["budget_ms"] for card in cards] == list(front.budgets) and len(others) == len(cards) - 1
    shown = cards[0]
    assert (shown["top1"], shown["measured_ms"], shown["macs"]) == (first.top1, first.measured_ms, first.macs)
    assert shown["share"] == min(1, first.measured_ms / first.budget_ms) and shown["predicted"] is False
    for card, (budget_ms, choice) in zip(cards[1:], list(front.chosen.items())[1:], strict=True):
        assert (card["budget_ms"], card["id"], card["top1"]) == (budget_ms, choice.id, choice.top1)
        assert card["measured_ms"] is card["share"] is card["size_bytes"] is None
    assert tables.cards(read, None) == []


def test_a_file_of_another_budget_or_precision_is_on_no_card(finished):
    read = reading.read(finished[0])
    front = read.fronts["front.json"]
    foreign = [Sidecar({**sidecar.content, "budget_ms": 1e9}) for sidecar in read.sidecars]
    foreign += [sidecar for sidecar in read.sidecars if sidecar.precision == "float32"]
    assert tables.cards(replace(read, sidecars=foreign), front) == tables.cards(replace(read, sidecars=[]), front)


def test_conditions_of_a_busy_machine_are_told():
    busy = {"latency": {"measured": {"device": "host", "threads": 2, "noisy": True}}, "file": "a/m.tflite"}
    unmeasured = {"file": "n.tflite", "accuracy_not_measured": "no classes"}
    groups = tables.grouped_conditions(material(sidecars=[Sidecar(busy), Sidecar(unmeasured)]))
    assert groups == [
        ("host, threads: 2, on a busy machine: the spread stayed above the bound", [("m.tflite", "")]),
        ("latency not measured; accuracy not measured: no classes", [("n.tflite", "")]),
    ]


def test_speed_of_a_phase_is_the_median_in_the_order_of_training():
    rows = [("teacher", 30.0), ("teacher", 10.0), ("teacher", 20.0), ("train", None), ("train", 7.0)]
    metrics = [{"phase": phase, "images_per_s": speed} for phase, speed in rows]
    facts = tables.training_facts(material(metrics=metrics))
    assert facts == [
        ("speed, teacher", "20 images/s (median)"),
        ("speed, train", "7 images/s (median)"),
    ]


def test_what_was_imported_has_no_schedule():
    recipe = {"recipe": {"name": "small", "train": {"epochs": 3, "learning_rate": 0.5}}}
    trained = dict(tables.training_facts(material(recipe=recipe)))
    assert trained["family training"] == "3 epochs, learning rate 0.5 per 2048 images"
    facts = dict(tables.training_facts(material(recipe=recipe, supernet={"imported_from": "best.pth"})))
    assert facts == {"recipe": "small", "weights": "imported from best.pth"}


def test_a_latency_table_that_was_not_checked_has_no_figure():
    found = tables.latency_facts("latency/host.json", {"device": "host", "entries": {"a": {"noisy": True}, "b": {}}})
    assert found["svg"] == ""
    facts = [("device", "host"), ("pieces", "2 measured"), ("busy", "1 of 2 pieces spread too much")]
    assert found["facts"] == facts


def test_every_sentence_on_a_source_stands_once(finished):
    front = reading.read(finished[0]).fronts["front.json"]
    published = replace(
        front,
        examined=729,
        accuracy={"predictor": "authors' network", "caveat": "of other weights"},
        latency={**front.latency, "conditions": {"origin": "tables of a Note10", "caveat": "not of this machine"}},
    )
    assert tables.sources([front]) == []
    assert tables.sources([published, published]) == [
        "Accuracies were predicted, by the authors' network: of other weights.",
        "Latencies of the front: tables of a Note10; not of this machine.",
    ]
    doubted = replace(front, evidence={"no_better_than": {"a": "b"}})
    assert tables.sources([doubted]) == ["These pictures do not show that a is better than b."]


def test_what_is_taken_for_what_stands_beside_the_files(finished):
    rows = tables.per_class(reading.read(finished[0]))
    assert rows[0]["balanced"] == 0.8 and rows[0]["pictures"] == "test"
    assert rows[0]["lowest"] == "cat 70.0 % of 6,000, dog 90.0 % of 4,000"
    assert rows[0]["confusions"] == "cat for dog 1,800, dog for cat 400"
    page = finished[1].read_text(encoding="utf-8") if isinstance(finished[1], Path) else str(finished[1])
    assert "Class by class" in page and "cat for dog 1,800" in page
    assert tables.per_class(material(sidecars=[Sidecar({})])) == []


def test_how_many_of_how_many_pictures():
    table = {"images": 400, "available": 5000, "sample": "same class shares"}
    facts = dict(tables.accuracy_facts("val.json", table)["facts"])
    assert facts["images per subnet"] == "400 of 5,000, same class shares"
    facts = dict(tables.accuracy_facts("val.json", {"images": 9000, "available": 5000})["facts"])
    assert facts["images per subnet"] == "all 5,000"
