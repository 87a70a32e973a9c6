"""Devices: this machine, its stopwatch as a file of its own, and one that is added from outside the package."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from spaces import small_space

from compofa_tf import families
from compofa_tf.deploy.conversion import convert
from compofa_tf.errors import InputError
from compofa_tf.latency.benchmarking import benchmark
from compofa_tf.latency.devices import device as devices
from compofa_tf.latency.devices import host
from compofa_tf.latency.devices.device import DECISIVE, Device, open_device
from compofa_tf.latency.devices.host import Host
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Times

STOPWATCH = Path(host.__file__).with_name("stopwatch.py")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    """A model that takes some tenths of a millisecond."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 8))
    x = layers.Conv2D(64, 3, activation="relu")(inputs)
    net = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3)(x)))
    path = tmp_path_factory.mktemp("models") / "m.tflite"
    images = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 8)).astype(np.float32)
    path.write_bytes(convert(net, precision="int8", calibrate_on=images))
    return path


def test_the_machine_is_described():
    found = Host().describe()
    assert set(DECISIVE) <= set(found) and found["cores"] >= 1 and found["device"] == "host"
    assert found["processor"] == host.processor() and found["date"].startswith("20")
    json.dumps(found, allow_nan=False)


def test_models_are_timed_in_turns(model_path):
    first, second = Host().time([model_path, model_path], runs=5, warmup=1, rounds=4)
    for found in (first, second):
        assert found.runs == 20 and len(found.turn_ms) == 4 and found.fully_accelerated
    # One file timed twice; a factor of 5 between the best turns is more than any busy machine explains.
    assert 0.2 < min(first.turn_ms) / min(second.turn_ms) < 5


def test_agrees_with_the_tool_that_comes_with_the_runtime(model_path, tmp_path):
    result = tmp_path / "tool.json"
    command = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", f"--model={model_path}"]
    command += ["--num_runs=200", "--warmup_runs=20", "--num_threads=1", f"--result_json={result}"]
    subprocess.run(command, check=True, capture_output=True)
    tool = json.loads(result.read_text())
    (ours,) = Host().time([model_path], runs=200, warmup=20)
    assert ours.fully_accelerated == tool["fully_accelerated"]
    # The fastest of 200 hardly depends on the load; the tool rounds to 0.01 ms.
    assert ours.min_ms == pytest.approx(tool["latency"]["min_ms"], rel=0.5, abs=0.02)


@pytest.mark.parametrize(("name", "least"), [("threads", 1), ("runs", 1), ("warmup", 0), ("rounds", 1)])
def test_bad_numbers(model_path, name, least):
    with pytest.raises(InputError, match=f"{name} must be at least {least}. Received: {name}={least - 1}"):
        Host().time([model_path], **{name: least - 1})


def test_bad_files(tmp_path):
    missing, text = tmp_path / "none.tflite", tmp_path / "text.tflite"
    text.write_text("not a model at all\n")
    with pytest.raises(InputError, match=r"none\.tflite does not exist"):
        Host().time([missing])
    with pytest.raises(InputError, match=r"LiteRT cannot run .*text\.tflite: \S"):
        Host().time([text])


def test_a_hanging_runtime(model_path):
    with pytest.raises(InputError, match=r"took longer than 0\.01 s"):
        Host(timeout_s=0.01).time([model_path])


def test_the_stopwatch_runs_where_nothing_of_this_package_is(model_path, tmp_path):
    """A board has LiteRT and NumPy: the one file, copied there, is enough."""
    shutil.copy(STOPWATCH, tmp_path)
    request = {"models": [str(model_path)], "threads": 1, "runs": 2, "warmup": 1, "rounds": 3}
    command = [sys.executable, "-I", "stopwatch.py", json.dumps(request)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout.splitlines()[-1])
    assert [len(turn) for turn in found["turns_ms"]] == [2, 2, 2] and found["fully_accelerated"] is True


def test_the_stopwatch_imports_litert_and_numpy_only():
    nodes = list(ast.walk(ast.parse(STOPWATCH.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"ai_edge_litert", "numpy"}


class Sundial:
    """A device from outside the package: all that one has to be."""

    name = "sundial"

    def __init__(self):
        self.timed = 0

    def describe(self):
        return {"processor": "shadow", "runtime_version": "1", "delegate": "none", "date": "2026-11-22T12:00:00+00:00"}

    def time(self, models, *, threads, runs, warmup, rounds):
        self.timed += len(models)
        ms = [Path(model).stat().st_size / 1e4 for model in models]
        return [Times.of([[one / threads] * runs] * rounds, fully_accelerated=False) for one in ms]


def test_a_device_from_outside_benchmarks(model_path):
    row = benchmark(model_path, device=Sundial(), threads=2, runs=10)
    assert row.ms == pytest.approx(model_path.stat().st_size / 2e4) and row.runs == 10
    assert (row.device, row.processor, row.runtime_version) == ("sundial", "shadow", "1")
    assert (row.delegate, row.fully_accelerated, row.noisy, row.precision) == ("none", False, False, "int8")


def test_a_device_from_outside_measures_a_table(monkeypatch, tmp_path):
    monkeypatch.setitem(families._FAMILIES, "small", small_space)
    space, sundial, path = small_space(), Sundial(), tmp_path / "t.json"
    arguments = {"resolutions": (16,), "precision": "float32", "fit": 0, "runs": 5, "repeats": 1, "progress": False}
    table = LatencyTable.measure(space, device=sundial, path=path, **arguments)
    assert (table.device, table.conditions) == ("sundial", sundial.describe())
    assert sundial.timed == len(table.entries) == 6 and table.predict(space.smallest(16)) > 0
    again = LatencyTable.load(path, space=space)
    assert (again.device, again.conditions) == ("sundial", sundial.describe())
    with pytest.raises(InputError, match="Received: device='host' where the file has 'sundial'"):
        LatencyTable.measure(space, path=path, **arguments)


def test_a_device_is_added_by_a_row(model_path, monkeypatch):
    monkeypatch.setitem(devices.DEVICES, "sundial", Sundial)
    assert isinstance(open_device("sundial"), Sundial)
    assert benchmark(model_path, device="sundial", runs=5).device == "sundial"
    with pytest.raises(InputError, match="only device 'host' or 'sundial' can be measured"):
        open_device("moondial")


def test_devices_by_name_and_by_value():
    assert open_device("host") == Host() and isinstance(Host(), Device)
    slow = Host(timeout_s=1e4)
    assert open_device(slow) is slow
    with pytest.raises(InputError, match=r"only device 'host' can be .*later release.*Received: device='pixel6\.yaml'"):
        open_device("pixel6.yaml")
