"""``docs/architecture.md`` says where something new belongs; here one of each is added from outside, and used.

What is added here lives in this file or in a temporary folder, so that a seam which needs a second place shows.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import keras
import layer_cases
import numpy as np
import pytest
import test_every_layer

import compofa_tf as ct
from compofa_tf import cli
from compofa_tf.cli import main
from compofa_tf.deploy import targets
from compofa_tf.errors import InputError
from compofa_tf.latency.devices.device import Device
from compofa_tf.latency.timings import Times
from compofa_tf.recipes.settings import DeploySettings
from compofa_tf.reports import figures
from compofa_tf.workdir import WorkDir

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(ct.__file__).parent


def test_the_page_answers_each_with_files_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Where do I put")[2]
    answers = re.findall(r"^\*\*\.\.\. an? (.+?)\?\*\* (.+?)\n\n", page + "\n", re.MULTILINE | re.DOTALL)
    assert [thing for thing, _ in answers] == [
        "family", "layer", "recipe", "device", "precision", "command", "file of the work directory", "plot"
    ]  # fmt: skip
    for thing, answer in answers:
        named = re.search(r"`(compofa_tf/[\w/]+\.py)`", answer)
        assert named is not None, thing
        assert (ROOT / named[1]).is_file() or (Path(named[1]).name == "NAME.py" and (ROOT / named[1]).parent.is_dir())


FAMILY_AND_RECIPE = """
import dataclasses
import compofa_tf as ct
from compofa_tf.data import load
from compofa_tf.recipes.settings import (
    AccuracySettings,
    DataSettings,
    PhaseSettings,
    SpaceSettings,
    TeacherSettings,
)
from compofa_tf.space import ConvUnit, DenseUnit, InvertedStage, PoolUnit, Space


@ct.families.register
def toy_net(*, width_mult=1.0, kernel="fixed", coupling="compound", profile="mobile", classes=10, input_size=16):
    chosen = {"width_mult": width_mult, "kernel": kernel, "coupling": coupling, "profile": profile}
    return Space(
        family="toy_net",
        arguments={**chosen, "classes": classes, "input_size": input_size},
        stem=(ConvUnit("stem", 3, 8, 3, 2, "relu"),),
        stages=(InvertedStage(8, 8, 2, "relu", False, 3, ((1, 2), (2, 3)), (3,)),),
        head=(PoolUnit("head_pool"), DenseUnit("classifier", 8, classes)),
        kernel=kernel, coupling=coupling, profile=profile, classes=classes,
    )


