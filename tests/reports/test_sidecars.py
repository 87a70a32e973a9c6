"""What stands beside a model: every key, and no failure where one is missing or strange."""

from __future__ import annotations

import pytest

from compofa_tf import files
from compofa_tf.reports import reading
from compofa_tf.reports.page import report
from compofa_tf.reports.sidecars import Sidecar

KEYS = [name for name, found in vars(Sidecar).items() if isinstance(found, property) and name[0] != "_"]
EITHER = ("accuracy_not_measured", "predicted_top1")
"""Keys of models whose accuracy could not be measured."""


@pytest.mark.parametrize("strange", [{}, {"latency": None, "accuracy": 3}, {"arch": [], "size_bytes": "big"}])
def test_sidecars_with_missing_or_strange_keys_do_not_break_the_page(tmp_path, strange):
    files.write_json(tmp_path / "models" / "m.tflite.json", strange, kind="artifact")
    assert "Exported files" in report(tmp_path).read_text()


@pytest.mark.parametrize("key", [key for key in KEYS if key not in EITHER])
def test_every_key_is_found(finished, key):
    for sidecar in reading.read(finished[0]).sidecars:
        assert getattr(sidecar, key) is not None


def test_models_whose_accuracy_could_not_be_measured():
    content = {"accuracy": None, "accuracy_not_measured": "no classes", "float_accuracy": {"predicted_top1": 0.7}}
    sidecar = Sidecar(content)
    assert (sidecar.top1, sidecar.accuracy_not_measured, sidecar.predicted_top1) == (None, "no classes", 0.7)


@pytest.mark.parametrize("key", [key for key in KEYS if key not in ("id", "file", "precision", "sha256", "order")])
def test_what_is_not_there_is_none(key):
    assert getattr(Sidecar({}), key) is None


def test_what_is_not_there_has_a_dash_for_a_name():
    empty = Sidecar({})
    assert {empty.id, empty.file, empty.precision, empty.sha256} == {"–"}


def test_difference_is_measured_against_predicted():
    assert Sidecar({"latency": {"predicted_ms": 2.0, "measured": {"ms": 2.1}}}).difference_percent == pytest.approx(5)
    assert Sidecar({"latency": {"predicted_ms": 0.0, "measured": {"ms": 2.1}}}).difference_percent is None
