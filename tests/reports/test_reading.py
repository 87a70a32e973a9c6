"""Reading a work directory: what cannot be used is named, and the rest is read."""

from __future__ import annotations

import pytest
from finished_run import copy_without, words

from compofa_tf.errors import InputError
from compofa_tf.reports import reading
from compofa_tf.reports.page import report


def test_damaged_files_are_named_and_the_rest_is_shown(finished, tmp_path):
    root = copy_without(finished[0], tmp_path / "run", "nothing")
    broken = [root / "front.json", root / "accuracy" / "val.json", sorted((root / "models").iterdir())[0]]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-300])
    with open(root / "metrics.jsonl", "a") as metrics:
        metrics.write('not json\n{"phase": "train", "step": 7')
    text = words(report(root).read_text())
    assert all(f"{path} is not readable as JSON" in text for path in broken)
    assert "metrics.jsonl has 1 unreadable line;" in text
    assert "Exported files" in text and "no front yet" in text


def test_missing_workdir_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such work directory"):
        report(tmp_path / "absent")


def test_the_fastest_budget_comes_first_and_float_before_int8(finished):
    found = [(sidecar.budget_ms, sidecar.precision) for sidecar in reading.read(finished[0]).sidecars]
    assert found == sorted(found) and len(found) == 6
