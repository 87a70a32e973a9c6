"""``Data``: a classification data set and its three pipelines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from compofa_tf.data import pipelines
from compofa_tf.data.images import Images
from compofa_tf.data.survey import Survey
from compofa_tf.errors import InputError, at_least
from compofa_tf.normalization import Normalization
from compofa_tf.progress import say
from compofa_tf.recipes.settings import DataSettings

_NAMED = 5


class PicturesLostError(InputError):
    """So many images can no longer be read that it makes no sense to go on."""


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
      val_ids: int64, positions of the validation images, which choose.
      test_ids: int64, positions of the test images, which judge what was chosen and serve nothing else; often none.
      survey: How the source was understood, if it was loaded from one.
    """

    name: str
    labels: tuple[str, ...]
    normalization: Normalization
    skipped: tuple[tuple[str, str], ...]
    settings: DataSettings
    images: Images
    train_ids: np.ndarray
    val_ids: np.ndarray
    test_ids: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    survey: Survey | None = None

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

    def bound_to(self, classes: Sequence[str], *, log: Callable[[str], None] = say) -> Data:
        """Returns the same images with labels that count in ``classes``, by class name.

        Images of classes that are not in ``classes`` are left out, and said; so are classes that have no image here.

        Args:
          classes: Class names in the order of a network's outputs.
          log: Gets the lines that say so.

        Raises:
          InputError: If no class is the same.
        """
        if tuple(classes) == self.labels:
            return self
        number = {name: i for i, name in enumerate(classes)}
        if not number.keys() & set(self.labels):
            raise InputError(
                f"The data has none of the classes of the network ({_some(classes)}). "
                f"Received: {self.name!r} with {_some(self.labels)}"
            )
        new = [name for name in self.labels if name not in number]
        gone = [name for name in classes if name not in self.labels]
        if new:
            log(f"Left out, for the network does not know them: {_some(new)}.")
        if gone:
            log(f"Without any picture here, so that nothing is said of them: {_some(gone)}.")
        labels = np.asarray([number.get(name, -1) for name in self.labels], np.int32)[self.images.labels]
        kept = {f"{role}_ids": ids[labels[ids] >= 0] for role, ids in self._ids.items()}
        images = dataclasses.replace(self.images, labels=labels)
        return dataclasses.replace(self, labels=tuple(classes), images=images, **kept)

    @property
    def _ids(self) -> dict[str, np.ndarray]:
        return {"train": self.train_ids, "val": self.val_ids, "test": self.test_ids}

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.train_ids)

    @property
    def val_size(self) -> int:
        """Number of validation images."""
        return len(self.val_ids)

    @property
    def test_size(self) -> int:
        """Number of test images."""
        return len(self.test_ids)

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
            self._replaced(self.train_ids),
            settings=self.settings,
            normalization=self.normalization,
            batch_size=batch_size,
            start_step=start_step,
            steps=steps,
            resolutions=resolutions,
            seed=seed,
        )

    def ids_of(self, role: str, *, some: bool = True) -> np.ndarray:
        """Returns the positions of the images of a role, ``"train"``, ``"val"`` or ``"test"``.

        Args:
          role: The role.
          some: Whether it is an error if there are none, as of a test that nobody set aside.

        Raises:
          InputError: If there must be some.
        """
        ids = self._ids[role]
        if some and not len(ids):
            raise InputError(
                f"There are no {role} images; give data with a {role} split, or set data.{role}_fraction before "
                f"training. Received: {self.name!r}"
            )
        return ids

    def eval(self, *, resolution: int, batch_size: int, limit: int | None = None, role: str = "val") -> tf.data.Dataset:
        """Returns the validation images in fixed order, the last batch possibly smaller.

        See ``inputs.eval_geometry`` for the rule of resizing and cropping.

        Args:
          resolution: Side in pixels.
          batch_size: Images per batch.
          limit: If given, a fixed subset of that many images, with the same shares of the classes as in the whole.
          role: ``"val"``, or ``"test"`` for the images that judge.

        Raises:
          InputError: If a count is not positive, the images have no classes, or there are none of the role.
        """
        at_least(1, resolution=resolution, batch_size=batch_size, limit=1 if limit is None else limit)
        self.require_labels("Evaluation")
        return self._evaluated(self._eval_ids(role, limit), resolution, batch_size)

    def eval_labels(self, *, limit: int | None = None, role: str = "val") -> np.ndarray:
        """Returns the labels of the images of ``eval``, in their order: int32 ``[count]``."""
        ids = self._eval_ids(role, limit)
        found: np.ndarray = self.images.labels[ids[~np.isin(ids, list(self.images.broken))]]
        return found

    def _eval_ids(self, role: str, limit: int | None) -> np.ndarray:
        ids = self.ids_of(role)
        return ids if limit is None else np.sort(_sample(ids, self.images.labels, limit, seed=0))

    def calibration(self, *, resolution: int, batch_size: int, count: int, seed: int = 0) -> tf.data.Dataset:
        """Returns training images with the preprocessing of ``eval``, classes mixed.

        Classes have the shares that they have in training: batch-norm statistics and ranges of activations are those of
        the pictures that a network sees, and in training it saw them in these shares.

        Args:
          resolution: Side in pixels.
          batch_size: Images per batch; the last one may be smaller.
          count: Number of images; all, if there are not so many.
          seed: Decides which ones.
        """
        at_least(1, resolution=resolution, batch_size=batch_size, count=count)
        ids = _sample(self.train_ids, self.images.labels, count, seed=seed)
        return self._evaluated(ids, resolution, batch_size)

    def mend(self, *, batch_size: int, seed: int, step: int) -> list[tuple[str, str]]:
        """Finds the images of a training batch that cannot be read any more; the next ones take their places.

        After it, ``train`` gives batches without them.

        Args:
          batch_size: As for ``train``.
          seed: As for ``train``.
          step: The step whose batch could not be made.

        Returns:
          (name, reason) of the images that broke; empty if that is not why.

        Raises:
          PicturesLostError: If more than the share ``settings.max_bad_share`` of all images broke.
        """
        ids = self._replaced(self.train_ids)
        found = self.images.look_again(pipelines.ids_at(ids, batch_size=batch_size, step=step, seed=seed), every=True)
        self._require_few_broken()
        return found

    def _require_few_broken(self) -> None:
        broken, limit = self.images.broken, self.settings.max_bad_share
        if len(broken) > max(1, limit * self.images.labels.size):
            some = "; ".join(f"{name} ({reason})" for name, reason in list(broken.values())[:_NAMED])
            raise PicturesLostError(
                f"{len(broken)} images can no longer be read, more than the {limit:.1%} that data.max_bad_share "
                f"allows: {some}; bring them back and run the same command again."
            )

    def _replaced(self, ids: np.ndarray) -> np.ndarray:
        """The images, each that broke replaced by the next one that did not."""
        broken = np.isin(ids, list(self.images.broken))
        if not broken.any():
            return ids
        good = np.flatnonzero(~broken)
        if not len(good):
            raise PicturesLostError(f"None of the training images of {self.name!r} can be read any more.")
        return ids[good[np.searchsorted(good, np.arange(len(ids))) % len(good)]]

    def _evaluated(self, ids: np.ndarray, resolution: int, batch_size: int) -> tf.data.Dataset:
        for name, reason in self.images.look_again(ids):
            say(f"Left out from now on: {name} ({reason}).")
        self._require_few_broken()
        ids = ids[~np.isin(ids, list(self.images.broken))]
        return pipelines.eval_dataset(
            self.images, ids, normalization=self.normalization, resolution=resolution, batch_size=batch_size
        )


def _sample(ids: np.ndarray, labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Returns ``count`` of ``ids`` in random order; of each class its share, rounded up or down."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(ids)
    if count >= len(ids):
        return shuffled
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # Evenly spaced along the classes, from a random start.
    places = (np.arange(count) + rng.random()) * (len(ids) / count)
    return rng.permutation(by_class[places.astype(np.int64)])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
