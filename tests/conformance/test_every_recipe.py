"""Every named recipe is complete: it loads, says in its notebook page what it is for, and survives JSON."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re

import numpy as np
import pytest
import tensorflow as tf

import compofa_tf as ct
from compofa_tf import recipes
from compofa_tf.data import load
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.space import sampling
from compofa_tf.training import estimate, phases
from compofa_tf.workdir import WorkDir

HEADINGS = ("Paper", "Command", "Hardware", "Time", "Expected", "Last run")
EVERY = pytest.mark.parametrize("name", recipes.names())


def page_of(name: str) -> str:
    return importlib.import_module(f"compofa_tf.recipes.library.{name}").__doc__


def test_the_recipes_that_the_readme_and_the_issues_speak_of_are_there():
    assert set(recipes.names()) == {
        "cifar10", "demo", "imagenet", "imagenet_elastic", "ofa_demo", "ofa_imagenet", "small"
    }  # fmt: skip


@EVERY
def test_loads_under_its_own_name(name):
    recipe = recipes.get(name)
    assert isinstance(recipe, Recipe)
    assert recipe.name == name


@EVERY
def test_the_notebook_page_has_every_heading_once_and_in_order(name):
    page = page_of(name)
    found = re.findall(rf"^({'|'.join(HEADINGS)}): +\S", page, flags=re.MULTILINE)
    assert tuple(found) == HEADINGS
    assert recipes.describe(name) == page.splitlines()[0]
    assert recipes.describe(name).endswith(".")


@EVERY
def test_the_command_of_the_page_names_the_recipe(name):
    command = page_of(name).partition("Command:")[2].partition("Hardware:")[0]
    assert f"compofa train --recipe {name} " in command


@EVERY
def test_json_round_trip(name):
    recipe = recipes.get(name)
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    assert again.hash == recipe.hash


@EVERY
def test_the_space_can_be_built_for_any_number_of_classes(name):
    recipe = recipes.get(name)
    for classes in (2, 100):
        space = recipe.space.build(classes=classes)
        assert space.classes == classes
        for resolution in (*recipe.data.resolutions, *recipe.accuracy.resolutions):
            assert space.largest(resolution) in space


@EVERY
def test_every_phase_fits_the_space(name):
    recipe = recipes.get(name)
    phases.check_phases(recipe, classes=10)
    space = recipe.space.build(classes=10)
    for step, (kind, phase) in enumerate(recipe.phases):
        if kind != "teacher":
            drawn = sampling.archs_at(space, seed=0, step=step, subnets=phase.subnets, resolution=64, **phase.limits)
            assert all(arch in space for arch in drawn)


@pytest.mark.parametrize("name", ["imagenet", "imagenet_elastic"])
def test_schedule_of_the_paper(name):
    """CompOFA, section 4.1, and its code: epochs, warm-up, rates for 2048 images, subnets, distillation, dropout."""
    recipe = recipes.get(name)
    assert [(phase.epochs - phase.warmup_epochs, phase.warmup_epochs) for _, phase in recipe.phases] == [
        (180, 0), (25, 0), (120, 5)
    ]  # fmt: skip
    assert [phase.learning_rate for _, phase in recipe.phases] == [2.6, 0.08, 0.24]
    assert [phase.subnets for _, phase in recipe.phases] == [1, 4, 4]
    assert [phase.kd_ratio for _, phase in recipe.phases] == [0, 1, 1]
    assert [phase.sort_channels for _, phase in recipe.phases] == [None, 0, 0]
    assert dataclasses.astuple(recipe.optimizer) == (0.9, 3e-5, 0.1, 0.1)
    assert recipe.data.resolutions == tuple(range(128, 225, 4))
    teacher = phases.teacher_space(recipe, classes=1000)
    assert set(teacher.largest(224).kernels) == {7}
    assert teacher.largest(224).depths == (4,) * 5 and {*teacher.largest(224).expands} == {6}


def test_progressive_shrinking_as_published():
    """Epochs and warm-up, rates for 64 images, subnets per step, and what is sampled."""
    recipe = recipes.get("ofa_imagenet")
    space = recipe.space.build(classes=1000)
    assert [phase.epochs - phase.warmup_epochs for _, phase in recipe.phases] == [180, 120, 25, 120, 25, 120]
    rates = [phase.learning_rate * 64 / 2048 for _, phase in recipe.phases[1:]]
    assert rates == pytest.approx([3e-2, 2.5e-3, 7.5e-3, 2.5e-3, 7.5e-3])
    assert [phase.subnets for _, phase in recipe.phases] == [1, 1, 2, 2, 4, 4]
    assert [phase.sort_channels for _, phase in recipe.phases] == [None, None, None, None, 0, 1]
    found = []
    for _, phase in recipe.phases[1:]:
        drawn = [
            arch
            for step in range(40)
            for arch in sampling.archs_at(space, seed=1, step=step, subnets=2, resolution=128, **phase.limits)
        ]
        kept = [{*arch.expands} - {0} for arch in drawn], [{*arch.kernels} - {0} for arch in drawn]
        expands, kernels = (sorted(set().union(*values)) for values in kept)
        found.append((sorted({depth for arch in drawn for depth in arch.depths}), expands, kernels))
    assert found == [
        ([4], [6], [3, 5, 7]),
        ([3, 4], [6], [3, 5, 7]),
        ([2, 3, 4], [6], [3, 5, 7]),
        ([2, 3, 4], [4, 6], [3, 5, 7]),
        ([2, 3, 4], [3, 4, 6], [3, 5, 7]),
    ]


@pytest.fixture
def eagerly():
    """Without graphs: those of a family of 10^19 subnets take minutes, and compute the same (tests of the step)."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def of_a_step_per_phase(name: str) -> Recipe:
    """The recipe on four digits at its smallest resolution: one step in each phase, of at most two subnets."""
    recipe = recipes.get(name)
    side = min(recipe.data.resolutions)
    same = ["data.source=digits", "data.batch_size=4", f"data.resolutions={side}", f"accuracy.resolutions={side}"]
    for phase, settings in recipe.phases:
        same += [f"{phase}.epochs=1", f"{phase}.warmup_epochs=0", f"{phase}.subnets={min(settings.subnets, 2)}"]
    return recipe.override(same)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
@EVERY
def test_trains_a_step_in_every_phase(name, eagerly, monkeypatch, tmp_path):
    """As a user starts it but for the estimate, from the teacher to the files; every kernel has moved, no statistics.

    Of the batch norms some stay: where a block ends with a factor of 0, nothing before that has a gradient yet.
    """
    monkeypatch.setattr(estimate, "_time_steps", lambda *_: (1.0, 1.0))  # which would be four steps more a phase
    recipe = of_a_step_per_phase(name)
    digits = load("digits", recipe.data)
    four = dataclasses.replace(digits, train_ids=digits.train_ids[:4])
    net = ct.train(recipe, workdir=tmp_path, data=four)
    lines = WorkDir(tmp_path).metrics_file.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["phase"] for record in records] == [phase for phase, _ in recipe.phases]
    assert all(np.isfinite(record["loss"]) and record["learning_rate"] > 0 for record in records)
    fresh, trained = ct.Supernet(net.space, seed=recipe.seed).get_state(), net.get_state()
    changed = {key for key in fresh if not np.array_equal(fresh[key], trained[key])}
    assert {key for key in fresh if key.endswith("kernel")} <= changed
    assert not {key for key in changed if "moving" in key}
    assert ct.Supernet.load(tmp_path).space == net.space


def test_hashes_tell_the_recipes_apart():
    assert len({recipes.get(name).hash for name in recipes.names()}) == len(recipes.names())