recipe = ct.Recipe(
    name="toy",
    space=SpaceSettings(family="toy_net", input_size=16),
    data=DataSettings(source="digits", resolutions=(16,), batch_size=4),
    teacher=TeacherSettings(epochs=1, learning_rate=0.1),
    train=PhaseSettings(epochs=1, learning_rate=0.1, subnets=2),
    accuracy=AccuracySettings(resolutions=(16,)),
)
recipe.save("toy.json")
recipe = ct.Recipe.load("toy.json")
digits = load("digits", recipe.data)
net = ct.train(recipe, workdir="run", data=dataclasses.replace(digits, train_ids=digits.train_ids[:8]))
again = ct.Supernet.load("run")
print(again.space == net.space == toy_net(), "toy_net" in ct.families.names(), net.space.id(net.space.largest(16)))
"""


@pytest.mark.slow
def test_a_family_and_a_recipe(tmp_path):
    """In an interpreter of its own, for a family that is registered stays so."""
    (tmp_path / "toy.py").write_text(FAMILY_AND_RECIPE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import toy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "True True r16-d2"


class ElasticScale(keras.layers.Layer):
    """A factor for each channel, of which a smaller input takes the first ones."""

    def __init__(self, *, seed: int = 0, **keywords):
        super().__init__(**keywords)
        self.seed = seed

    def build(self, input_shape):
        self.factors = self.add_weight(name="factors", shape=[input_shape[-1]], initializer="ones")
        self.built = True

    def call(self, x):
        if x.shape[-1] > self.factors.shape[0]:
            raise InputError(f"Channels must be at most {self.factors.shape[0]}. Received: channels={x.shape[-1]}")
        return x * self.factors[: x.shape[-1]]

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


SCALE = layer_cases.Case(
    make=lambda seed=0: ElasticScale(seed=seed, name="scale"),
    sizes=layer_cases.grid((layer_cases.CHANNELS, 3)),
    too_large=((layer_cases.CHANNELS + 1, {}),),
    stock=lambda layer, weights, channels, call: lambda x: x * weights["factors"][:channels],
    used=lambda layer, weights, channels, call: layer_cases.masked(weights, factors=np.s_[:channels]),
    seeded=False,
)


def test_a_layer():
    """A case in the table is all that the conformance tests want to know of it."""
    checks = [
        check for name, check in vars(test_every_layer).items() if name.startswith("test_") and "public" not in name
    ]
    assert len(checks) >= 7
    for check in checks:
        check(SCALE)


class Stopwatch:
    """A device that takes 2 ms for everything."""

    name = "toy"

    def describe(self):
        conditions = {
            "delegate": "none",
            "processor": "a toy",
            "runtime_version": "1",
            "date": "2026-01-01T00:00:00+00:00",
        }
        return {"device": self.name, **conditions}

    def time(self, models, *, threads, runs, warmup, rounds):
        assert threads == 3
        return [Times.of([[2.0] * runs] * rounds, fully_accelerated=True) for _ in models]


MODEL = Path(__file__).parent / "golden" / "models" / "r24-d11-int8.tflite"


def test_a_device():
    assert isinstance(Stopwatch(), Device)
    row = ct.benchmark(MODEL, device=Stopwatch(), threads=3, runs=20)
    assert (row.ms, row.runs, row.device, row.processor, row.noisy) == (2.0, 20, "toy", "a toy", False)
    assert row.precision == "int8"


def test_a_precision(monkeypatch, tmp_path):
    """float16 under another name, the last row, so that such a file is recognised as the new precision."""
    row = dataclasses.replace(targets.PRECISIONS["float16"], name="toy16")
    monkeypatch.setitem(targets.PRECISIONS, "toy16", row)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(inputs))))
    artifact = ct.export_tflite(model, tmp_path / "model.tflite", precision="toy16")
    assert ct.deploy.inspect(artifact.path).precision == "toy16"
    assert DeploySettings(precisions=("toy16",)).precisions == ("toy16",)
    with pytest.raises(InputError, match="toy16"):
        ct.export_tflite(model, tmp_path / "other.tflite", precision="toy32")


COMMAND = '''
"""A command for tests."""

from compofa_tf.cli.options import Subcommand, tell


def run(options):
    tell("compofa recipes", wrote=f"{options.count} toys")


def arguments(parser):
    parser.add_argument("--count", type=int, default=1)


COMMANDS = (Subcommand("toy", "count toys", "compofa toy --count 2", run, arguments),)
'''


def test_a_command(monkeypatch, tmp_path, capsys):
    """A module in the folder of the command line; here the folder gets a second place."""
    (tmp_path / "toys.py").write_text(COMMAND, encoding="utf-8")
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    try:
        assert main.run(main.parse(["compofa", "toy", "--count", "3"])) == 0
    finally:
        sys.modules.pop("compofa_tf.cli.toys", None)
        vars(cli).pop("toys", None)
    assert capsys.readouterr().out.splitlines() == ["Wrote 3 toys.", "Next: compofa recipes"]


def names_of_files() -> set[str]:
    """The names of files, not of folders, that ``WorkDir`` knows."""
    literals = ast.walk(ast.parse((PACKAGE / "workdir.py").read_text(encoding="utf-8")))
    texts = {node.value for node in literals if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if re.fullmatch(r"[\w-]+\.[a-z]+", text)}


def test_a_file_of_the_work_directory(tmp_path):
    """A property of ``WorkDir`` is enough: no other module has the name of a file as a value."""
    assert {"recipe.json", "metrics.jsonl", "front.json", "report.html", "weights.npz"} <= names_of_files()
    for path in PACKAGE.rglob("*.py"):
        constants = (
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)
        )
        found = {node.value for node in constants if isinstance(node.value, str)} & names_of_files()
        assert not found or path.name == "workdir.py", (path.relative_to(PACKAGE), found)

    class ToyDir(WorkDir):
        @property
        def toy_file(self) -> Path:
            return self.path / "toy.json"

    assert ToyDir(tmp_path).toy_file.parent == ToyDir(tmp_path).recipe_file.parent


def test_a_plot():
    """Lines of one's own as the report draws its curves: SVG whose colours are those of the page."""
    svg = figures.curves_svg({"toys": [(0, 1.0), (10, 3.0)]}, phases=[("play", 10)], label="toys per hour")
    assert svg.startswith("<svg") and 'aria-label="toys per hour"' in svg
    assert "play" in svg and "var(--" in svg
