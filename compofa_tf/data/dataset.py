"""``Data``: a classification data set and its pipelines; ``load``: from a source's name to ``Data``."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from compofa_tf.data import pipelines
from compofa_tf.data.folders import list_folder, list_images
from compofa_tf.data.images import Images, Listing, prepare
from compofa_tf.data.normalization import Normalization
from compofa_tf.data.tfds_images import list_tfds
from compofa_tf.errors import InputError

if TYPE_CHECKING:
    from compofa_tf.recipes.settings import DataSettings

_FORMS = '"digits", "folder:PATH", "images:PATH" or "tfds:NAME"'
_NAMED_SKIPS = 3


@dataclass(frozen=True, eq=False)
class Data:
    """A classification data set: who is in it, and three pipelines over it.

    Made by ``load``. All pipelines give pairs of float32 images ``[batch, resolution, resolution, 3]``, normalised, and
    int32 labels ``[batch]``.

    Attributes:
      name: Short name of the data set.
      labels: Class names; a label is a position in it. Empty for images without classes.
      normalization: How pixels become inputs.
      skipped: (name, reason) of every image that could not be decoded.
      settings: The settings that it was loaded with.
      images: All images.
      train_ids: int64, positions of the training images in ``images``.
      val_ids: int64, positions of the validation images.
    """

    name: str
    labels: tuple[str, ...]
    normalization: Normalization
    skipped: tuple[tuple[str, str], ...]
    settings: DataSettings
    images: Images
    train_ids: np.ndarray
    val_ids: np.ndarray

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether the images have classes; without, they serve for calibration alone."""
        return bool(self.labels)

    def require_labels(self, purpose: str) -> None:
        """Raises ``InputError`` that says what classes are needed for, unless there are some."""
        if not self.labelled:
            raise InputError(
                f"{purpose} needs images with classes; give folder:PATH or tfds:NAME as the data. "
                f"Received: {self.name!r}, images without classes"
            )

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.train_ids)

    @property
    def val_size(self) -> int:
        """Number of validation images."""
        return len(self.val_ids)

    def train(
        self, *, batch_size: int, steps: int, resolutions: np.ndarray, seed: int, start_step: int = 0
    ) -> tf.data.Dataset:
        """Returns augmented training batches, a pure function of (seed, step).

        Each epoch is a fresh permutation of the training images; batches are consecutive pieces of the endless row of
        permutations, so that one batch may hold the end of an epoch and the beginning of the next, and all are full.

        Args:
          batch_size: Images per step, over all replicas.
          steps: Number of batches to give.
          resolutions: int ``[>= start_step + steps]``, side in pixels of each step's batch, counted from step 0.
          seed: Seed of the run.
          start_step: Step of the first batch: the dataset gives exactly what an uninterrupted run gets from there on.

        Raises:
          ValueError: If there are fewer resolutions than steps, or a count is not positive.
        """
        _require_positive(batch_size=batch_size, steps=steps)
        self.require_labels("Training")
        resolutions = np.asarray(resolutions, np.int32)
        if start_step < 0 or start_step + steps > len(resolutions):
            raise ValueError(
                f"Every step needs its resolution. Received: start_step={start_step}, steps={steps}, "
                f"{len(resolutions)} resolutions"
            )
        return pipelines.train_dataset(
            self.images,
            self.train_ids,
            settings=self.settings,
            normalization=self.normalization,
            batch_size=batch_size,
            start_step=start_step,
            steps=steps,
            resolutions=resolutions,
            seed=seed,
        )

    def eval(self, *, resolution: int, batch_size: int, limit: int | None = None) -> tf.data.Dataset:
        """Returns the validation images in fixed order, the last batch possibly smaller.

        See ``pipelines.eval_geometry`` for the rule of resizing and cropping.

        Args:
          resolution: Side in pixels.
          batch_size: Images per batch.
          limit: If given, a fixed subset of that many images, with equal numbers per class as far as possible.
        """
        _require_positive(resolution=resolution, batch_size=batch_size, limit=1 if limit is None else limit)
        self.require_labels("Evaluation")
        ids = self.val_ids
        if limit is not None:
            ids = np.sort(_balanced(ids, self.images.labels, limit, seed=0))
        return self._evaluated(ids, resolution, batch_size)

    def calibration(self, *, resolution: int, batch_size: int, count: int, seed: int = 0) -> tf.data.Dataset:
        """Returns training images with the preprocessing of ``eval``, classes mixed.

        Args:
          resolution: Side in pixels.
          batch_size: Images per batch; the last one may be smaller.
          count: Number of images, with equal numbers per class as far as possible; all, if there are not so many.
          seed: Decides which ones.
        """
        _require_positive(resolution=resolution, batch_size=batch_size, count=count)
        ids = _balanced(self.train_ids, self.images.labels, count, seed=seed)
        return self._evaluated(ids, resolution, batch_size)

    def _evaluated(self, ids: np.ndarray, resolution: int, batch_size: int) -> tf.data.Dataset:
        return pipelines.eval_dataset(
            self.images, ids, normalization=self.normalization, resolution=resolution, batch_size=batch_size
        )


