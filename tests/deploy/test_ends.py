from __future__ import annotations

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from plain_nets import LABELS, images, tiny_net

from compofa_tf.deploy import editing, flatbuffer
from compofa_tf.deploy.conversion import convert
from compofa_tf.deploy.ends import Ends
from compofa_tf.deploy.export import SCORE_TOLERANCE, export_tflite
from compofa_tf.deploy.runtime import Runner
from compofa_tf.deploy.targets import INPUTS, PRECISIONS, SCORES
from compofa_tf.errors import InputError
from compofa_tf.normalization import Normalization

IMAGENET = Normalization.named("imagenet")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    net = tiny_net()
    net(images(64), training=True)
    return net


def softmax(logits):
    return np.asarray(keras.ops.softmax(logits))


@pytest.mark.parametrize(
    ("precision", "profile", "given", "expected"),
    [
        ("float32", "mobile", {}, ("float32", "probabilities")),
        ("int8", "mobile", {}, ("float32", "probabilities")),
        ("int8", "mobile", {"io": "uint8"}, ("uint8", "probabilities")),
        ("int8", "mobile", {"scores": "logits"}, ("float32", "logits")),
        ("int8", "edgetpu", {}, ("int8", "logits")),
        ("int8", "edgetpu", {"io": "uint8", "scores": "probabilities"}, ("uint8", "probabilities")),
        ("float16", "edgetpu", {}, ("float32", "probabilities")),
    ],
)
def test_what_is_not_asked_for_is_chosen_by_where_the_file_goes(precision, profile, given, expected):
    assert Ends.of(precision, profile, **given) == Ends(*expected)


@pytest.mark.parametrize(
    ("precision", "given", "message"),
    [
        ("int8", {"io": "int16"}, "io must be one of float32, uint8, int8. Received: io='int16'"),
        ("int8", {"scores": "softmax"}, "scores must be one of probabilities, logits. Received: scores='softmax'"),
        ("dynamic", {"io": "uint8"}, "A dynamic model computes in floating point and has float32 ends. .*io='uint8'"),
    ],
)
def test_other_ends_are_refused(precision, given, message):
    with pytest.raises(InputError, match=message):
        Ends.of(precision, "mobile", **given)


# What must hold of each combination: integers only, and all of it in the CPU back end (of which int8 SOFTMAX and the
# QUANTIZE between uint8 and int8 are no part).
@pytest.mark.parametrize(
    ("io", "scores", "integer", "accelerated"),
    [
        ("float32", "probabilities", False, True),
        ("float32", "logits", False, True),
        ("uint8", "probabilities", True, False),
        ("uint8", "logits", True, False),
        ("int8", "probabilities", True, False),
        ("int8", "logits", True, True),
    ],
)
def test_an_int8_model_computes_the_same_between_any_ends(model, io, scores, integer, accelerated, tmp_path):
    by = Normalization.named("symmetric" if io == "int8" else "imagenet")
    pixels = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3)).astype(np.float32)
    fed = by.apply(pixels)
    artifact = export_tflite(
        model,
        tmp_path / "m.tflite",
        precision="int8",
        io=io,
        scores=scores,
        calibrate_on=fed,
        metadata={"normalization": by.to_json(), "labels": LABELS},
    )
    assert flatbuffer.inspect(artifact.path).precision == "int8"
    assert artifact.record["fully_integer"] is integer
    assert artifact.record["fully_accelerated"] is accelerated
    assert [artifact.record[end]["dtype"] for end in ("input", "output")] == [io, io]
    assert artifact.record["ends"]["takes"] == INPUTS[io]
    expected = model(fed, training=False).numpy()
    found = Runner(artifact)(fed)
    if scores == "probabilities":
        assert np.abs(found - softmax(expected)).max() < 0.1
    else:
        assert np.abs(found - expected).max() < 0.1 * np.ptp(expected)
    if io == "uint8":
        assert (artifact.record["input"]["scale"], artifact.record["input"]["zero_point"]) == (1.0, 0)
        assert artifact.record["normalization"]["name"] == "pixels"
        assert artifact.record["trained_normalization"] == by.to_json()


