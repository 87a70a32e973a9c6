"""Every layer, the supernet and the training step give the same under strategies, and compiled by XLA.

``strategies.py`` runs them, in a process of its own; here are the bounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from layer_cases import NAMED

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
PATHS = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))

WAYS = ("one", "mirrored", "xla")
LAYERS = [f"layer {name}" for name in NAMED]
SUPERNETS = ["supernet tiny", "supernet tiny training", "supernet residual training"]
STEPS = ["step distill", "step labels", "step teacher"]

WHY_NOT = {
    ("supernet residual training", "xla"): "XLA compiles every branch of every slot, minutes on a CPU; tiny is tried",
}
"""What is not tried, and why."""

BOUNDS = {
    # The same operations on the same numbers, in the same order: a replica sees its half as a plain run does.
    "one": {"layer": 0.0, "supernet": 0.0, "step": 0.0},
    # Sums of two replicas are those of two halves, and halving a float32 is exact.
    "mirrored": {"layer": 0.0, "supernet": 0.0, "step": 0.0},
    # XLA fuses and reorders float32 sums of up to some hundred terms: a few times 6e-8 each layer, which three steps of
    # training at rate 0.1 carry on.
    "xla": {"layer": 2e-6, "supernet": 1e-5, "step": 1e-3},
}


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    """For each thing and way the largest difference from the plain run, as a share of the largest value."""
    file = tmp_path_factory.mktemp("strategies") / "differences.json"
    command = [sys.executable, str(HERE / "strategies.py"), str(file), *map("/".join, WHY_NOT)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=1500, env={**os.environ, "PYTHONPATH": PATHS}
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(file.read_text(encoding="utf-8"))


def test_nothing_is_missing(differences):
    assert set(differences) == {*LAYERS, *SUPERNETS, *STEPS}
    left_out = {(name, way) for name, found in differences.items() for way in set(WAYS) - set(found)}
    assert left_out == set(WHY_NOT)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*LAYERS, *SUPERNETS, *STEPS])
def test_equals_the_plain_run(name, way, differences):
    if (name, way) not in WHY_NOT:
        assert differences[name][way] <= BOUNDS[way][name.partition(" ")[0]]