def load(source: str, settings: DataSettings, *, seed: int = 0, workdir: str | Path | None = None) -> Data:
    """Loads a data set and checks that each of its images can be decoded.

    Args:
      source: ``"digits"`` (1,797 handwritten digits, in the package), ``"folder:PATH"`` (class folders of JPEG or PNG,
        see ``list_folder``), ``"images:PATH"`` (images without classes, see ``list_images``) or ``"tfds:NAME"``
        (TensorFlow Datasets, see ``list_tfds``).
      settings: The data part of a recipe; its own ``source`` is not looked at.
      seed: Decides the validation images of sources without a split of their own.
      workdir: Where ``data_index.json`` is kept, which spares a second run the check of unchanged files.

    Raises:
      InputError: If the source is unknown, missing, not a set of two or more classes with images in each, or if more
        than the share ``settings.max_bad_share`` of its images cannot be decoded.
    """
    workdir = None if workdir is None else Path(workdir)
    kind, _, rest = source.partition(":")
    if source == "digits":
        listing = _list_digits()
    elif kind == "folder" and rest:
        listing = list_folder(rest)
    elif kind == "images" and rest:
        listing = list_images(rest)
    elif kind == "tfds" and rest:
        listing = list_tfds(rest, cache=settings.cache, workdir=workdir)
    else:
        raise InputError(f"A data source is {_FORMS}{_hint(source)}. Received: source={source!r}")
    images = prepare(listing, cache=settings.cache, workdir=workdir)
    _require_few_bad(images, settings.max_bad_share)
    train_ids, val_ids = _split(listing, images, settings.val_fraction, seed)
    return Data(
        name=listing.name,
        labels=listing.classes,
        normalization=Normalization.named(settings.normalization),
        skipped=images.skipped,
        settings=settings,
        images=images,
        train_ids=train_ids,
        val_ids=val_ids,
    )


def _list_digits() -> Listing:
    with resources.as_file(resources.files("compofa_tf.data") / "digits.npz") as path, np.load(path) as stored:
        pixels, labels, val = stored["images"], stored["labels"], stored["val"]
    grey = np.round(pixels * (255 / 16)).astype(np.uint8)
    return Listing(
        name="digits",
        classes=tuple("0123456789"),
        items=[tf.io.encode_png(image[..., None]).numpy() for image in grey],
        names=[f"digits/{i}" for i in range(len(grey))],
        labels=labels.astype(np.int32),
        val=val,
    )


def _hint(source: str) -> str:
    if Path(source).expanduser().is_dir():
        return f"; for that folder write folder:{source}"
    near = difflib.get_close_matches(source.partition(":")[0].lower(), ("digits", "folder", "images", "tfds"), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _require_few_bad(images: Images, limit: float) -> None:
    bad, count = len(images.skipped), len(images.labels)
    if bad <= limit * count:
        return
    named = "; ".join(f"{name} ({reason})" for name, reason in images.skipped[:_NAMED_SKIPS])
    more = f"; and {bad - _NAMED_SKIPS} more" if bad > _NAMED_SKIPS else ""
    raise InputError(
        f"{bad} of {count} images ({bad / count:.1%}) cannot be decoded, more than the {limit:.1%} that "
        f"data.max_bad_share allows: {named}{more}; mend or remove them, or raise the limit."
    )


def _split(listing: Listing, images: Images, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of the readable training and validation images."""
    good = images.heights > 0
    val = listing.val
    if not listing.classes:
        if not good.any():
            raise InputError("There is no usable image.")
        return np.flatnonzero(good), np.zeros(0, np.int64)
    if val is None:
        val = np.zeros(len(good), bool)
        for label, name in enumerate(listing.classes):
            members = np.flatnonzero(good & (images.labels == label))
            if len(members) < 2:
                raise InputError(
                    f"Class {name!r} has {len(members)} usable image(s); training and validation need one each."
                )
            # By hash, so that an image keeps its side when others come or go.
            order = sorted(members, key=lambda i: _hash(f"{seed}/{listing.names[int(i)]}"))
            val[order[: min(max(1, round(len(members) * fraction)), len(members) - 1)]] = True
    for split, chosen in (("training", good & ~val), ("validation", good & val)):
        present = np.bincount(images.labels[chosen], minlength=len(listing.classes))
        if split == "training" and not present.all():
            raise InputError(
                f"Class {listing.classes[int(present.argmin())]!r} has no usable training image; add some."
            )
        if not chosen.any():
            raise InputError(f"There is no usable {split} image.")
    return np.flatnonzero(good & ~val), np.flatnonzero(good & val)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _balanced(ids: np.ndarray, labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Returns ``count`` of ``ids`` in random order, the classes taking turns."""
    shuffled = np.random.default_rng(seed).permutation(ids)
    by_class = np.argsort(labels[shuffled], kind="stable")
    starts = np.searchsorted(labels[shuffled][by_class], labels[shuffled][by_class])
    turn = np.empty(len(ids), np.int64)
    turn[by_class] = np.arange(len(ids)) - starts
    return shuffled[np.argsort(turn, kind="stable")][:count]


def _require_positive(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {name}={value}")
