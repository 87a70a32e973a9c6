"""A published checkpoint becomes a work directory, from which every other command goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from compofa_tf import recipes
from compofa_tf.data import load
from compofa_tf.data.normalization import Normalization
from compofa_tf.errors import InputError
from compofa_tf.pipeline.given import given_space
from compofa_tf.progress import say
from compofa_tf.published.recognition import KernelMatrices, supernet_of
from compofa_tf.published.torch_files import read_checkpoint
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import SpaceSettings
from compofa_tf.space import Space
from compofa_tf.workdir import WorkDir


def import_checkpoint(
    path: str | os.PathLike[str],
    *,
    workdir: str | os.PathLike[str],
    data: str | None = None,
    space: str | Space | None = None,
    kernel_matrices: KernelMatrices = "drop",
    overrides: Sequence[str] = (),
) -> Any:
    """Reads a PyTorch checkpoint and writes ``recipe.json`` and ``supernet/`` as a finished training does.

    Args:
      path: The checkpoint; see ``import_torch``.
      workdir: Where to; must not hold another run.
      data: Data set for calibration and evaluation, ``folder:PATH`` or ``tfds:NAME``, whose classes in their order are
        the checkpoint's; or ``images:PATH``, images without classes, for calibration alone. Labels are numbers with
        those and without any data; then the ``imagenet`` recipe's source is kept for later.
      space: The space that the checkpoint is of, or a text that means one (``given_space``); recognised when absent.
      kernel_matrices: See ``import_torch``.
      overrides: Settings of the recipe, ``KEY=VALUE``.

    Returns:
      The ``Supernet``.

    Raises:
      InputError: If the checkpoint cannot be used, the data has other classes, or the directory is taken.
    """
    files = WorkDir(Path(workdir))
    if files.recipe_file.exists():
        raise InputError(f"{files.path} already holds a run; choose another --workdir.")
    tensors = read_checkpoint(path)
    chosen = given_space(space, tensors, kernel_matrices=kernel_matrices) if isinstance(space, str) else space
    net = supernet_of(tensors, space=chosen, kernel_matrices=kernel_matrices)
    source = [] if data is None else [f"data.source={data}"]
    recipe = recipe_for(net.space).override([*source, *overrides])
    labels = _numbers(net.space) if data is None else _labels(recipe, net.space)
    normalization = Normalization.named(recipe.data.normalization).to_json()
    only = f", the one subnet {net.space.id(net.only).partition('-')[2]} of it" if net.only else ""
    say(f"{'Recognised' if space is None else 'Took it for'} {net.space!r}{only}.")
    recipe.save(files.recipe_file)
    net.save(
        files.supernet,
        recipe_hash=recipe.hash,
        training_hash=recipe.training_hash,
        labels=labels,
        normalization=normalization,
        imported_from=Path(path).name,
    )
    return net


def recipe_for(space: Space) -> Recipe:
    """Returns the ``imagenet`` recipe for another space, named ``imported``."""
    names = [field.name for field in fields(SpaceSettings) if field.name != "family"]
    chosen = {name: space.arguments[name] for name in names if name in space.arguments}
    chosen = {name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()}
    imagenet = recipes.get("imagenet")
    teacher = replace(imagenet.teacher, kernels=())
    return replace(imagenet, name="imported", teacher=teacher, space=SpaceSettings(family=space.family, **chosen))


def _numbers(space: Space) -> list[str]:
    """Labels where there is nothing to name the classes by."""
    return [str(number) for number in range(space.classes)]


def _labels(recipe: Recipe, space: Space) -> list[str]:
    """Labels of the data of a recipe, which must have the classes of the space."""
    found = load(recipe.data.source, recipe.data)
    if not found.labelled:
        return _numbers(space)
    if len(found.labels) != space.classes:
        raise InputError(
            f"The checkpoint has {space.classes} classes, {recipe.data.source} has {len(found.labels)}; give the data "
            "set that it was trained on, or images:PATH to calibrate on images without classes."
        )
    return list(found.labels)
