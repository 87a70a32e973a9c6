from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compofa_tf import progress, quiet


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (600, "10 min"), (7500, "2 h 05 min")])
def test_durations_for_people(seconds, text):
    assert progress.duration(seconds) == text


def test_without_a_terminal_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LINE_EVERY_S", -1.0)
    with progress.progress_bar(total=4, initial=1, desc="accuracy") as bar:
        bar.set_postfix_str("busy")
        bar.update()
    assert "accuracy: 2 of 4 subnets" in capsys.readouterr().err
    with progress.progress_bar(total=4, desc="quiet", shown=False) as bar:
        bar.update()
    assert capsys.readouterr().err == ""


def test_native_noise_is_hidden_and_shown_after_a_failure():
    code = (
        "import os, sys; from compofa_tf.quiet import native_stderr_hidden\n"
        "with native_stderr_hidden() as hidden:\n"
        "    os.write(2, b'noise\\n'); print('for people', file=sys.stderr)\n"
        "assert hidden == ['noise\\n'], hidden\n"
        "with native_stderr_hidden():\n"
        "    os.write(2, b'the cause\\n'); raise ValueError\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "for people" in done.stderr and "noise" not in done.stderr and "the cause" in done.stderr


def test_tensorflow_starts_without_a_word():
    code = (
        "from compofa_tf.quiet import import_tensorflow_quietly as start; start(); import tensorflow as tf; tf.abs(1.0)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_hiding_works_under_pytest_capture_too():
    with quiet.native_stderr_hidden() as hidden:
        os.write(2, b"noise\n")
    assert hidden == ["noise\n"]
