"""The space that a user gives for a checkpoint: settings as text, or the file of another run."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf import families, files
from compofa_tf.errors import InputError, did_you_mean
from compofa_tf.published.recognition import KernelMatrices, classes_of, recognise
from compofa_tf.recipes import fields
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import SpaceSettings
from compofa_tf.space import Space
from compofa_tf.workdir import SUPERNET_NAME, WorkDir

KINDS_WITH_SPACE = ("supernet", "recipe", "front", "latency_table", "accuracy_table")
"""Kinds of JSON files that name a space."""


def given_space(text: str, tensors: Mapping[str, np.ndarray], *, kernel_matrices: KernelMatrices = "drop") -> Space:
    """Returns the space that a text means for a checkpoint.

    Args:
      text: Settings, ``"coupling=independent,kernel=elastic"``: those of the recognised space are changed, or those of
        a family of their own when ``family=`` names another one. Or the path of a work directory, or of a JSON file
        that names a space: ``recipe.json``, ``supernet.json``, a front, a table.
      tensors: The checkpoint, from ``read_checkpoint``: its number of classes, and what is recognised in it.
      kernel_matrices: See ``import_torch``.

    Raises:
      InputError: For an unknown setting (near matches are named), a value of the wrong type, or a file without a space.
    """
    if Path(text).exists():
        return _space_in(Path(text), tensors)
    if "=" not in text:
        hint = did_you_mean(f"family={text}", [f"family={name}" for name in families.names()], count=1, cutoff=0.75)
        raise InputError(
            "A space is given as settings, or as the path of a work directory or of the JSON file of one; "
            f"{hint} Received: --space {text}"
        )
    return _from_settings(_parsed(text), tensors, kernel_matrices)


def _parsed(text: str) -> dict[str, Any]:
    """The settings in a text; a part without an equals sign goes on with the list before it."""
    hints = {**typing.get_type_hints(SpaceSettings), "classes": int}
    texts: dict[str, str] = {}
    key = ""
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals and key:
            texts[key] += f",{name}"
            continue
        key = name
        if key not in hints or not equals:
            raise InputError(fields.unknown(key, list(hints)))
        if key in texts:
            raise InputError(f"--space has two values for {key}; only one can be meant. Received: --space {text}")
        texts[key] = value
    found = {key: fields.parse(value, hints[key], key) for key, value in texts.items()}
    family = found.get("family")
    if family is not None and family not in families.names():
        hint = did_you_mean(family, families.names(), count=1, cutoff=0.4)
        raise InputError(f"There is no such family; {hint} Received: family={family}")
    return found


def _from_settings(
    settings: dict[str, Any], tensors: Mapping[str, np.ndarray], kernel_matrices: KernelMatrices
) -> Space:
    family = settings.pop("family", None)
    try:
        recognised = recognise(tensors, kernel_matrices=kernel_matrices)
    except InputError:
        if family is None:
            raise
    else:
        if family in (None, recognised.family):
            return families.get(recognised.family, **{**recognised.arguments, **settings})
    return families.get(family, **{"classes": classes_of(tensors, family), **settings})


def _space_in(path: Path, tensors: Mapping[str, np.ndarray]) -> Space:
    if path.is_dir():
        places = [WorkDir(path).supernet_file, path / SUPERNET_NAME, WorkDir(path).recipe_file]
        file = next((place for place in places if place.exists()), None)
        if file is None:
            raise InputError(f"{path} is no work directory: it has no recipe.json; give another --space.")
        path = file
    kind = _kind_of(path)
    content = files.read_json(path, kind=kind)
    if kind == "recipe":
        settings = Recipe.from_json(content.get("recipe", {})).space
        return settings.build(classes=classes_of(tensors, settings.family))
    return families.from_json(content.get("space"))


def _kind_of(path: Path) -> str:
    """The kind that a JSON file says it is; ``"recipe"``, which it is not, if it says none of those with a space."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return "recipe"
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if kind in KINDS_WITH_SPACE else "recipe"
