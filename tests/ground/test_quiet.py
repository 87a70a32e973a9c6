"""Native noise is hidden, and shown where something fails."""

from __future__ import annotations

import os
import subprocess
import sys

from compofa_tf import quiet


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


def test_complaints_of_decoders_are_hidden_and_all_else_goes_through():
    code = (
        "import os, sys; from compofa_tf.quiet import decoder_complaints_hidden as hidden\n"
        "with hidden():\n"
        "    os.write(2, b'Corrupt JPEG data: premature end of data segment\\nof the sys')\n"
        "    os.write(2, b'tem\\n'); print('for people', file=sys.stderr); os.write(2, b'unfinished')\n"
        "os.write(2, b' Corrupt JPEG data: after\\n'); print('python', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    said = done.stderr
    assert "premature" not in said
    assert all(text in said for text in ("of the system\n", "for people\n", "unfinished", "data: after\n", "python\n"))


def test_complaints_are_hidden_where_standard_error_is_closed():
    code = "from compofa_tf.quiet import decoder_complaints_hidden as h\nwith h():\n    print('done')"
    done = subprocess.run(["bash", "-c", '"$0" -c "$1" 2>&-', sys.executable, code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"done\n")
