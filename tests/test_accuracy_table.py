"""The accuracy table: what it answers, what it refuses, and that a file is never half of itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import types

import pytest

from compofa_tf import families, files
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.statistics import wilson_interval

SPACE = families.mobilenet_v3(classes=10, input_size=32)
HEADER = {"data": "digits", "split": "val", "images": 200, "calibration_images": 64, "recipe_hash": "0123456789abcdef"}


def table_with(*depths, resolution=32, **header):
    table = AccuracyTable(SPACE, **{**HEADER, "resolutions": (resolution,), **header})
    for index, depth in enumerate(depths):
        arch = SPACE.arch(depths=depth, resolution=resolution)
        table.add(AccuracyRecord(arch, top1=(100 + index) / 200, top5=0.95, count=200))
    return table


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    # Closed form written out another way: the roots of (p - x)^2 = z^2 x (1 - x) / n.
    [
        (0.5, 200, None, None),
        (0.8272, 5000, None, None),
        (0.01, 30, None, None),
        (0.0, 50, 0.0, None),
        (1.0, 50, None, 1.0),
    ],
)
def test_wilson_interval_solves_its_equation(share, count, low, high):
    found = wilson_interval(share, count)
    for end, fixed in zip(found, (low, high)):
        if fixed is not None:
            assert end == fixed
        else:
            assert (share - end) ** 2 == pytest.approx(1.959963984540054**2 * end * (1 - end) / count, abs=1e-12)
    assert found[0] <= share <= found[1]


def test_wilson_interval_published_example():
    # 0.8 of 10: (0.490, 0.943), Agresti and Coull 1998, table 1.
    assert wilson_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)


@pytest.mark.parametrize(("share", "count"), [(-0.1, 5), (1.1, 5), (math.nan, 5), (0.5, 0)])
def test_wilson_interval_rejects(share, count):
    with pytest.raises(InputError, match="Received"):
        wilson_interval(share, count)


@pytest.mark.parametrize("change", [{"top1": 1.2}, {"top1": math.nan}, {"top5": -0.1}, {"count": 0}, {"top1": "high"}])
def test_record_rejects_the_impossible(change):
    with pytest.raises(InputError, match=f"Received: {next(iter(change))}="):
        AccuracyRecord(SPACE.smallest(32), **{"top1": 0.5, "top5": 0.9, "count": 10, **change})


def test_table_is_a_mapping_by_id():
    table = table_with(2, 3)
    assert list(table) == ["r32-d22222", "r32-d33333"]
    assert table["r32-d33333"].top1 == 0.505
    assert table["r32-d33333"].low < 0.505 < table["r32-d33333"].high
    assert len(table) == 2 and table.total == 243 and not table.complete
    assert table.predict(SPACE.arch(depths=3, resolution=32)) == 0.505


def test_predict_names_the_nearest_in_one_sentence():
    table = table_with(2, 3, (2, 2, 2, 2, 3))
    with pytest.raises(KeyError) as caught:
        table.predict(SPACE.arch(depths=(2, 2, 2, 3, 3), resolution=32))
    assert str(caught.value) == (
        "No accuracy was measured for r32-d22233; nearest measured: r32-d22223, r32-d22222, r32-d33333."
    )
    with pytest.raises(KeyError, match="the table is empty"):
        table_with().predict(SPACE.smallest(32))


def test_add_rejects_members_of_another_space():
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


def test_resume_continues_and_joins_resolutions(tmp_path):
    path = tmp_path / "val.json"
    empty = AccuracyTable.resume(path, space=SPACE, resolutions=(32,), **HEADER)
    assert len(empty) == 0 and not path.exists()
    table_with(2).save(path)
    again = AccuracyTable.resume(path, space=SPACE, resolutions=(40,), **HEADER)
    assert len(again) == 1 and again.resolutions == (32, 40)


@pytest.mark.parametrize(
    "change", [{"data": "other"}, {"split": "test"}, {"images": None}, {"calibration_images": 1}, {"recipe_hash": None}]
)
def test_resume_refuses_another_header_and_loses_nothing(tmp_path, change):
    path = tmp_path / "val.json"
    table_with(2).save(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"Received: {next(iter(change))}="):
        AccuracyTable.resume(path, space=SPACE, **{**HEADER, **change})
    assert path.read_bytes() == before


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
        (lambda text: text.replace("accuracy_table", "front"), "not a accuracy_table|not an? "),
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


def test_measure_hands_everything_to_the_evaluation(monkeypatch):
    seen = {}
    module = types.ModuleType("compofa_tf.accuracy.measuring")

    def measure_accuracy(net, **arguments):
        seen.update(arguments, net=net)
        return table_with(2)

    module.measure_accuracy = measure_accuracy
    monkeypatch.setitem(sys.modules, "compofa_tf.accuracy.measuring", module)
    table = AccuracyTable.measure("net", data="data", resolutions=(32,), path="p", recipe_hash="h", progress=False)
    assert len(table) == 1
    assert seen["net"] == "net" and seen["data"] == "data" and seen["resolutions"] == (32,) and seen["path"] == "p"
    assert seen["calibration_images"] == 2048 and seen["recipe_hash"] == "h" and seen["progress"] is False


def test_search_imports_without_tensorflow():
    code = (
        "import sys, compofa_tf.accuracy.table as s; print(*{'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == ""
