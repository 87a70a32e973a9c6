"""The package as a user imports it, each time in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


TESTS = Path(__file__).resolve().parent


def run(code: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def test_a_search_needs_no_tensorflow():
    done = run(SEARCH)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True ['r128-d22222', 'r128-d44444']", "search False"]


READING = """
import shutil, sys
from pathlib import Path
import compofa_tf as ct
from tiny import tiny
from compofa_tf.training import metrics

golden, run = Path(sys.argv[1]), Path(sys.argv[2])
ct.families.register(tiny)
recipe = ct.Recipe.load(golden)
accuracy = ct.AccuracyTable.load(golden / "accuracy" / "val.json")
latency = ct.LatencyTable.load(golden / "latency" / "host-int8-t1.json")
front = ct.search(tiny(), accuracy=accuracy, latency=latency)
assert len(front) == len(ct.Front.load(golden / "front.json"))
assert metrics.read(golden / "metrics.jsonl")
assert ct.Artifact.load(next((golden / "models").glob("*.tflite"))).record
assert ct.cost.macs(tiny(), tiny().largest(24))
shutil.copytree(golden, run)
assert ct.report(run).stat().st_size > 10_000
print("tensorflow" in sys.modules)
"""


def test_reading_and_reporting_need_no_tensorflow(tmp_path):
    """Recipe, tables, front, metrics, sidecar, costs, search and report: on a laptop that only looks at results."""
    done = run(READING, str(TESTS / "golden"), str(tmp_path / "run"), PYTHONPATH=f"{TESTS.parent}:{TESTS}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.slow
def test_another_keras_backend_is_refused():
    pytest.importorskip("torch", reason="needs torch: the other backend of Keras that is tried")
    done = run("import compofa_tf as ct; ct.Supernet", KERAS_BACKEND="torch")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "compofa_tf.errors.InputError: The networks of this package are TensorFlow's: set KERAS_BACKEND=tensorflow "
        "before Keras is imported. Received: the Keras backend torch"
    )
