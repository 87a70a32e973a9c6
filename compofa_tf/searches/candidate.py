"""What a search chooses from: a subnet at one resolution, with its accuracies and its latency. No TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compofa_tf.accuracy.table import AccuracyRecord
from compofa_tf.space import Arch
from compofa_tf.statistics import wilson_interval


@dataclass(frozen=True)
class Candidate:
    """A subnet at one resolution, with what is known about it.

    Attributes:
      id: Its name (``Space.id``).
      arch: The subnet, resolution included.
      top1: Top-1 accuracy of the float subnet, in [0, 1]: measured if ``count`` is positive, else predicted.
      count: Images behind ``top1``; 0 for an accuracy that was predicted.
      predicted_ms: Latency by the latency table, from measured pieces: not a measurement of this subnet.
      balanced: Balanced accuracy on the same images, where that is the objective.
      whole: Its accuracies on all pictures of the role, where ``count`` are a part of them and they were measured too.
    """

    id: str
    arch: Arch
    top1: float
    count: int
    predicted_ms: float
    balanced: float | None = None
    whole: AccuracyRecord | None = None

    @property
    def score(self) -> float:
        """What the search makes as large as it can: ``balanced`` if that is known, else ``top1``."""
        return self.top1 if self.balanced is None else self.balanced

    @property
    def whole_score(self) -> float | None:
        """The same on all pictures; None where that was not measured."""
        if self.whole is None:
            return None
        return self.whole.top1 if self.balanced is None else self.whole.balanced

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of a measured ``top1``; of a predicted one nothing is known but the value."""
        return wilson_interval(self.top1, self.count) if self.count else (self.top1, self.top1)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable mapping."""
        low, high = self.interval
        measured: dict[str, Any] = {"top1": self.top1, "low": low, "high": high, "count": self.count}
        if self.balanced is not None:
            measured["balanced"] = self.balanced
        if self.whole is not None:
            measured["whole"] = whole_to_json(self.whole)
        accuracy = measured if self.count else {"predicted_top1": self.top1}
        return {
            "id": self.id,
            "arch": self.arch.to_json(),
            "accuracy": accuracy,
            "latency": {"predicted_ms": self.predicted_ms},
        }


def best_first(candidate: Candidate) -> tuple[float, float, str]:
    """Sorting key: more accurate first, then faster, then by id."""
    return -candidate.score, candidate.predicted_ms, candidate.id


def fastest_first(candidate: Candidate) -> tuple[float, float, str]:
    """Sorting key: faster first, then more accurate, then by id."""
    return candidate.predicted_ms, -candidate.score, candidate.id


def whole_to_json(whole: AccuracyRecord) -> dict[str, Any]:
    """Returns accuracies on all pictures as a JSON-serialisable mapping."""
    names = ("top1", "top5", "balanced", "count", "low", "high")
    return {name: getattr(whole, name) for name in names}
