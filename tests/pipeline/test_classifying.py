"""``compofa classify``: an exported file alone, and files that do not say how to be used."""

from __future__ import annotations

import json
import zlib

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from compofa_tf.deploy import flatbuffer
from compofa_tf.deploy.conversion import convert
from compofa_tf.errors import InputError
from compofa_tf.pipeline import classifying
from compofa_tf.pipeline.classifying import classify

LABELS = ["10", "2", "Äpfel"]
"""Not in the order of any sorting."""


@pytest.fixture(scope="module")
def content():
    """Three outputs: how red, green and blue a picture is."""
    inputs = keras.Input((8, 8, 3))
    mean = layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, layers.Dense(3, kernel_initializer="identity")(mean))
    return convert(model)


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for i in range(3):
        colour = [255 if i == channel else 0 for channel in range(3)]
        Image.new("RGB", (30, 20), tuple(colour)).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    return paths


def written(path, content, **inside):
    path.write_bytes(flatbuffer.append_files(content, inside) if inside else content)
    return path


NORMALIZATION = json.dumps({"normalization": {"mean": [0.5] * 3, "std": [0.5] * 3}}).encode()


def test_names_are_those_of_the_outputs_in_their_order(content, pictures, tmp_path):
    labels = "".join(f"{label}\n" for label in LABELS).encode()
    model = written(tmp_path / "m.tflite", content, **{"metadata.json": NORMALIZATION, "labels.txt": labels})
    answers = list(classify(model, [*pictures, tmp_path / "gone.jpg", tmp_path / "m.tflite"], top=2))
    assert [answer.scores[0][0] for answer in answers[:3]] == LABELS
    for answer in answers[:3]:
        scores = [score for _, score in answer.scores]
        assert len(scores) == 2 and scores == sorted(scores, reverse=True)
        # Means of 1, -1 and -1.
        assert scores[0] == pytest.approx(np.e**2 / (np.e**2 + 2), abs=1e-4)
    assert [bool(answer.reason) for answer in answers] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("upright", [True, False])
def test_orientation_is_that_of_the_training(content, tmp_path, upright):
    """``imagenet`` decodes without looking at EXIF, and so must whoever uses its models."""
    metadata = json.dumps({**json.loads(NORMALIZATION), "preprocessing": {"exif_orientation": upright}}).encode()
    model = written(tmp_path / "m.tflite", content, **{"metadata.json": metadata})
    Image.new("RGB", (90, 30), (0, 255, 0)).save(tmp_path / "green.png")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        original = classifying.input_of
        patch.setattr(classifying, "input_of", lambda *a, **k: seen.append(k["upright"]) or original(*a, **k))
        list(classify(model, [tmp_path / "green.png"]))
    assert seen == [upright]


def test_without_labels_outputs_have_numbers(content, pictures, tmp_path):
    model = written(tmp_path / "m.tflite", content, **{"metadata.json": NORMALIZATION})
    assert [answer.scores[0][0] for answer in classify(model, pictures)] == ["0", "1", "2"]


@pytest.mark.parametrize("inside", [{}, {"metadata.json": b"{}"}, {"metadata.json": b"no json"}, {"x": b"y"}])
def test_files_that_do_not_say_how_pixels_become_inputs_are_refused(content, pictures, tmp_path, inside):
    model = written(tmp_path / "m.tflite", content, **inside)
    with pytest.raises(InputError, match=r"m\.tflite does not say how pixels become its inputs; give a file of"):
        list(classify(model, pictures))


def test_attached_files_are_found_and_nothing_is_made_up(content):
    attached = {"a.txt": b"1", "b.bin": zlib.compress(b"2" * 100)}
    assert flatbuffer.attached_files(flatbuffer.append_files(content, attached)) == attached
    assert flatbuffer.attached_files(content) == {}
