"""Loading a data set: found, checked, brought into a form that TensorFlow reads, and split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from compofa_tf.data import checking, sources, store
from compofa_tf.data.dataset import Data
from compofa_tf.data.images import Images
from compofa_tf.data.survey import Survey
from compofa_tf.normalization import Normalization
from compofa_tf.recipes.settings import DataSettings
from compofa_tf.workdir import WorkDir


def load(
    source: str,
    settings: DataSettings,
    *,
    seed: int = 0,
    workdir: str | Path | None = None,
    log: Callable[[str], None] | None = None,
) -> Data:
    """Loads a data set and checks that each of its pictures can be used.

    Pictures that TensorFlow cannot read, that a viewer would turn, or that are much larger than the recipe needs are
    brought into another form once, see ``store``; your own files stay as they are.

    Args:
      source: ``"digits"`` (1,797 handwritten digits, in the package), ``"folder:PATH"`` (class folders, see
        ``list_folder``), ``"csv:FILE"`` (a table, see ``list_csv``), ``"images:PATH"`` (pictures without classes, see
        ``list_images``) or ``"tfds:NAME"`` (TensorFlow Datasets, see ``list_tfds``).
      settings: The data part of a recipe; its own ``source`` is not looked at.
      seed: Decides the validation pictures of sources without a split of their own.
      workdir: Where ``data_index.json``, which spares a second run the check of unchanged files, and pictures in
        another form are kept; when absent, below ``~/.cache/compofa_tf``.
      log: Gets a line where long work begins.

    Raises:
      InputError: If the source is unknown, missing, not a set of two or more classes with pictures in each, or if more
        than the share ``settings.max_bad_share`` of its pictures cannot be used.
    """
    home = None if workdir is None else Path(workdir)
    listing, findings = sources.find(source, settings, workdir=home)
    sources.require_few_bad(listing, findings, settings.max_bad_share)
    folder = WorkDir(home or checking.cache_folder(listing)).prepared_pictures
    usable = store.usable(listing, findings, settings=settings, folder=folder, log=log)
    survey = Survey.split(source, listing, usable.findings, settings, seed=seed)
    train_ids, val_ids, test_ids = survey.ids
    return Data(
        name=listing.name,
        labels=listing.classes,
        normalization=Normalization.named(settings.normalization),
        skipped=survey.unusable,
        settings=settings,
        images=Images.of(usable, listing, cache=settings.cache),
        train_ids=train_ids,
        val_ids=val_ids,
        test_ids=test_ids,
        survey=dataclasses.replace(survey, findings=findings),
    )
