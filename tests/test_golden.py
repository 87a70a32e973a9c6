"""What an earlier version wrote is read, and written again the same: see tests/golden/README.md."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny

from compofa_tf import families
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.deploy.artifact import Artifact
from compofa_tf.deploy.runtime import Runner
from compofa_tf.latency.table import LatencyTable
from compofa_tf.nets.supernet import Supernet
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front
from compofa_tf.space import cost
from compofa_tf.space.sampling import archs_at
from compofa_tf.training import checkpoints, metrics

GOLDEN = Path(__file__).parent / "golden"
VERSION2 = GOLDEN / "version2"
RECIPE_HASH, TRAINING_HASH = "6f19fa336b2ff377", "eb1aa08c3d3a69c4"
HEADER = ("created", "versions")
SPACES = json.loads((GOLDEN / "spaces.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def known_family(monkeypatch):
    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))
    families.register(tiny)


def content(path: Path) -> dict:
    """The JSON of a file without the parts of its header that say when and by which versions it was written."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key not in HEADER}


def digest(lines) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize("wanted", SPACES, ids=[f"{case['family']}-{i}" for i, case in enumerate(SPACES)])
def test_spaces(wanted):
    space = families.get(wanted["family"], **wanted["settings"])
    assert space == families.from_json(wanted["space"])
    assert (space.to_json(), space.fingerprint) == (wanted["space"], wanted["fingerprint"])
    assert (str(space.size), space.code_size) == (wanted["size"], wanted["code_size"])
    assert [slot.name for slot in space.slots] == wanted["slots"]
    assert [space.id(arch) for arch, _ in zip(space.enumerate(resolutions=(192, 224)), range(5))] == wanted["first"]
    archs = [space.smallest(160), space.largest(224)]
    archs += archs_at(space, seed=7, step=3, subnets=6, resolution=192)
    for arch, subnet in zip(archs, wanted["subnets"], strict=True):
        assert space.parse(subnet["id"]) == arch == space.decode(subnet["code"])
        assert {
            "id": space.id(arch),
            "arch": arch.to_json(),
            "code": space.encode(arch).tolist(),
            "macs": cost.macs(space, arch),
            "params": cost.params(space, arch),
            "pieces": digest(piece.key for piece in space.pieces(arch)),
            "units": digest(f"{unit.name} {unit.key}" for unit in space.units(arch)),
        } == subnet


FIGURES = {"accuracy": "measured", "latency": "predicted", "optimism": "estimated"}
"""What fronts say of their figures since version 2."""


@pytest.mark.parametrize(
    ("name", "load", "new"),
    [
        ("recipe.json", Recipe.load, {}),
        ("latency/host-int8-t1.json", LatencyTable.load, {"ends": None}),
        ("front.json", Front.load, {"schema_version": 2, "objective": "top1", "figures": FIGURES}),
    ],
)
def test_files_are_written_as_they_were_but_for_what_is_new(name, load, new, tmp_path):
    load(GOLDEN / name).save(tmp_path / "again.json")
    assert content(tmp_path / "again.json") == {**content(GOLDEN / name), **new}


def of_pictures(found: dict) -> dict:
    """What version 1 said of the pictures of its accuracies, as version 3 says it."""
    drawn = "same class shares" if found["images"] is None else "equal classes"
    new = {"role": found["split"], "sample": drawn, "available": None, "precision": "float32", "device": "host"}
    return {**{name: value for name, value in found.items() if name != "split"}, **new}


def test_the_accuracy_table_is_written_as_it_was_but_for_its_training_and_its_pictures(tmp_path):
    """Version 1 knew the hash of the recipe only, version 2 not how the pictures were drawn."""
    AccuracyTable.load(GOLDEN / "accuracy" / "val.json").save(tmp_path / "again.json")
    wanted = of_pictures(content(GOLDEN / "accuracy" / "val.json"))
    wanted["records"] = {name: {**record, "balanced": None} for name, record in wanted["records"].items()}
    new = {"schema_version": 3, "training_hash": None, "figures": "measured"}
    assert content(tmp_path / "again.json") == {**wanted, **new}


