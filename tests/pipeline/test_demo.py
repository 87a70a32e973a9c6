"""The smallest demo from its first word to the report."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import pytest

from compofa_tf.pipeline.demo import run_demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """Work directory of a demo and what it said: of the one that COMPOFA_DEMO names, as in CI, else of one run here."""
    if named := os.environ.get("COMPOFA_DEMO"):
        return Path(named), (Path(named) / "demo.log").read_text(encoding="utf-8")
    folder, said = tmp_path_factory.mktemp("demo") / "demo", io.StringIO()
    with contextlib.redirect_stdout(said):
        page = run_demo(folder, smallest=True)
    assert page == folder / "report.html"
    return folder, said.getvalue()


def test_leaves_a_report_and_three_accelerated_int8_models(finished):
    folder, _ = finished
    models = sorted((folder / "models").glob("*int8.tflite"))
    assert len(models) == 3
    text = (folder / "report.html").read_text(encoding="utf-8")
    for model in models:
        record = json.loads((model.parent / f"{model.name}.json").read_text(encoding="utf-8"))
        assert record["fully_accelerated"]
        assert record["accuracy"]["count"] == 359
        # Whether a budget is kept depends on what else the machine does; that the record tells the truth does not.
        assert record["within_budget"] is (record["latency"]["measured"]["ms"] <= record["budget_ms"])
        assert record["sha256"][:8] in text


def test_says_where_it_is_and_what_comes_next(finished):
    _, said = finished
    assert "[5/5]" in said and "Next: compofa train" in said
    assert "Traceback" not in said
