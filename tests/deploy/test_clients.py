"""Every file that says so opens in the standard clients, and says there what it says here.

MediaPipe is the image classifier of Android, iOS and the web, LiteRT.js runs models in a browser. ``.ci/clients DIR``
installs both, and ``COMPOFA_CLIENTS=DIR`` says where.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import browser
import keras
import numpy as np
import pytest
from PIL import Image
from plain_nets import LABELS, SIDE, images, tiny_net

from compofa_tf.data.inputs import described
from compofa_tf.deploy.export import SCORE_TOLERANCE, export_tflite
from compofa_tf.deploy.runtime import Runner
from compofa_tf.deploy.targets import PRECISIONS
from compofa_tf.normalization import Normalization
from compofa_tf.pipeline.classifying import classify

LINES = Path(__file__).resolve().parents[2] / "tflite" / "clients"
CLIENT = Path(__file__).resolve().parents[1] / "mediapipe_client.py"
TRAINED = {"symmetric": Normalization.named("symmetric"), "imagenet": Normalization.named("imagenet")}
FLOATS = [(name, "float32", scores) for name in PRECISIONS for scores in ("probabilities", "logits")]
INTEGERS = [("int8", io, scores) for io in ("uint8", "int8") for scores in ("probabilities", "logits")]
FILES = [(*found, name) for found in (*FLOATS, *INTEGERS) for name in TRAINED]


@pytest.fixture(scope="module")
def pictures():
    """A hundred, of smooth colours."""
    rng = np.random.default_rng(0)
    rough = rng.uniform(0, 255, (100, 4, 4, 3)).astype(np.float32)
    return np.asarray(keras.ops.image.resize(rough, (SIDE, SIDE))).round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(pictures, tmp_path_factory):
    """A file per precision, ends and normalisation of the training."""
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for name, trained in TRAINED.items():
        model = tiny_net()
        fed = np.asarray(trained.apply(pictures.astype(np.float32)))
        model(np.concatenate([fed, images(28)]), training=True)
        model.layers[-1].set_weights([weight * 8 for weight in model.layers[-1].get_weights()])  # sure of itself
        for precision, io, scores, of in FILES:
            if of == name:
                found[precision, io, scores, of] = export_tflite(
                    model,
                    folder / f"{precision}-{io}-{scores}-{of}.tflite",
                    precision=precision,
                    io=io,
                    scores=scores,
                    calibrate_on=fed if PRECISIONS[precision].needs_images else None,
                    metadata={
                        "labels": LABELS,
                        "normalization": trained.to_json(),
                        "preprocessing": described(SIDE, upright=True),
                    },
                )
    return found


@pytest.fixture(scope="module")
def answers(exported, pictures):
    """What our own runtime says."""
    return {key: Runner(exported[key])(TRAINED[key[3]].apply(pictures.astype(np.float32))) for key in FILES}


def agrees(key, found, ours):
    """The same class for every picture, but where 127.5 is subtracted and then rounded to whole numbers.

    There every single pixel lies in the middle between two numbers, and clients round as they please. Pictures whose
    first two classes are as close as that are left out.
    """
    first_two = np.sort(ours, axis=-1)[:, -2:]
    tied = key[:2] == ("int8", "float32") and key[3] == "symmetric"
    clear = first_two[:, 1] - first_two[:, 0] > (0.05 * np.ptp(ours) if tied else 0)
    assert clear.sum() > 50
    np.testing.assert_array_equal(found[clear], ours.argmax(axis=-1)[clear])


def test_mediapipe_says_the_same(mediapipe, exported, answers, pictures, tmp_path):
    np.save(tmp_path / "pictures.npy", pictures)
    opened = [key for key in FILES if "MediaPipe" in exported[key].record["ends"]["opens_in"]]
    assert len(opened) == len(FILES) - 4  # all but int8 ends
    done = mediapipe(CLIENT, tmp_path / "pictures.npy", *(exported[key].path for key in opened))
    assert done.returncode == 0, done.stderr[-3000:]
    for key, found in zip(opened, json.loads(done.stdout.splitlines()[-1])):
        labels, indices, scores = zip(*found)
        agrees(key, np.asarray(indices), answers[key])
        assert labels == tuple(LABELS[index] for index in indices)
        if key[2] == "probabilities" and not (key[0] == "int8" and key[3] == "symmetric"):
            np.testing.assert_allclose(scores, answers[key].max(axis=-1), atol=SCORE_TOLERANCE)


@pytest.mark.parametrize("scores", ["probabilities", "logits"])
def test_mediapipe_refuses_int8_ends_as_the_sidecar_says(mediapipe, exported, pictures, tmp_path, scores):
    np.save(tmp_path / "pictures.npy", pictures[:1])
    artifact = exported["int8", "int8", scores, "symmetric"]
    assert artifact.record["ends"]["opens_in"] == ["LiteRT"]
    done = mediapipe(CLIENT, tmp_path / "pictures.npy", artifact.path)
    assert done.returncode and "uint8/float32, got INT8" in done.stderr


def test_mediapipes_own_schema_reads_the_metadata(mediapipe, exported):
    """Not what its native code looks for only: every field, by the classes that were generated from the schema."""
    read = """
import sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema, schema_py_generated as tflite
content = open(sys.argv[1], "rb").read()
model = tflite.Model.GetRootAs(content, 0)
found, = [model.Metadata(i) for i in range(model.MetadataLength()) if model.Metadata(i).Name() == b"TFLITE_METADATA"]
described = bytes(model.Buffers(found.Buffer()).DataAsNumpy())
assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(described, 0)
root = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(described, 0))
assert root.minParserVersion == b"1.0.0" and root.name == b"image classifier"
graph, = root.subgraphMetadata
image, = graph.inputTensorMetadata
assert image.name == b"images" and image.content.contentPropertiesType == schema.ContentProperties.ImageProperties
assert image.content.contentProperties.colorSpace == schema.ColorSpaceType.RGB
assert image.content.contentProperties.defaultSize.width == image.content.contentProperties.defaultSize.height == 32
unit, = image.processUnits
assert unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions
output, = graph.outputTensorMetadata
assert output.name == b"probabilities" and (list(output.stats.max), list(output.stats.min)) == ([1], [0])
labels, = output.associatedFiles
assert labels.name == b"labels.txt" and labels.type == schema.AssociatedFileType.TENSOR_AXIS_LABELS
options = unit.options
print([round(float(x), 4) for found in (options.mean, options.std, image.stats.max, image.stats.min) for x in found])
"""
    printed = {
        ("float32", "float32", "symmetric"): [127.5, 127.5, 1, 1, 1, -1, -1, -1],
        ("float32", "float32", "imagenet"): [128, 128, *3 * [0.9922], -1, -1, -1],
        ("int8", "uint8", "imagenet"): [0, 1, 255, 255, 255, 0, 0, 0],
    }
    for (precision, io, of), expected in printed.items():
        path = exported[precision, io, "probabilities", of].path
        done = mediapipe("-c", read, path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected


@pytest.mark.needs("chromium")
def test_litert_js_says_the_same(clients, exported, answers, pictures, tmp_path):
    fed = pictures.astype(np.float32)
    works = []
    for key in FILES:
        taken = exported[key].record["normalization"]
        values = Normalization(tuple(taken["mean"]), tuple(taken["std"])).apply(fed)
        works.append((exported[key].path, pictures if key[1] == "uint8" else np.asarray(values, np.float32)))
    for key, found in zip(FILES, browser.run(clients / "litertjs", works, tmp_path)):
        if "LiteRT.js" in exported[key].record["ends"]["opens_in"]:
            assert not isinstance(found, str), (key, found)
            agrees(key, np.asarray(found).argmax(axis=-1), answers[key])
        else:
            assert found == "Error: Element type INT8 is not supported."


SHOWN = [
    key
    for key in FILES
    if key[2] == "probabilities" and (key[0] != "int8" or key[1] == "uint8" or key[3] == "imagenet")
]
"""Files whose answers do not hang on how half pixels are rounded."""


@pytest.fixture(scope="module")
def files(pictures, tmp_path_factory):
    """Twenty of the pictures as PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, picture in enumerate(pictures[:20]):
        Image.fromarray(picture).save(folder / f"{index}.png")
    return [folder / f"{index}.png" for index in range(20)]


@pytest.mark.needs("chromium")
def test_the_lines_for_browsers_name_the_same_classes(clients, exported, answers, files, tmp_path):
    shown = [key for key in SHOWN if key[1] != "int8"]
    works = [(exported[key].path, files) for key in shown]
    for key, found in zip(shown, browser.run(clients / "litertjs", works, tmp_path)):
        assert not isinstance(found, str), (key, found)
        labels, scores = zip(*found)
        assert list(labels) == [LABELS[index] for index in answers[key][:20].argmax(axis=-1)]
        np.testing.assert_allclose(scores, answers[key][:20].max(axis=-1), atol=SCORE_TOLERANCE)


def test_the_lines_for_python_say_what_classify_says(exported, files):
    sys.path.insert(0, str(LINES))
    try:
        lines = importlib.import_module("classifier")
    finally:
        sys.path.remove(str(LINES))
    for key in SHOWN:
        for answer in classify(exported[key].path, files):
            found = lines.classify(exported[key].path, answer.picture)
            assert [label for label, _ in found] == [label for label, _ in answer.scores]
            np.testing.assert_allclose([s for _, s in found], [s for _, s in answer.scores], atol=SCORE_TOLERANCE)
