"""A published checkpoint becomes a work directory, from which every other command goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from compofa_tf import recipes
from compofa_tf.data.card import require_named
from compofa_tf.data.survey import Survey
from compofa_tf.data.tree import nfc
from compofa_tf.errors import InputError
from compofa_tf.normalization import Normalization
from compofa_tf.pipeline.given import given_space
from compofa_tf.progress import say
from compofa_tf.published.recognition import KernelMatrices, supernet_of
from compofa_tf.published.torch_files import read_checkpoint
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import SpaceSettings
from compofa_tf.space import Space
from compofa_tf.workdir import WorkDir

_IMAGENET_CLASSES = 1000


def import_checkpoint(
    path: str | os.PathLike[str],
    *,
    workdir: str | os.PathLike[str],
    data: str | None = None,
    space: str | Space | None = None,
    kernel_matrices: KernelMatrices = "drop",
    overrides: Sequence[str] = (),
    labels: str | os.PathLike[str] | None = None,
) -> Any:
    """Reads a PyTorch checkpoint and writes ``recipe.json`` and ``supernet/`` as a finished training does.

    Args:
      path: The checkpoint; see ``import_torch``.
      workdir: Where to; must not hold another run.
      data: Data set for calibration and evaluation, ``folder:PATH`` or ``tfds:NAME``, whose classes are found by name
        among the labels; or ``images:PATH``, images without classes, for calibration alone. Without any, the
        ``imagenet`` recipe's source is kept for later.
      space: The space that the checkpoint is of, or a text that means one (``given_space``); recognised when absent.
      kernel_matrices: See ``import_torch``.
      overrides: Settings of the recipe, ``KEY=VALUE``.
      labels: Text file with a class name per line, in the order of the outputs. When absent, a checkpoint of 1,000
        classes is taken for one of ImageNet, whose classes are named by WordNet numbers in their order (``n01440764``,
        ...), and the classes of others have numbers.

    Returns:
      The ``Supernet``.

    Raises:
      InputError: If the checkpoint or the labels cannot be used, the data has none of the classes, or the directory is
        taken.
    """
    files = WorkDir(Path(workdir))
    if files.recipe_file.exists():
        raise InputError(f"{files.path} already holds a run; choose another --workdir.")
    tensors = read_checkpoint(path)
    chosen = given_space(space, tensors, kernel_matrices=kernel_matrices) if isinstance(space, str) else space
    net = supernet_of(tensors, space=chosen, kernel_matrices=kernel_matrices)
    source = [] if data is None else [f"data.source={data}"]
    recipe = recipe_for(net.space).override([*source, *overrides])
    names = labels_of(net.space, labels)
    survey = None if data is None else _survey(recipe, names)
    normalization = Normalization.named(recipe.data.normalization).to_json()
    only = f", the one subnet {net.space.id(net.only).partition('-')[2]} of it" if net.only else ""
    say(f"{'Recognised' if space is None else 'Took it for'} {net.space!r}{only}.")
    recipe.save(files.recipe_file)
    net.save(
        files.supernet,
        recipe_hash=recipe.hash,
        training_hash=recipe.training_hash,
        labels=names,
        normalization=normalization,
        imported_from=Path(path).name,
    )
    if survey is not None and survey.listing.classes:
        survey.card().save(files.data_card_file)
    return net


def recipe_for(space: Space) -> Recipe:
    """Returns the ``imagenet`` recipe for another space, named ``imported``."""
    names = [field.name for field in fields(SpaceSettings) if field.name != "family"]
    chosen = {name: space.arguments[name] for name in names if name in space.arguments}
    chosen = {name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()}
    imagenet = recipes.get("imagenet")
    teacher = replace(imagenet.teacher, kernels=())
    return replace(imagenet, name="imported", teacher=teacher, space=SpaceSettings(family=space.family, **chosen))


def labels_of(space: Space, path: str | os.PathLike[str] | None) -> list[str]:
    """Returns the class names in the order of the outputs, from a text file or as the checkpoint's authors have them.

    Raises:
      InputError: If the file cannot be read, or does not name every class once.
    """
    if path is None:
        return imagenet_classes() if space.classes == _IMAGENET_CLASSES else [str(i) for i in range(space.classes)]
    try:
        names = [nfc(line.strip()) for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The labels cannot be read as UTF-8 text ({error}). Received: labels={path}") from error
    if len(names) != space.classes or len(set(names)) != len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        raise InputError(
            f"The labels must name each of the checkpoint's {space.classes} classes once, a name per line. "
            f"Received: {len(names)} names in {path}" + (f", {twice!r} twice" if twice else "")
        )
    return names


def imagenet_classes() -> list[str]:
    """Returns the WordNet numbers of the 1,000 classes, sorted, as networks of PyTorch have them for outputs."""
    import tensorflow_datasets as tfds

    return sorted(tfds.builder("imagenet2012").info.features["label"].names)


def _survey(recipe: Recipe, labels: Sequence[str]) -> Survey:
    """What is known of the data of a recipe, which must have classes among the labels, or none at all."""
    survey = Survey.of(recipe.data.source, recipe.data, seed=recipe.seed)
    found = survey.listing.classes
    if found:
        require_named(labels, found, where="the checkpoint")
        new = [name for name in found if name not in set(labels)]
        if len(new) == len(found):
            raise InputError(
                f"None of the data's classes is one of the checkpoint's ({', '.join(labels[:3])}, ...); name those "
                f"with --labels FILE, or give images:PATH to calibrate alone. Received: {', '.join(found[:3])}"
            )
    return survey