def test_probabilities_are_the_softmax_of_the_logits(model, tmp_path):
    """In every precision and between any ends, within two of 256 steps."""
    fed = images(100)
    facts = {"metadata": {"normalization": Normalization.named("symmetric").to_json()}}
    for precision in ("float32", "int8"):  # the other two are opened by test_clients.py
        for io in INPUTS if PRECISIONS[precision].integer else ("float32",):
            given = {**facts, "precision": precision, "io": io, "overwrite": True}
            given |= {"calibrate_on": fed} if PRECISIONS[precision].needs_images else {}
            logits, found = (
                Runner(export_tflite(model, tmp_path / f"{scores}.tflite", scores=scores, **given))(fed[:32])
                for scores in reversed(SCORES)
            )
            assert np.abs(found - softmax(logits)).max() <= (SCORE_TOLERANCE if io != "float32" else 1e-5)


def test_a_float_model_that_was_trained_otherwise_takes_what_mediapipe_gives(model, tmp_path):
    """MediaPipe normalises all channels alike: (pixel - 128) / 128; the file does the rest."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.float32)
    artifact = export_tflite(
        model, tmp_path / "m.tflite", scores="logits", metadata={"normalization": IMAGENET.to_json()}
    )
    assert artifact.record["normalization"] == Normalization.named("centered").to_json()
    expected = model(IMAGENET.apply(pixels), training=False).numpy()
    np.testing.assert_allclose(Runner(artifact)(IMAGENET.apply(pixels)), expected, atol=1e-4)
    plain = Runner(artifact, normalizations=(IMAGENET, IMAGENET))
    np.testing.assert_allclose(plain((pixels - 128) / 128), expected, atol=1e-4)


def test_a_uint8_model_must_know_how_to_normalise(model, tmp_path):
    with pytest.raises(
        InputError, match=r"takes colour pictures and normalises their pixels itself; say how in metadata"
    ):
        export_tflite(model, tmp_path / "m.tflite", precision="int8", io="uint8", calibrate_on=images(8))
    assert list(tmp_path.iterdir()) == []


def probabilities_net(last):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(inputs))
    return keras.Model(inputs, last(x))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_network_that_ends_in_a_softmax_gets_no_second_one(tmp_path, precision):
    """As every classifier of keras.applications does."""
    model = probabilities_net(keras.layers.Dense(4, activation="softmax", kernel_initializer="random_normal"))
    fed = np.random.default_rng(0).uniform(-1, 1, (100, 8, 8, 3)).astype(np.float32)
    given = {"precision": precision, "calibrate_on": fed, "allow_disagreement": True}
    artifact = export_tflite(model, tmp_path / "m.tflite", **given)
    assert artifact.operations["SOFTMAX"] == 1 and artifact.record["ends"]["scores"] == "probabilities"
    runner = Runner(artifact)
    assert runner.scores == "probabilities"
    np.testing.assert_allclose(runner(fed[:8]), model(fed[:8]), atol=2 / 256)
    with pytest.raises(InputError, match="ends in a softmax of its own; take that layer off"):
        export_tflite(model, tmp_path / "other.tflite", scores="logits", **given)


@pytest.mark.parametrize("outputs", [1, 3])
def test_of_independent_answers_there_is_no_softmax(tmp_path, outputs):
    model = probabilities_net(keras.layers.Dense(outputs, activation="sigmoid"))
    artifact = export_tflite(model, tmp_path / "m.tflite")
    assert "SOFTMAX" not in artifact.operations and artifact.record["ends"]["scores"] == "logits"
    fed = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(Runner(artifact)(fed), model(fed), atol=1e-5)
    with pytest.raises(InputError, match="independent of each other, so that there is no softmax of them"):
        export_tflite(model, tmp_path / "other.tflite", scores="probabilities")


@pytest.mark.parametrize("trained", ["pixels", "centered", "symmetric", "imagenet"])
def test_uint8_is_the_pixel_itself_whatever_the_network_was_trained_with(tmp_path, trained):
    by = Normalization.named(trained)
    dark = np.random.default_rng(0).integers(20, 200, (100, 8, 8, 3)).astype(np.float32)
    model = probabilities_net(keras.layers.Dense(4))
    artifact = export_tflite(
        model,
        tmp_path / "m.tflite",
        precision="int8",
        io="uint8",
        calibrate_on=np.asarray(by.apply(dark)),
        metadata={"normalization": by.to_json()},
        allow_disagreement=True,
    )
    assert (artifact.record["input"]["scale"], artifact.record["input"]["zero_point"]) == (1.0, 0)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_than_colour_pictures(tmp_path, channels):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, channels))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    artifact = export_tflite(model, tmp_path / "m.tflite", metadata={"normalization": IMAGENET.to_json()})
    assert artifact.record["ends"]["opens_in"] == ["LiteRT", "LiteRT.js"]
    fed = np.random.default_rng(0).uniform(-1, 1, (100, 8, 8, channels)).astype(np.float32)
    np.testing.assert_allclose(Runner(artifact)(fed[:4]), softmax(model(fed[:4])), atol=1e-5)
    with pytest.raises(InputError, match="takes colour pictures and normalises their pixels itself"):
        export_tflite(
            model, tmp_path / "u.tflite", precision="int8", io="uint8", calibrate_on=fed,
            metadata={"normalization": IMAGENET.to_json()},
        )  # fmt: skip


def test_clients_that_open_a_file_depend_on_what_it_says(model, tmp_path):
    artifact = export_tflite(model, tmp_path / "m.tflite")
    assert artifact.record["ends"]["opens_in"] == ["LiteRT", "LiteRT.js"]
    with pytest.raises(
        InputError, match=r"normalization in metadata must be .* Received: normalization=\{'mean': \[0.5\]"
    ):
        export_tflite(model, tmp_path / "n.tflite", metadata={"normalization": {"mean": [0.5], "std": [0.5]}})
    for arch in ("mynet", {"id": 7}, {}, None):
        export_tflite(model, tmp_path / "m.tflite", metadata={"arch": arch}, overwrite=True)


def test_editing_changes_nothing_else_and_keeps_weights_aligned(model):
    content = convert(model)
    edited = editing.with_description(editing.with_softmax(content), "NOTE", b"said")
    before, after = flatbuffer.inspect(content), flatbuffer.inspect(edited)
    assert after.operators[:-1] == before.operators
    assert after.operators[-1].name == "SOFTMAX"
    assert (after.outputs[0].name, after.outputs[0].shape) == ("probabilities", before.outputs[0].shape)
    root = schema.Model.GetRootAs(edited, 0)
    assert root.SignatureDefs(0).Outputs(0).Name() == b"probabilities"
    notes = {root.Metadata(i).Name(): root.Metadata(i).Buffer() for i in range(root.MetadataLength())}
    assert bytes(root.Buffers(notes[b"NOTE"]).DataAsNumpy()) == b"said"
    starts = [
        root.Buffers(index)._tab.Vector(root.Buffers(index)._tab.Offset(4))
        for index in range(root.BuffersLength())
        if not root.Buffers(index).DataIsNone()
    ]
    assert len(starts) > 20
    assert all(start % 16 == 0 for start in starts)
    fed = images(4)
    np.testing.assert_allclose(Runner(edited)(fed), softmax(Runner(content)(fed)), atol=1e-6)


def test_wrong_probabilities_are_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr(editing, "with_softmax", lambda content: content)
    with pytest.raises(InputError, match=r"probabilities of the file are not the softmax of its logits; .*off by"):
        export_tflite(model, tmp_path / "m.tflite")
    assert list(tmp_path.iterdir()) == []
