"""Accuracy class by class: recall, balanced accuracy, and what is taken for what. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compofa_tf.errors import InputError

MOST_CONFUSIONS = 20
"""Pairs of classes that are listed at most."""


@dataclass(frozen=True, eq=False)
class PerClass:
    """What was taken for what.

    Attributes:
      labels: Class names.
      confusion: int64 ``[classes, classes]``: pictures of a class (row) that were put into a class (column).
    """

    labels: tuple[str, ...]
    confusion: np.ndarray

    @classmethod
    def of(cls, labels: Sequence[str], true: np.ndarray, predicted: np.ndarray) -> PerClass:
        """Counts the answers to pictures.

        Args:
          labels: Class names.
          true: Class of each picture, integers ``[count]``.
          predicted: Class that it was put into, likewise.
        """
        if not len(true):
            raise InputError("Evaluation needs at least one image. Received: an empty dataset")
        size = len(labels)
        pairs = np.bincount(np.asarray(true, np.int64) * size + np.asarray(predicted, np.int64), minlength=size * size)
        return cls(tuple(labels), pairs.reshape(size, size))

    @property
    def counts(self) -> np.ndarray:
        """Pictures of each class."""
        return self.confusion.sum(axis=1)

    @property
    def recall(self) -> np.ndarray:
        """Share of the pictures of each class that were put into it; NaN for a class without pictures."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.diag(self.confusion) / self.counts

    @property
    def balanced(self) -> float:
        """Balanced accuracy: the mean recall of the classes that have pictures."""
        return float(np.nanmean(self.recall))

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """(class, class that it was taken for, pictures), the most frequent first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
        pairs = [divmod(int(i), len(self.labels)) for i in order]
        return [(self.labels[a], self.labels[b], int(wrong[a, b])) for a, b in pairs if wrong[a, b]]

    def to_json(self) -> dict[str, Any]:
        """Returns what a sidecar holds: JSON-serialisable, null where a class has no pictures."""
        recall = {name: None if np.isnan(r) else float(r) for name, r in zip(self.labels, self.recall)}
        return {
            "balanced_accuracy": self.balanced,
            "recall": recall,
            "counts": dict(zip(self.labels, self.counts.tolist())),
            "confusions": [list(row) for row in self.confusions],
        }

    def __str__(self) -> str:
        """A table, the classes of the lowest recall first, and the most frequent confusions."""
        width = max(5, *map(len, self.labels))
        lines = [f"{'class':{width}}  pictures  recall"]
        for i in np.argsort(self.recall, kind="stable"):
            share = "-" if np.isnan(self.recall[i]) else f"{self.recall[i]:.1%}"
            lines.append(f"{self.labels[i]:{width}}  {self.counts[i]:8,}  {share:>6}")
        lines.append(f"balanced accuracy {self.balanced:.2%}")
        if self.confusions:
            listed = ", ".join(f"{a} for {b} {count:,}" for a, b, count in self.confusions[:5])
            lines.append(f"Most often taken (a class for another): {listed}")
        return "\n".join(lines)


def balanced_accuracy(right: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the mean recall over the classes that have pictures.

    Args:
      right: bool ``[..., count]``, which pictures were answered rightly.
      labels: Class of each picture, integers ``[count]``.

    Returns:
      float64 ``[...]``.
    """
    counts = np.bincount(labels)
    weights = 1 / (counts[labels] * np.count_nonzero(counts))
    return np.asarray(right, np.float64) @ weights
