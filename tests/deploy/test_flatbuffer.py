from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from compofa_tf.deploy import flatbuffer
from compofa_tf.deploy.conversion import convert
from compofa_tf.deploy.runtime import Runner
from compofa_tf.errors import InputError


def small_net():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, activation="relu")(inputs)
    x = layers.Conv2D(32, 3, 2)(layers.ZeroPadding2D(1)(x))  # more than 1,024 weights: dynamic range leaves less alone
    return keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    net = small_net()
    images = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)
    return {
        precision: convert(net, precision=precision, calibrate_on=images)
        for precision in ("float32", "float16", "dynamic", "int8")
    }


def test_operations_of_a_float_model(models):
    contents = flatbuffer.inspect(models["float32"])
    assert contents.counts == {"CONV_2D": 2, "PAD": 1, "MEAN": 1, "FULLY_CONNECTED": 1}
    by_name = {operation.name: operation for operation in contents.operations}
    assert by_name["CONV_2D"].inputs == ("FLOAT32",)
    assert by_name["CONV_2D"].floating
    assert contents.float_operations == ("CONV_2D", "FULLY_CONNECTED", "MEAN", "PAD")
    assert not contents.is_fully_integer
    assert contents.size_bytes == len(models["float32"])


def test_an_integer_model(models):
    contents = flatbuffer.inspect(models["int8"])
    assert contents.is_fully_integer
    assert contents.custom_operations == contents.float_operations == ()
    by_name = {operation.name: operation for operation in contents.operations}
    assert by_name["CONV_2D"].inputs == ("INT8", "INT32")
    assert by_name["CONV_2D"].outputs == ("INT8",)
    (source,) = contents.inputs
    assert (source.dtype, source.shape) == ("INT8", (1, 8, 8, 3))
    assert len(source.scales) == len(source.zero_points) == 1
    assert contents.outputs[0].shape == (1, 5)


def test_operators_stand_in_order_with_their_tensors(models):
    first, pad, second, *_, last = flatbuffer.inspect(models["int8"]).operators
    assert [operator.name for operator in (first, pad, second, last)] == [
        "CONV_2D",
        "PAD",
        "CONV_2D",
        "FULLY_CONNECTED",
    ]
    assert [tensor.shape for tensor in first.inputs] == [(1, 8, 8, 3), (16, 3, 3, 3), (16,)]
    assert [tensor.shape for tensor in (*first.outputs, *pad.outputs, *last.outputs)] == [
        (1, 6, 6, 16),
        (1, 8, 8, 16),
        (1, 5),
    ]
    # Per-channel kernels are symmetric: a scale for each of the 16 channels, every zero point 0.
    kernel = first.inputs[1]
    assert len(set(kernel.scales)) == 16 and kernel.zero_points == (0,) * 16
    assert first.outputs == pad.inputs[:1] and not first.custom


def test_an_input_that_is_left_out_keeps_its_place():
    inputs = keras.Input((2, 2, 2))
    content = convert(keras.Model(inputs, layers.Dense(4, use_bias=False)(layers.Flatten()(inputs))))
    last = flatbuffer.inspect(content).operators[-1]
    assert last.name == "FULLY_CONNECTED"
    assert [tensor and tensor.shape for tensor in last.inputs] == [(1, 8), (4, 8), None]


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "int8"])
def test_precision_is_read_from_the_file(models, precision):
    assert flatbuffer.inspect(models[precision]).precision == precision


def test_custom_operations_are_found(models):
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(models["int8"]))
    code = next(code for code in model.operatorCodes if code.builtinCode == schema.BuiltinOperator.MEAN)
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, 32, b"FlexMean"
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    contents = flatbuffer.inspect(content)
    assert contents.custom_operations == ("FlexMean",)
    assert not contents.is_fully_integer
    with pytest.raises(InputError, match="FlexMean"):
        Runner(content)


def test_files_and_bytes_read_alike(models, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(models["int8"])
    assert flatbuffer.inspect(path) == flatbuffer.inspect(str(path)) == flatbuffer.inspect(models["int8"])


def test_every_truncation_is_refused(models):
    content = models["int8"]
    for size in {0, 4, 15, *range(16, len(content), 97), len(content) - 1}:
        with pytest.raises(InputError, match="TFLite model"):
            flatbuffer.inspect(content[:size])


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        flatbuffer.inspect(tmp_path / "none.tflite")
    text = tmp_path / "text.tflite"
    text.write_text("this is not a model, however long it may go on\n" * 3)
    with pytest.raises(InputError, match=r"text\.tflite is not a TFLite model"):
        flatbuffer.inspect(text)
    with pytest.raises(InputError, match="truncated or damaged"):
        flatbuffer.inspect(b"\xff\xff\xff\x7fTFL3" + b"\xff" * 64)


def test_appended_files_do_not_change_the_model(models):
    content = models["int8"]
    longer = flatbuffer.append_files(content, {"labels.txt": "Äpfel\n".encode(), "metadata.json": b"{}"})
    assert longer.startswith(content)
    assert flatbuffer.append_files(content, {"labels.txt": "Äpfel\n".encode(), "metadata.json": b"{}"}) == longer
    assert dataclasses.replace(flatbuffer.inspect(longer), size_bytes=len(content)) == flatbuffer.inspect(content)
    archive = zipfile.ZipFile(io.BytesIO(longer))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "labels.txt": "Äpfel\n".encode(),
        "metadata.json": b"{}",
    }
    images = np.random.default_rng(1).uniform(-1, 1, (3, 8, 8, 3))
    np.testing.assert_array_equal(Runner(longer)(images), Runner(content)(images))


def test_no_tensorflow_is_imported():
    light = ("agreement", "artifact", "flatbuffer", "runtime", "targets")
    code = f"import sys, {', '.join(f'compofa_tf.deploy.{name}' for name in light)}, compofa_tf.latency.benchmarking\n"
    code += "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
