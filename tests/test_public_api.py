"""The package as a user imports it, each time in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SEARCH = """
import sys
import compofa_tf as ct

class Latency(ct.LatencyTable):
    def predict(self, arch):
        return float(sum(arch.depths))

space = ct.families.mobilenet_v3()
accuracy = ct.AccuracyTable(space, data="digits")
from compofa_tf.accuracy.table import AccuracyRecord
for arch in (space.smallest(128), space.largest(128)):
    accuracy.add(AccuracyRecord(arch, sum(arch.depths) / 100, 1.0, 100))
front = ct.search(space, accuracy=accuracy, latency=Latency(space), budgets_ms=(12, 30))
print(type(front) is ct.Front, [point.id for point in front.chosen.values()])
print(ct.search.__name__, "tensorflow" in sys.modules)
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )


def test_a_search_needs_no_tensorflow():
    done = run(SEARCH)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True ['r128-d22222', 'r128-d44444']", "search False"]


@pytest.mark.slow
def test_another_keras_backend_is_refused():
    pytest.importorskip("torch", reason="needs torch: the other backend of Keras that is tried")
    done = run("import compofa_tf as ct; ct.Supernet", KERAS_BACKEND="torch")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "ImportError: compofa_tf needs Keras with the TensorFlow backend; unset KERAS_BACKEND or set it to tensorflow. "
        "Received: backend='torch'"
    )
