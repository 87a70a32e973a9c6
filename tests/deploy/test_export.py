from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from plain_nets import LABELS, SIDE, images, swish, tiny_net

from compofa_tf import files
from compofa_tf.deploy import export as export_module
from compofa_tf.deploy import flatbuffer
from compofa_tf.deploy.artifact import Artifact
from compofa_tf.deploy.conversion import convert
from compofa_tf.deploy.export import export_tflite
from compofa_tf.deploy.runtime import Runner, fully_accelerated
from compofa_tf.deploy.targets import PRECISIONS
from compofa_tf.errors import InputError

METADATA = {
    "labels": LABELS,
    "recipe_hash": "0123456789abcdef",
    "arch": {"id": "r32-test"},
    "normalization": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    net = tiny_net()
    net(images(64), training=True)
    return net


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Every precision once; conversions are what these tests spend their time on."""
    folder = tmp_path_factory.mktemp("models")
    return {
        precision: export_tflite(
            model,
            folder / f"{precision}.tflite",
            precision=precision,
            calibrate_on=images(32) if precision == "int8" else None,
            metadata=METADATA,
        )
        for precision in PRECISIONS
    }


# Largest |difference| on other images than the calibration ones, in shares of the range of the logits. float32: only
# rounding; float16: weights of 11 bits. int8: 255 steps, of which a dozen noisy layers may cost some per value, more of
# the range when the logits of an untrained net lie close together: 10 % is 25 steps.
@pytest.mark.parametrize(
    ("precision", "bound"), [("float32", 1e-4), ("float16", 1e-2), ("dynamic", 0.1), ("int8", 0.1)]
)
def test_the_file_computes_what_the_model_computes(model, exported, precision, bound, tmp_path):
    fresh = images(16, seed=5)
    expected = model(fresh, training=False).numpy()
    ranges = images(32) if precision == "int8" else None
    path = tmp_path / "logits.tflite"
    given = {"precision": precision, "calibrate_on": ranges, "metadata": METADATA}
    logits = Runner(export_tflite(model, path, scores="logits", **given))(fresh)
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).max() < bound * (expected.max() - expected.min())
    runner = Runner(exported[precision])
    assert runner.scores == "probabilities"
    np.testing.assert_allclose(runner(fresh), softmax(logits), atol=1e-6)


def softmax(logits):
    return np.asarray(keras.ops.softmax(logits))


def test_int8_is_integer_lowered_and_fully_accelerated(exported):
    artifact = exported["int8"]
    contents = flatbuffer.inspect(artifact)
    assert contents.is_integer_inside and not contents.is_fully_integer
    assert contents.float_operations == ("DEQUANTIZE", "QUANTIZE", "SOFTMAX")
    assert contents.custom_operations == ()
    assert "HARD_SWISH" not in contents.counts
    assert contents.inputs[0].dtype == contents.outputs[0].dtype == "FLOAT32"
    assert contents.inputs[0].shape == (1, SIDE, SIDE, 3)
    assert artifact.record["fully_accelerated"] is True


def test_no_swish_is_fused_again_where_its_true_value_is_needed():
    inputs = keras.Input((8, 8, 8), name="images")
    x = swish(layers.Conv2D(8, 3)(inputs))
    net = keras.Model(inputs, layers.Flatten()(layers.MaxPooling2D()(layers.LeakyReLU()(x))))
    rng = np.random.default_rng(0)
    content = convert(net, precision="int8", calibrate_on=rng.uniform(-4, 4, (8, 8, 8, 8)).astype(np.float32))
    assert "HARD_SWISH" not in flatbuffer.inspect(content).counts
    assert fully_accelerated(content)


def test_float_models_keep_the_fused_swish(exported):
    for precision in ("float32", "float16", "dynamic"):
        assert exported[precision].operations["HARD_SWISH"] == 7
        assert exported[precision].record["input"]["dtype"] == "float32"
        assert flatbuffer.inspect(exported[precision]).precision == precision


def test_the_stock_int8_conversion_is_what_lowering_saves_us_from(model):
    stock = convert(model, precision="int8", calibrate_on=images(8), lowered=False)
    assert flatbuffer.inspect(stock).counts["HARD_SWISH"] == 7
    assert not fully_accelerated(stock)


def test_smaller_weights_make_smaller_files(exported):
    sizes = {precision: artifact.record["size_bytes"] for precision, artifact in exported.items()}
    assert sizes["float32"] > sizes["float16"] > sizes["int8"]
    assert sizes["float32"] > sizes["dynamic"]


def test_sidecar(exported):
    artifact = exported["int8"]
    record = files.read_json(f"{artifact.path}.json", kind="artifact")
    assert record["recipe_hash"] == METADATA["recipe_hash"]
    assert record["labels"] == LABELS
    assert record["arch"] == METADATA["arch"]
    assert (record["precision"], record["profile"]) == ("int8", "mobile")
    assert record["file"] == "int8.tflite"
    assert record["size_bytes"] == artifact.path.stat().st_size
    assert record["sha256"] == files.sha256(artifact.path)
    assert record["calibration_images"] == 32
    assert record["operations"]["CONV_2D"] == 11
    assert record["accuracy"] is None
    assert record["latency"] is None
    assert "tensorflow" in record["versions"]
    agreement = record["agreement"]
    assert agreement["images"] == 32
    assert 0 < agreement["mean_share_of_range"] < 0.1
    assert record["ends"] == {
        "io": "float32",
        "takes": "normalized values",
        "scores": "probabilities",
        "opens_in": ["LiteRT", "MediaPipe", "LiteRT.js"],
    }
    assert record["input"] == {
        "name": record["input"]["name"],
        "shape": [1, SIDE, SIDE, 3],
        "dtype": "float32",
        "scale": None,
        "zero_point": None,
    }


def test_metadata_and_labels_travel_inside(exported):
    inside = zipfile.ZipFile(exported["int8"].path)
    assert inside.read("labels.txt").decode() == "".join(f"{label}\n" for label in LABELS)
    metadata = json.loads(inside.read("metadata.json"))
    assert metadata["normalization"] == METADATA["normalization"]
    assert metadata["precision"] == "int8"
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(exported["int8"].path)], capture_output=True, text=True, check=True
    )
    assert "labels.txt" in listing.stdout


def test_the_sidecar_is_what_load_reads(exported):
    for artifact in exported.values():
        assert Artifact.load(artifact.path).record == artifact.record


def test_existing_files_are_kept_unless_told(model, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match=r"m\.tflite exists; pass --overwrite"):
        export_tflite(model, path)
    assert path.read_bytes() == b"precious"
    assert [file.name for file in tmp_path.iterdir()] == ["m.tflite"]


def test_datasets_calibrate_like_arrays(model):
    array = images(12)
    labelled = tf.data.Dataset.from_tensor_slices((array, np.zeros(12, np.int32))).batch(5)
    expected = convert(model, precision="int8", calibrate_on=array)
    assert convert(model, precision="int8", calibrate_on=labelled) == expected


def test_edgetpu_profile_needs_no_lowering(tmp_path):
    keras.utils.set_random_seed(3)
    net = tiny_net(activation="relu6", se=False)
    net(images(64), training=True)
    artifact = export_tflite(
        net, tmp_path / "m.tflite", precision="int8", profile="edgetpu", calibrate_on=images(16), metadata=METADATA
    )
    assert artifact.record["profile"] == "edgetpu"
    assert set(artifact.operations) == {
        "ADD",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "MEAN",
        "PAD",
        "RESHAPE",
    } - (set() if "RESHAPE" in artifact.operations else {"RESHAPE"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "int4"}, r"precision must be one of .*Received: precision='int4'"),
        ({"profile": "gpu"}, r"profile must be one of .*Received: profile='gpu'"),
        ({"precision": "int8"}, "int8 needs calibrate_on"),
        ({"precision": "int8", "calibrate_on": np.zeros((0, SIDE, SIDE, 3))}, "holds no images"),
        ({"precision": "int8", "calibrate_on": np.zeros((2, 16, 16, 3))}, r"must be \[count, 32, 32, 3\]"),
        ({"precision": "int8", "calibrate_on": np.full((2, SIDE, SIDE, 3), np.nan)}, "must be finite"),
        ({"precision": "int8", "calibrate_on": images(7)}, r"from 7 images .*--allow-few-images"),
        ({"metadata": {"sha256": "x"}}, "metadata may not hold sha256"),
        ({"metadata": {"labels": list("abcd")}}, r"name each of the 5 outputs\. Received: 4 labels"),
        ({"metadata": {"labels": list("abcdef")}}, r"name each of the 5 outputs\. Received: 6 labels"),
        ({"metadata": {"labels": ["a", "b\nc", "d", "e", "f"]}}, r"one line of text.*Received: 'b\\nc'"),
        ({"metadata": {"labels": ["a", "", "d", "e", "f"]}}, r"one line of text.*Received: ''"),
        ({"metadata": {"labels": list("abcda")}}, r"Each label names one class\. Received: 'a' for 2 outputs"),
        ({"metadata": {"x": object()}}, "metadata must be JSON-serialisable"),
        ({"metadata": {"x": float("nan")}}, "metadata must be JSON-serialisable"),
    ],
)
def test_bad_arguments_write_nothing(model, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        export_tflite(model, tmp_path / "sub" / "m.tflite", **arguments)
    assert not list(tmp_path.iterdir())


def test_models_without_static_size_are_refused(tmp_path):
    inputs = keras.Input((None, None, 3))
    net = keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs))
    with pytest.raises(InputError, match="of known height and width"):
        export_tflite(net, tmp_path / "m.tflite")


def test_operations_that_litert_lacks_are_named(tmp_path, capfd):
    inputs = keras.Input((8, 8, 3))
    net = keras.Model(inputs, layers.Flatten()(keras.ops.erfinv(inputs)))
    with pytest.raises(InputError, match=r"tf\.Erfinv"):
        export_tflite(net, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""


def test_float_operations_in_an_int8_model_are_named(exported):
    with pytest.raises(InputError, match=r"floating point: .*CONV_2D"):
        export_module._check_operations(flatbuffer.inspect(exported["float32"]), PRECISIONS["int8"])


def test_a_model_that_disagrees_is_not_written(model, tmp_path, monkeypatch):
    """Ranges of images a hundred times too small: every real image saturates."""
    wrong = convert(model, precision="int8", calibrate_on=images(8) / 100)
    monkeypatch.setattr(export_module, "convert", lambda *args, **kwargs: wrong)
    with pytest.raises(InputError, match="does not compute what the Keras model computes"):
        export_tflite(model, tmp_path / "m.tflite", precision="int8", calibrate_on=images(16))
    assert not list(tmp_path.iterdir())


def test_a_file_is_parsed_before_and_after_its_ends(model, tmp_path, monkeypatch):
    parsed = []
    real = flatbuffer.inspect
    monkeypatch.setattr(flatbuffer, "inspect", lambda content: parsed.append(len(content)) or real(content))
    export_tflite(model, tmp_path / "m.tflite")
    assert len(parsed) == 2


def test_nothing_is_printed(model, tmp_path, capfd):
    export_tflite(model, tmp_path / "m.tflite", precision="int8", calibrate_on=images(100))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_few_calibration_images_are_told_and_hardly_any_must_be_allowed(model, tmp_path, capsys):
    export_tflite(model, tmp_path / "m.tflite", precision="int8", calibrate_on=images(8))
    assert capsys.readouterr().out == "Ranges of int8 come from 8 images only; 100 or more make a better model.\n"
    few = {"calibrate_on": images(3), "allow_few_images": True}
    artifact = export_tflite(model, tmp_path / "few.tflite", precision="int8", **few)
    assert artifact.record["calibration_images"] == 3


def test_images_to_calibrate_on_may_come_in_any_way(model, tmp_path):
    """All the same hundred: an array, batches, a generator that is used up, and as the TFLite converter takes them."""
    array = images(100)
    ways = {
        "array": array,
        "list": [array[:60], array[60:]],
        "dataset": tf.data.Dataset.from_tensor_slices(array).batch(30),
        "generator": (array[i : i + 10] for i in range(0, 100, 10)),
        "function": lambda: ([array[i : i + 1]] for i in range(100)),
    }
    found = {
        name: export_tflite(model, tmp_path / f"{name}.tflite", precision="int8", calibrate_on=way).record
        for name, way in ways.items()
    }
    assert {record["calibration_images"] for record in found.values()} == {100}
    assert len({json.dumps(record["agreement"]) for record in found.values()}) == 1


def test_another_class_for_images_that_the_model_is_sure_of(model, tmp_path, monkeypatch):
    compared = export_module.compare

    def turned(expected, found, **facts):
        """A sure first class that the file puts second, by a hair: the mean difference stays small."""
        sure = np.tile(np.asarray([4.0, 0.0, -4.0, 0.0, 0.0], np.float32), (len(expected), 1))
        other = sure + np.asarray([-2.1, 2.1, 0.0, 0.0, 0.0], np.float32) * (np.arange(len(sure)) < 20)[:, None]
        return compared(sure, other, **facts)

    monkeypatch.setattr(export_module, "compare", turned)
    asked = {"precision": "int8", "calibrate_on": images(100)}
    with pytest.raises(InputError, match=r"another class .* for 31% of the 64 images .*--allow-disagreement"):
        export_tflite(model, tmp_path / "m.tflite", **asked)
    assert not list(tmp_path.iterdir())
    artifact = export_tflite(model, tmp_path / "m.tflite", **asked, allow_disagreement=True)
    assert artifact.record["agreement"]["decisive_agreement"] == 44 / 64
