"""``Data``: a classification data set and its three pipelines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from compofa_tf.data import pipelines
from compofa_tf.data.images import Images
from compofa_tf.data.normalization import Normalization
from compofa_tf.errors import InputError, at_least
from compofa_tf.recipes.settings import DataSettings


@dataclass(frozen=True, eq=False)
class Data:
    """A classification data set: who is in it, and three pipelines over it.

    Made by ``data.load``. All pipelines give pairs of float32 images ``[batch, resolution, resolution, 3]``,
    normalised, and int32 labels ``[batch]``.

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
          InputError: If a count is not positive, or the images have no classes.
          ValueError: If there are fewer resolutions than steps.
        """
        at_least(1, batch_size=batch_size, steps=steps)
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
        at_least(1, resolution=resolution, batch_size=batch_size, limit=1 if limit is None else limit)
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
        at_least(1, resolution=resolution, batch_size=batch_size, count=count)
        ids = _balanced(self.train_ids, self.images.labels, count, seed=seed)
        return self._evaluated(ids, resolution, batch_size)

    def _evaluated(self, ids: np.ndarray, resolution: int, batch_size: int) -> tf.data.Dataset:
        return pipelines.eval_dataset(
            self.images, ids, normalization=self.normalization, resolution=resolution, batch_size=batch_size
        )


def _balanced(ids: np.ndarray, labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Returns ``count`` of ``ids`` in random order, the classes taking turns."""
    shuffled = np.random.default_rng(seed).permutation(ids)
    by_class = np.argsort(labels[shuffled], kind="stable")
    starts = np.searchsorted(labels[shuffled][by_class], labels[shuffled][by_class])
    turn = np.empty(len(ids), np.int64)
    turn[by_class] = np.arange(len(ids)) - starts
    return shuffled[np.argsort(turn, kind="stable")][:count]
