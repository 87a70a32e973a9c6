"""A run and its data set: what happens when pictures move, classes are renamed, files break."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from runs import RECIPE, nothing
from tiny import tiny_space

from compofa_tf import families
from compofa_tf.cli import main
from compofa_tf.data import store
from compofa_tf.errors import InputError
from compofa_tf.pipeline.run import Run
from compofa_tf.training.loop import train

COLOURS = {"daisy": (220, 200, 30), "rose": (200, 30, 60), "tulip": (120, 40, 200)}

SHORT = RECIPE.override(["teacher.epochs=0", "teacher.warmup_epochs=0", "train.kd_ratio=0", "train.epochs=2"])
"""One phase of two epochs of four steps."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny family that learned three colours, and its pictures."""
    root = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / "flowers" / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.clip(np.asarray(colour) + rng.integers(-20, 20, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "flowers" / name / f"{i:02}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "get", lambda name, **settings: tiny_space(**settings))
        patch.chdir(root)
        train(SHORT.override(["data.source=folder:flowers"]), workdir=root / "run", log=nothing)
    return root


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A copy of that run and its pictures, in a folder that is not the current one."""
    shutil.copytree(trained, tmp_path / "place")
    card = json.loads((tmp_path / "place" / "run" / "data.json").read_text())
    card["relative_to"] = str(tmp_path / "place")
    (tmp_path / "place" / "run" / "data.json").write_text(json.dumps(card))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(families, "get", lambda name, **settings: tiny_space(**settings))
    monkeypatch.setattr(families, "from_json", lambda content: tiny_space(classes=3))
    return tmp_path / "place"


def command(*words) -> int:
    return main.run(main.parse(["compofa", *map(str, words)]))


def evaluated(place, capsys, *words) -> str:
    code = command("evaluate", place / "run", "--arch", "r16-d22", *words)
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out


def test_the_card_lies_beside_the_recipe(trained):
    card = json.loads((trained / "run" / "data.json").read_text())
    assert (card["kind"], card["source"], card["classes"]) == ("data_card", "folder:flowers", list(COLOURS))
    assert card["counts"]["train"] == [11, 11, 11] and card["relative_to"] == str(trained)


def test_a_relative_path_is_found_from_another_directory(place, capsys):
    assert "3 images" in evaluated(place, capsys)


def test_renamed_and_added_classes_are_named_and_never_counted_wrong(place, capsys):
    before = evaluated(place, capsys)
    (place / "flowers" / "daisy").rename(place / "flowers" / "zinnia")
    said = evaluated(place, capsys)
    assert "Left out, for the network does not know them: zinnia." in said
    assert "Without any picture here, so that nothing is said of them: daisy." in said
    assert "2 images" in said and "3 images" in before


def test_data_that_moved_points_the_run_to_its_new_place(place, capsys):
    (place / "flowers").rename(place / "garden")
    assert command("evaluate", place / "run", "--arch", "r16-d22") == 1
    assert "does not exist" in capsys.readouterr().err
    where = f"folder:{place / 'garden'}"
    assert Run(place / "run").changed([f"data.source={where}"]).data.val_size == 3
    assert f"data.source: 'folder:flowers' and '{where}'" in capsys.readouterr().out
    assert "3 images" in evaluated(place, capsys)
    assert json.loads((place / "run" / "data.json").read_text())["source"] == where


def test_other_data_says_what_differs_and_changes_nothing(place, capsys):
    shutil.copytree(place / "flowers", place / "more")
    shutil.copy(place / "more" / "rose" / "01.png", place / "more" / "rose" / "99.png")
    before = (place / "run" / "recipe.json").read_bytes()
    with pytest.raises(InputError, match=r"is not the data that .*run was trained on \(train pictures.*rose 11 and 12"):
        Run(place / "run").changed([f"data.source=folder:{place / 'more'}"])
    said = evaluated(place, capsys, "--data", f"folder:{place / 'more'}")
    assert "Not the pictures of the run: train pictures, before and now: rose 11 and 12." in said
    assert (place / "run" / "recipe.json").read_bytes() == before


def test_a_training_that_goes_on_refuses_renamed_classes(place):
    shutil.rmtree(place / "run" / "supernet")
    (place / "flowers" / "daisy").rename(place / "flowers" / "zinnia")
    recipe = Run(place / "run").recipe
    with pytest.raises(InputError, match=r"classes that are gone: daisy; classes that are new: zinnia"):
        train(recipe, workdir=place / "run", log=nothing)


def test_a_picture_that_vanishes_during_training_is_replaced_and_named_once(place, monkeypatch):
    monkeypatch.setattr(store, "MEMORY_LIMIT_BYTES", 100)
    said = []

    def log(line):
        said.append(line)
        if line.startswith("Estimated time"):
            (place / "flowers" / "rose" / "05.png").unlink()
            (place / "flowers" / "tulip" / "07.png").write_bytes(b"torn")

    recipe = Run(place / "run").recipe.override([f"data.source=folder:{place / 'flowers'}", "data.max_bad_share=0.1"])
    train(recipe, workdir=place / "other", log=log)
    named = [line for line in said if line.startswith("Replaced by the next picture")]
    assert sorted(named) == [
        "Replaced by the next picture from now on: rose/05.png (the file has vanished).",
        "Replaced by the next picture from now on: tulip/07.png (the file can no longer be decoded).",
    ]
    assert (place / "other" / "supernet" / "supernet.json").exists()


def test_too_many_lost_pictures_stop_with_a_checkpoint_and_the_run_goes_on_later(place, monkeypatch):
    monkeypatch.setattr(store, "MEMORY_LIMIT_BYTES", 100)
    said = []

    def log(line):
        said.append(line)
        if line.startswith("train epoch 1/"):
            (place / "flowers" / "rose").rename(place / "rose")

    # Of the next steps some batches are made already.
    changes = [f"data.source=folder:{place / 'flowers'}", "data.max_bad_share=0.05", "train.epochs=4"]
    recipe = Run(place / "run").recipe.override(changes)
    with pytest.raises(InputError, match=r"can no longer be read, more than the 5\.0%.*rose/.*bring them back"):
        train(recipe, workdir=place / "other", log=log)
    assert list((place / "other" / "checkpoints").glob("step-*.npz"))
    (place / "rose").rename(place / "flowers" / "rose")
    train(recipe, workdir=place / "other", log=said.append)
    assert any("Resuming" in line for line in said)
    assert (place / "other" / "supernet" / "supernet.json").exists()
