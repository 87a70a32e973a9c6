"""Every named recipe is complete: it loads, says in its notebook page what it is for, and survives JSON."""

from __future__ import annotations

import importlib
import json
import re

import pytest

from compofa_tf import recipes
from compofa_tf.recipe import Recipe

HEADINGS = ("Paper", "Command", "Hardware", "Time", "Expected", "Last run")
EVERY = pytest.mark.parametrize("name", recipes.names())


def page_of(name: str) -> str:
    return importlib.import_module(f"compofa_tf.recipes.{name}").__doc__


def test_the_recipes_that_the_readme_and_the_issues_speak_of_are_there():
    assert {"demo", "small", "cifar10", "imagenet"} <= set(recipes.names())


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


def test_hashes_tell_the_recipes_apart():
    assert len({recipes.get(name).hash for name in recipes.names()}) == len(recipes.names())
