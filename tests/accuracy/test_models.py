"""Models of any origin: opened, or refused with one sentence."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from compofa_tf.accuracy.evaluation import evaluate
from compofa_tf.accuracy.models import open_model
from compofa_tf.deploy.conversion import convert
from compofa_tf.errors import InputError

RNG = np.random.default_rng(0)


def net(side=8, channels=3, outputs=4, height=None):
    inputs = keras.Input((height or side, side, channels))
    return keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(inputs)))


@pytest.mark.parametrize("ending", ["keras", "tflite"])
def test_files_are_opened_with_their_side_and_outputs(tmp_path, ending):
    model, path = net(), tmp_path / f"m.{ending}"
    model.save(path) if ending == "keras" else path.write_bytes(convert(model))
    found = open_model(path)
    assert (found.resolution, found.outputs) == (8, 4)
    images = RNG.normal(size=(3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(found.predict(images), model(images), atol=1e-5)
    assert evaluate(found, [(images, np.argmax(model(images), axis=1))]).top1 == 1
    with pytest.raises(InputError, match=r"m has 4 output\(s\), the data has 10 classes"):
        found.require_outputs(10, what="m")


def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        open_model(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (net(height=9), r"square colour images .*\['batch', 9, 8, 3\]"),
        (net(channels=1), r"square colour images .*\['batch', 8, 8, 1\]"),
        (net(outputs=1), r"two at least.*\['batch', 1\]"),
        (keras.Sequential([keras.Input((None, None, 3)), layers.GlobalAveragePooling2D()]), "square colour images"),
        (keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 1)]), r"per class.*\['batch', 8, 8, 4\]"),
        (keras.Model(a := keras.Input((8, 8, 3)), [layers.Flatten()(a), layers.Flatten()(a)]), "1 inputs, 2 outputs"),
    ],
    ids=["oblong", "grey", "one logit", "any size", "a map", "two outputs"],
)
def test_keras_models_that_do_not_classify_pictures(tmp_path, model, message):
    model.save(tmp_path / "m.keras")
    refused(tmp_path / "m.keras", message)


def test_files_that_are_damaged_or_something_else(tmp_path):
    net().save(tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    for name, content in (("cut.keras", whole[: len(whole) // 2]), ("empty.keras", b""), ("text.h5", b"no model")):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, r"neither a \.tflite nor a readable \.keras file")
    for name, content in (("cut.tflite", convert(net())[:200]), ("empty.tflite", b"")):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, name)
    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"))
    refused(tmp_path / "saved", "is a folder; give a .tflite or .keras file")
    refused(tmp_path / "gone.tflite", "no such model")


@pytest.mark.parametrize(("side", "channels", "outputs"), [(8, 1, 4), (8, 3, 1)])
def test_tflite_files_of_another_shape(tmp_path, side, channels, outputs):
    (tmp_path / "m.tflite").write_bytes(convert(net(side, channels, outputs)))
    refused(tmp_path / "m.tflite", "must (take square|give a score)")


def test_unquantized_bytes_are_refused(tmp_path):
    module = tf.Module()
    kernel = tf.constant(RNG.normal(size=(192, 4)), tf.float32)
    module.infer = tf.function(lambda x: tf.reshape(tf.cast(x, tf.float32), [1, 192]) @ kernel)
    concrete = module.infer.get_concrete_function(tf.TensorSpec((1, 8, 8, 3), tf.uint8))
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()
    (tmp_path / "m.tflite").write_bytes(content)
    refused(tmp_path / "m.tflite", "takes uint8 without a scale")


def test_labels_without_an_output_are_refused():
    with pytest.raises(InputError, match="has 4 outputs, and the data has a label 7"):
        evaluate(net(), [(np.zeros((2, 8, 8, 3), np.float32), np.asarray([0, 7]))])
