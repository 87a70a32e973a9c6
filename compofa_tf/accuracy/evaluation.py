"""Accuracy of a subnet, a Keras model or a ``.tflite`` file through one code path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compofa_tf.accuracy import models
from compofa_tf.accuracy.per_class import PerClass
from compofa_tf.errors import InputError
from compofa_tf.nets.supernet import Supernet
from compofa_tf.space import Arch
from compofa_tf.statistics import wilson_interval

LAST = 255
"""The place of a label that comes so late or later, or whose scores are not numbers."""


@dataclass(frozen=True)
class Accuracy:
    """What an evaluation found.

    Attributes:
      top1: Share of images whose label came first, in [0, 1].
      top5: Share of images whose label was among the first five (all classes where there are fewer).
      count: Number of images.
    """

    top1: float
    top5: float
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of ``top1`` (Wilson)."""
        return wilson_interval(self.top1, self.count)

    def to_json(self) -> dict[str, float | int]:
        """Returns a JSON-serialisable mapping, interval included."""
        low, high = self.interval
        return {**asdict(self), "low": low, "high": high}

    def __str__(self) -> str:
        """One line for people."""
        low, high = self.interval
        return (
            f"top-1 {self.top1:.2%} (95 % interval {low:.2%} to {high:.2%}), top-5 {self.top5:.2%}, {self.count} images"
        )


def evaluate(model: Any, dataset: Iterable[Any], *, arch: Arch | None = None, threads: int = 1) -> Accuracy:
    """Returns the accuracy of anything that classifies.

    Args:
      model: A ``Supernet`` (with ``arch``; its stored batch-norm statistics are used, so calibrate first), a Keras
        model, a ``Classifier``, or the path of a ``.keras`` or ``.tflite`` file.
      dataset: Batches ``(images, labels)``: normalised float32 ``[batch, height, width, 3]`` and integers ``[batch]``.
      arch: The subnet of the supernet; for nothing else.
      threads: Threads of the LiteRT runtime, for a ``.tflite`` file.

    Raises:
      InputError: If the model is of no known kind, a label has no output, or there are no images.
    """
    return accuracy_of(evaluate_each(model, dataset, arch=arch, threads=threads))


def accuracy_of(ranks: np.ndarray) -> Accuracy:
    """Returns the accuracy that the places of the labels (``ranks_of``) make."""
    first, among_five, count = (int(number) for number in count_correct(ranks))
    if not count:
        raise InputError("Evaluation needs at least one image. Received: an empty dataset")
    return Accuracy(first / count, among_five / count, count)


def judged(
    labels: Sequence[str], batches: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[Accuracy, PerClass, np.ndarray]:
    """Returns accuracy, confusion and right or wrong of each image, from one pass.

    Args:
      labels: Class names.
      batches: Scores and labels of each batch (``logits_of``).

    Returns:
      The third is bool ``[images]``.
    """
    ranks, true, predicted = [], [], []
    for scores, own in batches:
        ranks.append(ranks_of(scores, own))
        true.append(own)
        first, last = scores.argmax(axis=-1), scores.shape[-1] - 1 - scores[:, ::-1].argmax(axis=-1)
        predicted.append(np.where((first == own) & (ranks[-1] > 0), last, first))  # a tie is no right answer
    found = accuracy_of(np.concatenate([np.zeros(0, np.uint8), *ranks]))
    return found, PerClass.of(labels, np.concatenate(true), np.concatenate(predicted)), np.concatenate(ranks) < 1


def evaluate_each(model: Any, dataset: Iterable[Any], *, arch: Arch | None = None, threads: int = 1) -> np.ndarray:
    """Returns at which place the label of each image came (``ranks_of``), in their order; see ``evaluate``."""
    batches = logits_of(model, dataset, arch=arch, threads=threads)
    return np.concatenate([np.zeros(0, np.uint8), *(ranks_of(logits, labels) for logits, labels in batches)])


def logits_of(
    model: Any, dataset: Iterable[Any], *, arch: Arch | None = None, threads: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields scores ``[batch, classes]``, logits or probabilities, and the labels of each batch; see ``evaluate``."""
    predict = _predictor(model, arch, threads)
    for images, labels in dataset:
        logits, own = np.asarray(predict(images)), np.asarray(labels)
        if len(own) and own.max() >= logits.shape[-1]:
            raise InputError(
                f"The model has {logits.shape[-1]} outputs, and the data has a label {own.max()}; evaluate it on data "
                "with its own classes."
            )
        yield logits, own


def _predictor(model: Any, arch: Arch | None, threads: int) -> Callable[[Any], Any]:
    if isinstance(model, Supernet):
        if arch is None:
            raise InputError("A supernet is evaluated as one of its subnets: give arch. Received: arch=None")
        code = tf.constant(model.space.encode(arch))
        return lambda images: model.inference_function(images, code)
    if isinstance(model, models.Classifier):
        return model.predict
    if arch is not None:
        raise InputError(f"arch goes with a Supernet only. Received: {type(model).__name__}")
    if isinstance(model, (str, os.PathLike)):
        return models.open_model(model, threads=threads).predict
    if not isinstance(model, keras.Model):
        raise InputError(f"A Supernet, a Keras model or a file is evaluated. Received: {type(model).__name__}")
    return tf.function(lambda images: model(images, training=False), reduce_retracing=True)


def ranks_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns at which place the label of each image came: uint8 ``[count]``, 0 for the first, 255 for that and behind.

    A label that shares its score with others ranks behind all of them, so that a constant output earns nothing; where a
    score is not finite the label comes last.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    rank = np.minimum((logits >= own).sum(axis=1) - 1, LAST)
    return np.where(np.isfinite(logits).all(axis=1), rank, LAST).astype(np.uint8)


def count_correct(ranks: np.ndarray) -> np.ndarray:
    """Returns how many labels came first, came among the first five, and there are: int64 ``[3]``."""
    return np.array([(ranks < 1).sum(), (ranks < 5).sum(), len(ranks)], np.int64)
