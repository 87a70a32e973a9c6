from __future__ import annotations

import json

import pytest

from compofa_tf.pipeline.demo import run_demo


@pytest.mark.slow
def test_the_smallest_demo_leaves_a_report_and_three_accelerated_int8_models(tmp_path, capsys):
    page = run_demo(tmp_path / "demo", smallest=True)
    models = sorted((tmp_path / "demo" / "models").glob("*int8.tflite"))
    assert len(models) == 3
    for model in models:
        record = json.loads((model.parent / f"{model.name}.json").read_text())
        assert record["fully_accelerated"]
        assert record["accuracy"]["count"] == 359
        # Whether a budget is kept depends on what else the machine does; that the record tells the truth does not.
        assert record["within_budget"] is (record["latency"]["measured"]["ms"] <= record["budget_ms"])
    text = page.read_text()
    assert all(json.loads((m.parent / f"{m.name}.json").read_text())["sha256"][:8] in text for m in models)
    said = capsys.readouterr().out
    assert "[5/5]" in said and "Next: compofa train" in said
    assert "Traceback" not in said
