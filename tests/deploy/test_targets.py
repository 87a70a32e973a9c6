from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import compofa_tf as ct
from compofa_tf.deploy import flatbuffer, targets
from compofa_tf.deploy.artifact import Artifact
from compofa_tf.deploy.runtime import Runner
from compofa_tf.deploy.targets import PRECISIONS, Precision
from compofa_tf.errors import InputError
from compofa_tf.families.arguments import PROFILES
from compofa_tf.latency.table import LatencyTable
from compofa_tf.recipes.settings import DeploySettings, LatencySettings, SearchSettings

TOYS = {
    "float16-again": dataclasses.replace(PRECISIONS["float16"], name="float16-again"),
    "int16x8": dataclasses.replace(
        PRECISIONS["int8"],
        name="int16x8",
        operations="EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
        tolerance=1e-2,  # with activations of 16 bits the error of the 8-bit weights is left
        integer=False,
        holds=("INT16",),
    ),
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, activation="hard_silu")(inputs)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (24, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("name", TOYS)
def test_a_precision_is_added_by_one_row(name, model, images, tmp_path, monkeypatch):
    """From outside the package: settings take it, a model is exported, benchmarked and read back in it."""
    monkeypatch.setitem(targets.PRECISIONS, name, TOYS[name])
    assert DeploySettings(precisions=(name,)).precisions == LatencySettings(precisions=(name,)).precisions == (name,)
    assert SearchSettings(precision=name).precision == name
    path = tmp_path / "m.tflite"
    artifact = ct.export_tflite(model, path, precision=name, calibrate_on=images)
    assert artifact.agreement.within(TOYS[name].tolerance)
    assert artifact.record["calibration_images"] == (24 if TOYS[name].needs_images else 0)
    assert artifact.record["input"]["dtype"] == "float32"
    assert ct.benchmark(artifact, runs=5, warmup=1).precision == name
    again = Artifact.load(path)
    assert again.precision == flatbuffer.inspect(path).precision == name
    np.testing.assert_array_equal(Runner(path)(images), Runner(path.read_bytes())(images))
    table = LatencyTable(ct.families.mobilenet_v3(), precision=name, resolutions=(160,))
    table.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json").precision == name


def test_a_new_precision_does_not_change_what_the_others_are(model, images, tmp_path, monkeypatch):
    monkeypatch.setitem(targets.PRECISIONS, "int16x8", TOYS["int16x8"])
    for precision in ("float32", "float16", "dynamic", "int8"):
        path = tmp_path / f"{precision}.tflite"
        ct.export_tflite(model, path, precision=precision, calibrate_on=images)
        assert flatbuffer.inspect(path).precision == precision


def test_rows_bear_their_names():
    assert all(row.name == name for name, row in PRECISIONS.items())
    assert list(PRECISIONS) == ["float32", "float16", "dynamic", "int8"]


@pytest.mark.parametrize(
    ("dtypes", "integer", "precision"),
    [
        ({"FLOAT32", "INT32"}, False, "float32"),
        ({"FLOAT32", "FLOAT16"}, False, "float16"),
        ({"FLOAT32", "INT8"}, False, "dynamic"),
        ({"FLOAT32", "INT4", "FLOAT16"}, False, "dynamic"),
        ({"INT8", "INT32"}, True, "int8"),
        ({"INT32"}, True, "int8"),
        ({"INT8"}, False, "dynamic"),  # a custom operation
    ],
)
def test_the_last_row_that_fits_is_the_precision_of_a_file(dtypes, integer, precision):
    assert targets.recognize(dtypes, integer=integer) == precision


def test_every_profile_has_a_target_in_every_precision():
    assert set(targets.PROFILE_TARGETS) == set(PROFILES)
    found = {
        (precision, profile): targets.target_of(precision, profile) for precision in PRECISIONS for profile in PROFILES
    }
    assert set(found.values()) == set(targets.TARGETS)
    assert {key: target for key, target in found.items() if targets.TARGETS[target]} == {
        ("int8", "mobile"): "litert-cpu-int8"
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cpu_target": "gpu"}, r"cpu_target must be one of .*Received: cpu_target='gpu'"),
        ({"needs_images": False}, r"images for its ranges. Received: .*needs_images=False"),
    ],
)
def test_contradictory_rows_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PRECISIONS["int8"], **change)
    assert Precision("own", tolerance=0.1).cpu_target == "litert-cpu-float"


def test_unknown_names_are_refused():
    targets.check_names("int8", "mobile")
    with pytest.raises(InputError, match=r"precision must be one of float32, .*Received: precision='int4'"):
        targets.check_names("int4", "mobile")
    with pytest.raises(InputError, match=r"profile must be one of mobile, edgetpu. Received: profile='gpu'"):
        targets.check_names("int8", "gpu")
