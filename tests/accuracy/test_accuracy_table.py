"""The accuracy table: what it answers, what it refuses, and that a file is never half of itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from compofa_tf import families, files
from compofa_tf.accuracy import table as accuracy_table
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.errors import InputError

SPACE = families.mobilenet_v3(classes=10, input_size=32)
OWNER = {"data": "digits", "role": "val", "images": 200, "calibration_images": 64, "training_hash": "76543210fedcba98"}
HEADER = {**OWNER, "recipe_hash": "0123456789abcdef"}
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def table_with(*depths, resolution=32, **header):
    table = AccuracyTable(SPACE, **{**HEADER, "resolutions": (resolution,), **header})
    for index, depth in enumerate(depths):
        arch = SPACE.arch(depths=depth, resolution=resolution)
        table.add(AccuracyRecord(arch, top1=(100 + index) / 200, top5=0.95, count=200, balanced=0.4))
    return table


@pytest.mark.parametrize(
    "change", [{"top1": 1.2}, {"top1": math.nan}, {"top5": -0.1}, {"count": 0}, {"top1": "high"}, {"balanced": 1.5}]
)
def test_record_rejects_the_impossible(change):
    with pytest.raises(InputError, match=f"Received: {next(iter(change))}="):
        AccuracyRecord(SPACE.smallest(32), **{"top1": 0.5, "top5": 0.9, "count": 10, **change})


def test_table_is_a_mapping_by_id():
    table = table_with(2, 3)
    assert list(table) == ["r32-d22222", "r32-d33333"]
    assert table["r32-d33333"].top1 == 0.505
    assert table["r32-d33333"].low < 0.505 < table["r32-d33333"].high
    assert len(table) == 2 and table.total == 243


def test_add_rejects_subnets_of_another_space():
    other = families.mobilenet_v3(classes=10, input_size=32, kernel="elastic")
    arch = other.arch(depths=2, kernels=7, resolution=32)
    table = table_with()
    with pytest.raises(InputError):
        table.add(AccuracyRecord(arch, 0.5, 0.9, 10))
    assert len(table) == 0


def test_missing_keeps_order_and_adding_extends_resolutions():
    table = table_with(3)
    archs = [SPACE.arch(depths=d, resolution=32) for d in (4, 3, 2)]
    assert table.missing(archs) == [archs[0], archs[2]]
    table.add(AccuracyRecord(archs[0].at(40), 0.5, 0.9, 10))
    assert table.resolutions == (32, 40) and table.total == 486


def test_saved_table_comes_back_equal(tmp_path):
    table = table_with(2, 3, 4)
    path = tmp_path / "accuracy" / "val.json"
    table.save(path)
    again = AccuracyTable.load(path, space=SPACE)
    assert dict(again) == dict(table)
    assert again._header() == table._header() and again.recipe_hash == table.recipe_hash
    content = files.read_json(path, kind="accuracy_table")
    assert content["covered"] == {"measured": 3, "of": 243}
    assert content["records"]["r32-d22222"]["low"] == table["r32-d22222"].low
    assert content["records"]["r32-d22222"]["balanced"] == 0.4
    said = {
        "role": "val",
        "precision": "float32",
        "device": "host",
        "figures": "measured",
        "sample": "same class shares",
    }
    assert {name: content[name] for name in said} == said


def test_resume_continues_and_joins_resolutions(tmp_path):
    path = tmp_path / "val.json"
    empty = AccuracyTable.resume(path, space=SPACE, resolutions=(32,), **HEADER)
    assert len(empty) == 0 and not path.exists()
    table_with(2).save(path)
    again = AccuracyTable.resume(path, space=SPACE, resolutions=(40,), **HEADER)
    assert len(again) == 1 and again.resolutions == (32, 40)


@pytest.mark.parametrize(
    "change",
    [{"data": "other"}, {"role": "test"}, {"images": None}, {"calibration_images": 1}, {"training_hash": None}],
)
def test_resume_refuses_another_header_and_loses_nothing(tmp_path, change):
    path = tmp_path / "val.json"
    table_with(2).save(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"Received: {next(iter(change))}="):
        AccuracyTable.resume(path, space=SPACE, **{**HEADER, **change})
    assert path.read_bytes() == before


def test_another_recipe_of_the_same_training_goes_on_with_the_table(tmp_path):
    """What is measured is owned by the training; the recipe that measured last is recorded."""
    path = tmp_path / "val.json"
    table_with(2).save(path)
    again = AccuracyTable.resume(path, space=SPACE, **OWNER, recipe_hash="ffff")
    assert len(again) == 1 and again.recipe_hash == "ffff"
    again.save(path)
    assert AccuracyTable.load(path).recipe_hash == "ffff"


def test_a_file_of_version_1_knows_no_training_hash(tiny_family, tmp_path):
    path = GOLDEN / "accuracy" / "val.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    table = AccuracyTable.load(path)
    assert before["schema_version"] == 1 and "training_hash" not in before
    assert table.training_hash is None and table.recipe_hash == before["recipe_hash"]
    table.save(tmp_path / "val.json")
    after = json.loads((tmp_path / "val.json").read_text(encoding="utf-8"))
    assert (after["schema_version"], after["training_hash"]) == (3, None)
    del after["training_hash"]
    (tmp_path / "val.json").write_text(json.dumps(after), encoding="utf-8")
    with pytest.raises(InputError, match="lacks 'training_hash'"):
        AccuracyTable.load(tmp_path / "val.json")


def test_a_table_of_version_2_goes_on_where_it_took_all_pictures_and_not_where_it_drew_them_otherwise(tmp_path):
    """Up to version 2 the sample held every class equally often; those figures are of another quantity."""
    path = tmp_path / "val.json"
    for images in (200, None):
        table_with(2, images=images).save(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        content |= {"schema_version": 2, "split": content.pop("role")}
        for name in ("sample", "precision", "device", "figures", "available"):
            del content[name]
        del content["records"]["r32-d22222"]["balanced"]
        path.write_text(json.dumps(content), encoding="utf-8")
        table = AccuracyTable.load(path)
        assert (table.role, table.precision, table.device, table["r32-d22222"].balanced) == (
            "val",
            "float32",
            "host",
            None,
        )
        header = {**HEADER, "images": images}
        if images is None:
            assert len(AccuracyTable.resume(path, space=SPACE, **header)) == 1
            continue
        with pytest.raises(InputError, match="sample='same class shares' where the file has 'equal classes'"):
            AccuracyTable.resume(path, space=SPACE, **header)


def test_load_refuses_another_space(tmp_path):
    path = tmp_path / "val.json"
    table_with(2).save(path)
    with pytest.raises(InputError, match="another space"):
        AccuracyTable.load(path, space=families.mobilenet_v3(classes=10, input_size=32, width_mult=0.5))


def damage(content, key, value):
    content[key] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "truncated"),
        (lambda text: text.replace("accuracy_table", "front"), "is not an accuracy table file"),
        (lambda text: text.replace('"top5"', '"top6"', 1), "lacks 'top5'"),
        (lambda text: text.replace("r32-d22222", "r32-d99999"), "cannot be used"),
        (lambda text: text.replace('"top1": 0.5', '"top1": 1.5'), "cannot be used: An accuracy is a share"),
        (lambda text: damage(json.loads(text), "records", [1]), "cannot be used"),
        (lambda text: damage(json.loads(text), "space", {"family": "nothing", "settings": {}}), "cannot be used"),
    ],
)
def test_load_names_what_is_wrong_with_a_damaged_file(tmp_path, spoil, message):
    path = tmp_path / "val.json"
    table_with(2).save(path)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError, match=message) as caught:
        AccuracyTable.load(path)
    assert str(path) in str(caught.value)


def test_interrupted_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "val.json"
    table_with(2).save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        table_with(2, 3).save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["val.json"]


def fake_measuring(monkeypatch, seen, *, fail_at=None):
    """A module of measuring without TensorFlow: of every subnet 7 labels come first, 9 among five, of 10."""

    def measure(net, archs, data, **arguments):
        seen.append({"archs": list(archs), "data": data, **arguments})
        for number, arch in enumerate(archs):
            if number == fail_at:
                raise KeyboardInterrupt
            yield arch, np.asarray([0] * 7 + [3, 4, 5])

    module = types.ModuleType("compofa_tf.accuracy.measuring")
    monkeypatch.setattr(module, "measure", measure, raising=False)
    monkeypatch.setitem(sys.modules, "compofa_tf.accuracy.measuring", module)


NET = types.SimpleNamespace(space=SPACE)
DATA = types.SimpleNamespace(name="digits", eval_labels=lambda limit=None: np.arange(10))


def test_measure_asks_for_what_is_missing_and_saves_it(monkeypatch, tmp_path):
    seen = []
    fake_measuring(monkeypatch, seen)
    path = tmp_path / "val.json"
    archs = [SPACE.arch(depths=depth, resolution=32) for depth in (4, 2, 3)]
    common = {"data": DATA, "images": 10, "calibration_images": 64, "path": path, "progress": False}
    first = AccuracyTable.measure(NET, archs=archs[:2], recipe_hash="one", training_hash="t", **common)
    table = AccuracyTable.measure(
        NET, archs=[*archs, archs[0]], batch_size=5, recipe_hash="two", training_hash="t", **common
    )
    assert seen[0] == {"archs": archs[:2], "data": DATA, "images": 10, "calibration_images": 64, "batch_size": 250}
    assert seen[1]["archs"] == archs[2:] and seen[1]["batch_size"] == 5
    assert list(table) == ["r32-d44444", "r32-d22222", "r32-d33333"] and list(first) == list(table)[:2]
    record = table["r32-d33333"]
    assert (record.top1, record.top5, record.count) == (0.7, 0.9, 10) and table.resolutions == (32,)
    assert record.balanced == pytest.approx(0.7) and table.available == 10
    saved = AccuracyTable.load(path)
    assert dict(saved) == dict(table) and (saved.recipe_hash, saved.training_hash) == ("two", "t")
    with pytest.raises(InputError, match="Received: training_hash='other' where the file has 't'"):
        AccuracyTable.measure(NET, archs=archs, training_hash="other", **common)


def test_all_subnets_are_measured_when_none_are_given(monkeypatch):
    seen = []
    fake_measuring(monkeypatch, seen)
    table = AccuracyTable.measure(NET, data=DATA, resolutions=(24, 32), progress=False)
    assert seen[0]["archs"] == list(SPACE.enumerate(resolutions=(24, 32)))
    assert len(table) == table.total == 486
    with pytest.raises(InputError, match="Which resolutions are to be measured"):
        AccuracyTable.measure(NET, data=DATA, progress=False)


def test_an_interrupted_measurement_has_what_was_saved_on_the_way(monkeypatch, tmp_path):
    fake_measuring(monkeypatch, [], fail_at=3)
    monkeypatch.setattr(accuracy_table, "_SAVED_EVERY_S", 0)
    path = tmp_path / "val.json"
    with pytest.raises(KeyboardInterrupt):
        AccuracyTable.measure(NET, data=DATA, resolutions=(32,), path=path, progress=False)
    assert len(AccuracyTable.load(path)) == 3


def test_a_picture_that_breaks_while_measuring_is_in_no_figure(monkeypatch):
    """Only after the first subnet is it known which can be read."""
    seen, readable = [], list(range(11))
    fake_measuring(monkeypatch, seen)
    measure = sys.modules["compofa_tf.accuracy.measuring"].measure

    def breaking(*arguments, **named):
        del readable[10:]
        yield from measure(*arguments, **named)

    monkeypatch.setattr(sys.modules["compofa_tf.accuracy.measuring"], "measure", breaking)
    data = types.SimpleNamespace(name="digits", eval_labels=lambda limit=None: np.asarray(readable))
    table = AccuracyTable.measure(NET, data=data, archs=[SPACE.smallest(32)], progress=False)
    assert table["r32-d22222"].count == table.available == 10


def test_a_huge_space_is_not_enumerated():
    huge = types.SimpleNamespace(space=families.mobilenet_v3(coupling="independent", kernel="elastic"))
    with pytest.raises(InputError, match="--sample"):
        AccuracyTable.measure(huge, data=DATA, resolutions=(224,), progress=False)


def test_the_table_is_read_without_tensorflow():
    code = (
        "import sys, compofa_tf.accuracy.table as s; print(*{'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == ""
