"""Records of a training: when they are due, what stands in them, and reading them without TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from runs import RECIPE

from compofa_tf.training import metrics
from compofa_tf.training.metrics import MetricsLog
from compofa_tf.training.phases import place_phases

LIGHT = ("checkpoints", "metrics", "phases", "schedules", "signals", "state")


def phase_of(epoch_steps):
    return place_phases(RECIPE, train_size=8 * epoch_steps)[0]


@pytest.mark.parametrize(
    ("epoch_steps", "due"),
    [(4, [1, 2, 3, 4, 5]), (12, [2, 4, 6, 8, 10, 12, 14]), (17, [3, 6, 9, 12, 15, 17, 20])],
)
def test_records_are_due_a_few_times_per_epoch_and_at_its_end(tmp_path, epoch_steps, due):
    phase, log = phase_of(epoch_steps), MetricsLog(tmp_path / "metrics.jsonl", step=0)
    assert [step for step in range(1, due[-1] + 1) if log.due(phase, step)] == due


def test_a_record_has_the_mean_loss_since_the_one_before():
    phase = phase_of(17)
    losses = np.arange(17, dtype=np.float32)[:, None] + np.array([0.0, 1.0], np.float32)
    assert metrics.record_of(phase, 6, losses[:6]) == {
        "phase": "teacher",
        "epoch": pytest.approx(6 / 17, abs=1e-4),
        "step": 6,
        "loss": 4.5,  # of steps 3, 4, 5 and both subnets
        "learning_rate": phase.learning_rate(5),
    }
    assert metrics.record_of(phase, 17, losses)["loss"] == 16.0  # of steps 15 and 16


def test_records_of_steps_that_will_be_repeated_go_and_half_a_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st', encoding="utf-8")
    assert [record["step"] for record in metrics.read(path)] == [1, 2, 3]
    shown = []
    MetricsLog(path, step=2, also=shown.append).write({"step": 3, "loss": 0.5})
    assert path.read_text("utf-8") == '{"step": 1}\n{"step": 2}\n{"step": 3, "loss": 0.5}\n'
    assert shown == [{"step": 3, "loss": 0.5}]


def test_unreadable_lines_before_the_last_one_are_counted(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n\n[2]\n{"note": "x"}\n{"st', encoding="utf-8")
    assert metrics.read_lines(path) == ([{"step": 1}, {"note": "x"}], 1)
    assert metrics.read(path) == [{"step": 1}]


def test_scalars_are_the_numbers_of_a_record():
    record = {"phase": "train", "step": 3, "loss": 0.5, "val_top1": {"largest": 0.25, "smallest": 0.125}}
    assert metrics.scalars(record) == {"loss": 0.5, "val_top1/largest": 0.25, "val_top1/smallest": 0.125}


def test_what_looks_at_a_run_loads_no_tensorflow():
    names = ", ".join(f"compofa_tf.training.{name}" for name in LIGHT)
    code = f"import sys, json, {names}; print(json.dumps([n for n in ('tensorflow', 'keras') if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_half_a_last_line_of_the_metrics_is_no_damage(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n\n[2]\n{"step": 3}\n{"st')
    assert metrics.read_lines(path) == ([{"step": 1}, {"step": 3}], 0)
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    assert metrics.read_lines(path) == ([{"step": 1}, {"step": 3}], 1)