def test_a_search_finds_the_front_of_the_tables():
    accuracy = AccuracyTable.load(GOLDEN / "accuracy" / "val.json")
    latency = LatencyTable.load(GOLDEN / "latency" / "host-int8-t1.json")
    front = search(tiny(), accuracy=accuracy, latency=latency)
    wanted = {**content(GOLDEN / "front.json"), "objective": "top1", "figures": FIGURES}
    wanted["accuracy"] = of_pictures(wanted["accuracy"])
    assert front.to_json() == {name: wanted[name] for name in front.to_json()}


def test_the_supernet():
    net = Supernet.load(GOLDEN)
    images = np.random.default_rng(5).uniform(-1, 1, (2, 24, 24, 3)).astype(np.float32)
    with np.load(GOLDEN / "logits.npz") as logits:
        assert len(logits.files) == net.space.size
        for name in logits.files:
            # The same sums in another order, on another processor: some 2e-7 of values of about 1.
            np.testing.assert_allclose(net(images, net.space.parse(name)), logits[name], rtol=1e-5, atol=1e-5)


def same_arrays(path: Path, golden: Path, *, but: str = "") -> None:
    with np.load(path) as again, np.load(golden) as before:
        assert again.files == before.files
        for name in set(before.files) - {but}:
            np.testing.assert_array_equal(again[name], before[name])


@pytest.mark.parametrize(("folder", "training_hash"), [(GOLDEN, None), (VERSION2, TRAINING_HASH)])
def test_the_supernet_is_written_as_it_was(folder, training_hash, tmp_path):
    """Version 1 did not know the hash of its training."""
    wanted = content(folder / "supernet" / "supernet.json")
    net, extra = Supernet.load(folder), {name: wanted[name] for name in ("labels", "normalization")}
    net.save(tmp_path, recipe_hash=RECIPE_HASH, training_hash=training_hash, **extra)
    assert content(tmp_path / "supernet.json") == {**wanted, "schema_version": 2, "training_hash": training_hash}
    same_arrays(tmp_path / "weights.npz", folder / "supernet" / "weights.npz")


def test_fresh_weights_are_those_of_the_seed():
    state = Supernet(tiny(), seed=3).get_state()
    with np.load(GOLDEN / "fresh.npz") as fresh:
        assert list(state) == fresh.files
        for name in fresh.files:
            np.testing.assert_allclose(state[name].ravel()[:4], fresh[name], rtol=1e-6)


OWNER = {"space": tiny().fingerprint, "training_images": 1438}


@pytest.mark.parametrize(
    ("folder", "owner"),
    [(GOLDEN, {"recipe_hash": RECIPE_HASH, **OWNER}), (VERSION2, {"training_hash": TRAINING_HASH, **OWNER})],
)
def test_the_checkpoint(folder, owner, tmp_path):
    path = folder / "checkpoints" / "step-000000004.npz"
    found = checkpoints.load(path, owner=owner)
    assert found.step == 4
    assert list(found.weights) == list(Supernet.load(GOLDEN).get_state())
    assert found.losses.shape == (0, 0)
    again = checkpoints.write(tmp_path, found, owner=owner, recipe_hash=RECIPE_HASH)
    same_arrays(again, path, but="header" if folder == GOLDEN else "")


def test_the_training_hash_of_the_recipe():
    assert Recipe.load(GOLDEN).training_hash == TRAINING_HASH


def test_the_metrics(tmp_path):
    records = metrics.read(GOLDEN / "metrics.jsonl")
    assert [(record["phase"], record["step"]) for record in records] == [
        ("teacher", 1),
        ("teacher", 2),
        ("train", 3),
        ("train", 4),
    ]
    shutil.copy(GOLDEN / "metrics.jsonl", tmp_path)
    metrics.MetricsLog(tmp_path / "metrics.jsonl", step=3).write(records[3])
    assert (tmp_path / "metrics.jsonl").read_text("utf-8") == (GOLDEN / "metrics.jsonl").read_text("utf-8")


def test_the_exported_model_and_its_sidecar(tmp_path):
    name = "r24-d11-int8.tflite"
    for file in (name, f"{name}.json"):
        shutil.copy(GOLDEN / "models" / file, tmp_path)
    artifact = Artifact.load(tmp_path / name)
    artifact.write()
    assert content(artifact.sidecar) == {**content(GOLDEN / "models" / f"{name}.json"), "schema_version": 2}
    images = np.random.default_rng(5).uniform(-1, 1, (2, 24, 24, 3)).astype(np.float32)
    assert Runner(artifact.path)(images).shape == (2, 10)
