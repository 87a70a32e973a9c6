"""What `compofa status` says of a run, from its files alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import workdirs

from compofa_tf import locks
from compofa_tf.data.card import DataCard
from compofa_tf.pipeline.run import Run
from compofa_tf.pipeline.status import _drawn, status


@pytest.fixture
def run(tmp_path):
    """As a training of 10 batches an epoch leaves it in the middle of its second phase."""
    workdirs.described(tmp_path)
    run = Run(tmp_path)
    run.supernet_file.unlink()
    batch = run.recipe.data.batch_size
    DataCard("digits", str(tmp_path), ("a", "b"), {"train": [5 * batch, 5 * batch]}, "0" * 16, "").save(
        run.data_card_file
    )
    teacher = run.recipe.teacher.epochs * 10
    records = [
        {"phase": "teacher", "step": 10, "epoch": 1, "loss": 2.0, "images_per_s": 100.0, "val_top1": {"largest": 0.25}},
        {
            "phase": "teacher",
            "step": teacher,
            "epoch": 2,
            "loss": 1.0,
            "images_per_s": 100.0,
            "val_top1": {"largest": 0.5},
        },
        {
            "phase": "train",
            "step": teacher + 10,
            "epoch": 1,
            "loss": 1.5,
            "images_per_s": 50.0,
            "val_top1": {"largest": 0.6},
        },
        {"phase": "train", "step": teacher + 15, "epoch": 1.5, "loss": 1.25},
    ]
    run.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return run


def test_how_far_it_is_and_how_long_it_takes(run):
    run.checkpoints.mkdir(exist_ok=True)
    step, end = run.recipe.teacher.epochs * 10 + 15, (run.recipe.teacher.epochs + run.recipe.train.epochs) * 10
    saved = run.checkpoints / f"step-{step - 5:09d}.npz"
    saved.write_bytes(b"")
    os.utime(saved, (time.time() - 180, time.time() - 180))
    lines = status(run)
    assert lines[0] == f"{run.path}: recipe {run.recipe.name} ({run.recipe.hash})"
    assert lines[1] == "Nobody is at work on it."
    left = (end - step) * run.recipe.data.batch_size / 50
    assert f"train, epoch 1.50 of {run.recipe.train.epochs}, step {step} of {end}, loss 1.2500, 50 images/s" in lines[2]
    assert "left without validation" in lines[2] and (left > 90 or f"{left:.0f} s left" in lines[2])
    assert lines[3] == f"Last checkpoint: step {step - 5}, 3 min ago."
    assert [line.split()[0] for line in lines[4:]] == ["loss,", "loss,", "top-1,"]
    assert lines[-1].endswith("25 to 60 %")


@pytest.mark.parametrize(
    ("silent_s", "said"),
    [
        (5, "At work, training: process 12 on node7, for 2 h 00 min; last sign of life 5 s ago."),
        (600, "Gone, training: process 12 on node7: no sign of life for 10 min; run the same command again."),
    ],
)
def test_who_is_at_work_is_seen_from_another_machine(run, silent_s, said):
    lock = run.lock_file("training")
    lock.parent.mkdir(exist_ok=True)
    now = time.time()
    lock.write_text(json.dumps({"host": "node7", "process": 12, "since": now - 7200, "beat": now - silent_s}))
    assert status(run)[1] == said
    lock.write_text("")  # as a command leaves it
    assert status(run)[1] == "Nobody is at work on it."


def test_the_lock_of_a_living_command_says_so(run):
    with locks.locked(run.lock_file("training"), what="training"):
        (writer,) = locks.writers(run.path)
        assert (writer.output, writer.process, writer.alive) == ("training", os.getpid(), True)
    assert locks.writers(run.path) == []


def test_what_is_not_known_is_left_out(run):
    run.data_card_file.unlink()
    assert status(run)[2].startswith("Training: train, epoch 1.50, step")
    assert status(run)[3] == "No checkpoint yet."
    run.metrics_file.write_text("")
    assert status(run)[2:] == ["Training: not begun."]
    run.checkpoints.mkdir()
    assert status(run)[2] == "Training: begun, no step recorded yet."


def test_curves_are_as_long_as_a_line_and_as_high_as_their_values():
    assert _drawn([0.0, 1.0, 0.5]) == "▁█▅"
    assert _drawn([3.0, 3.0]) == "▁▁"
    assert len(_drawn(list(np.linspace(0, 1, 1000)))) <= 60


def test_it_is_said_without_tensorflow(run):
    code = (
        "import sys; from compofa_tf.cli import main; "
        "main.run(main.parse(sys.argv[1:])); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "compofa", "status", str(run.path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr
