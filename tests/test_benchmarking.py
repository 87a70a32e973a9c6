from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from compofa_tf.deploy.conversion import convert
from compofa_tf.errors import InputError
from compofa_tf.latency import benchmarking
from compofa_tf.latency.benchmarking import BenchmarkRow, benchmark
from compofa_tf.latency.devices.host import time_model, time_models


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


def summary(spread):
    times = {"ms": 1.0, "median_ms": 1.0, "p90_ms": 1 + spread, "min_ms": 0.9, "mean_ms": 1.0, "spread": spread}
    return {**times, "runs": 10, "fully_accelerated": True}


def test_row(model_path):
    row = benchmark(model_path, runs=20, warmup=3)
    assert 0 < row.min_ms <= row.median_ms <= row.p90_ms
    assert row.spread == pytest.approx((row.p90_ms - row.median_ms) / row.median_ms)
    assert (row.runs, row.warmup_runs, row.threads) == (20, 3, 1)
    assert (row.precision, row.device, row.delegate, row.measured) == ("int8", "host", "XNNPACK", True)
    assert row.fully_accelerated
    assert row.processor
    assert row.date.startswith("20")
    assert row.runtime_version[0].isdigit()
    assert BenchmarkRow.from_json(json.loads(json.dumps(row.to_json()))) == row
    assert 0 < row.min_ms <= row.ms <= row.p90_ms
    assert f"{row.ms:.3g} ms, median {row.median_ms:.3g} ms" in str(row)
    assert "int8, 1 thread(s), 20 runs, XNNPACK" in str(row)
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.median_ms = 0.0


def test_rows_of_something_else():
    with pytest.raises(InputError, match="not a benchmark row"):
        BenchmarkRow.from_json({"median_ms": 1.0})


def test_models_are_timed_in_turns(model_path):
    first, second = time_models([model_path, model_path], runs=5, warmup=1, rounds=4)
    for found in (first, second):
        assert found["runs"] == 20
        assert len(found["round_medians_ms"]) == 4
    # One file timed twice; a factor of 5 between the best rounds is more than any busy machine explains.
    assert 0.2 < min(first["round_medians_ms"]) / min(second["round_medians_ms"]) < 5


def test_agrees_with_the_tool_that_comes_with_the_runtime(model_path, tmp_path):
    result = tmp_path / "tool.json"
    command = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", f"--model={model_path}"]
    command += ["--num_runs=200", "--warmup_runs=20", "--num_threads=1", f"--result_json={result}"]
    subprocess.run(command, check=True, capture_output=True)
    tool = json.loads(result.read_text())
    ours = time_model(model_path, runs=200, warmup=20)
    assert ours["fully_accelerated"] == tool["fully_accelerated"]
    # The fastest of 200 hardly depends on the load; the tool rounds to 0.01 ms.
    assert ours["min_ms"] == pytest.approx(tool["latency"]["min_ms"], rel=0.5, abs=0.02)


def test_a_busy_machine_is_asked_again(model_path, monkeypatch):
    answers = iter([summary(0.9), summary(0.1), summary(0.05)])
    monkeypatch.setattr(benchmarking, "time_model", lambda *args, **kwargs: next(answers))
    row = benchmark(model_path)
    assert (row.spread, row.noisy) == (0.1, False)
    assert len(list(answers)) == 1


def test_a_machine_that_stays_busy_is_named_so(model_path, monkeypatch):
    answers = iter([summary(0.9), summary(0.4), summary(0.6)])
    monkeypatch.setattr(benchmarking, "time_model", lambda *args, **kwargs: next(answers))
    row = benchmark(model_path)
    assert (row.spread, row.noisy) == (0.4, True)
    assert "busy machine (spread 40%)" in str(row)
    assert not list(answers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "pixel6"}, "later release.*Received: device='pixel6'"),
        ({"threads": 0}, "threads must be at least 1. Received: threads=0"),
        ({"runs": 0}, "runs must be at least 1"),
        ({"warmup": -1}, "warmup must be at least 0"),
    ],
)
def test_bad_arguments(model_path, arguments, message):
    with pytest.raises(InputError, match=message):
        benchmark(model_path, **arguments)


def test_bad_files(tmp_path):
    missing, text = tmp_path / "none.tflite", tmp_path / "text.tflite"
    text.write_text("not a model at all\n")
    for path, message in ((missing, "does not exist"), (text, "is not a TFLite model")):
        with pytest.raises(InputError, match=message):
            benchmark(path)
    with pytest.raises(InputError, match=r"none\.tflite does not exist"):
        time_model(missing)
    with pytest.raises(InputError, match=r"LiteRT cannot run .*text\.tflite: \S"):
        time_model(text)


def test_a_hanging_runtime(model_path, monkeypatch):
    monkeypatch.setattr(benchmarking, "_TIMEOUT_S", 0.01)
    with pytest.raises(InputError, match="took longer than"):
        time_model(model_path)
