from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compofa_tf.deploy.agreement import Agreement
from compofa_tf.deploy.artifact import Artifact
from compofa_tf.errors import InputError

EXPORTED = Path(__file__).parents[1] / "golden" / "models" / "r24-d11-int8.tflite"


@pytest.fixture
def artifact(tmp_path):
    for name in (EXPORTED.name, f"{EXPORTED.name}.json"):
        shutil.copy(EXPORTED.with_name(name), tmp_path)
    return Artifact.load(tmp_path / EXPORTED.name)


def test_it_says_what_it_is(artifact):
    assert artifact.precision == "int8"
    assert artifact.operations["CONV_2D"] > 0
    assert isinstance(artifact.agreement, Agreement)
    assert artifact.agreement == Agreement.from_json(artifact.record["agreement"])
    with open(artifact, "rb") as content:
        assert content.read(8)[4:] == b"TFL3"


def test_update_and_load(artifact):
    artifact.update(accuracy={"top1": 0.5, "count": 10}, latency={"predicted_ms": 1.5, "measured": None})
    again = Artifact.load(artifact.path)
    assert again.accuracy == {"top1": 0.5, "count": 10}
    assert again.latency["predicted_ms"] == 1.5
    assert again.record["recipe_hash"] == artifact.record["recipe_hash"]
    assert again.sha256 == artifact.sha256
    with pytest.raises(InputError, match="sha256 describe the exported file"):
        again.update(sha256="0" * 64)


def test_load_refuses_what_does_not_belong_together(artifact, tmp_path):
    copy = tmp_path / "m.tflite"
    with pytest.raises(InputError, match="does not exist"):
        Artifact.load(copy)
    copy.write_bytes(artifact.path.read_bytes())
    with pytest.raises(InputError, match=r"m\.tflite\.json does not exist"):
        Artifact.load(copy)
    shutil.copy(artifact.sidecar, tmp_path / "m.tflite.json")
    assert Artifact.load(copy).sha256 == artifact.sha256
    copy.write_bytes(copy.read_bytes() + b"x")
    with pytest.raises(InputError, match="SHA-256 differs"):
        Artifact.load(copy)
