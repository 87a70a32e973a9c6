from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import layers

from compofa_tf.deploy.conversion import convert
from compofa_tf.errors import InputError
from compofa_tf.latency.benchmarking import benchmark
from compofa_tf.latency.devices.host import Host
from compofa_tf.latency.timings import Times


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


class Busy(Host):
    """This machine at moments whose spreads are given."""

    def __init__(self, *spreads):
        super().__init__()
        object.__setattr__(self, "left", list(spreads))

    def time(self, models, **settings):
        p90_ms = 1 + self.left.pop(0)
        return [Times((1.0, 1.0), 1.0, p90_ms, 0.9, 1.0, runs=10, fully_accelerated=True)]


def test_row(model_path):
    row = benchmark(model_path, runs=20, warmup=3)
    assert 0 < row.min_ms <= row.median_ms <= row.p90_ms
    assert row.spread == pytest.approx((row.p90_ms - row.median_ms) / row.median_ms)
    assert (row.runs, row.warmup_runs, row.threads) == (20, 3, 1)
    assert (row.precision, row.device, row.delegate) == ("int8", "host", "XNNPACK")
    assert row.fully_accelerated
    assert row.processor
    assert row.date.startswith("20")
    assert row.runtime_version[0].isdigit()
    assert json.loads(json.dumps(row.to_json())) == {
        field.name: getattr(row, field.name) for field in dataclasses.fields(row)
    }
    assert 0 < row.min_ms <= row.ms <= row.p90_ms
    assert f"{row.ms:.3g} ms, median {row.median_ms:.3g} ms" in str(row)
    assert "int8, 1 thread(s), 20 runs, XNNPACK" in str(row)
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.median_ms = 0.0


def test_a_busy_machine_is_asked_again(model_path):
    device = Busy(0.9, 0.1, 0.05)
    row = benchmark(model_path, device=device)
    assert (row.spread, row.noisy) == (pytest.approx(0.1), False)
    assert len(device.left) == 1


def test_a_machine_that_stays_busy_is_named_so(model_path):
    device = Busy(0.9, 0.4, 0.6)
    row = benchmark(model_path, device=device)
    assert (row.spread, row.noisy) == (pytest.approx(0.4), True)
    assert "busy machine (spread 40%)" in str(row)
    assert not device.left


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
