"""From sums of pieces to predictions: the correction that is fitted, and how predictions are judged. No TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.statistics import spearman


@dataclass(frozen=True)
class Correction:
    """How the sum of measured pieces becomes the latency of the whole: ``scale * sum - (pieces - 1) * overhead_ms``.

    A piece that is timed alone finds its weights in the nearest cache, inside a network it does not: ``scale``. It also
    pays for being called, which a network pays once: ``overhead_ms``.

    Attributes:
      scale: Factor on the sum, positive.
      overhead_ms: Milliseconds per piece but one. Where all networks have equally many pieces, it is the offset of the
        fitted line.
    """

    scale: float = 1.0
    overhead_ms: float = 0.0

    def __post_init__(self) -> None:
        """Rejects a scale that is not positive, and an overhead that is not finite."""
        if not (np.isfinite(self.scale) and self.scale > 0 and np.isfinite(self.overhead_ms)):
            raise InputError(
                "A correction has a positive scale and a finite overhead. "
                f"Received: scale={self.scale!r}, overhead_ms={self.overhead_ms!r}"
            )

    def apply(self, sum_ms: Any, pieces: Any) -> Any:
        """Returns the prediction in ms for pieces that add up to ``sum_ms``; numbers, or arrays of them."""
        return self.scale * sum_ms - (pieces - 1) * self.overhead_ms


def fit_correction(sums_ms: Sequence[float], pieces: Sequence[int], measured_ms: Sequence[float]) -> Correction:
    """Fits scale and overhead to measured whole networks, least squares of the *relative* error.

    Networks of one sum decide nothing but a scale, and it alone is fitted too when both would predict the impossible: a
    latency that is not positive. No network at all gives the plain sum.

    Args:
      sums_ms: Sum of the pieces of each network.
      pieces: Number of pieces of each network.
      measured_ms: Measured latency of each network.
    """
    sums, counts, measured = (np.asarray(x, np.float64) for x in (sums_ms, pieces, measured_ms))
    if not len(sums):
        return Correction()
    share, joints = sums / measured, (counts - 1) / measured
    if len(set(sums_ms)) > 1:
        scale, overhead = np.linalg.lstsq(np.stack([share, -joints], axis=1), np.ones(len(sums)), rcond=None)[0]
        if scale > 0 and (scale * sums - (counts - 1) * overhead).min() > 0:
            return Correction(float(scale), float(overhead))
    return Correction(float(share.sum() / (share**2).sum()))


@dataclass(frozen=True)
class Check:
    """A whole subnet that was measured and not fitted on, against its prediction.

    Attributes:
      id: Name of the subnet.
      predicted_ms: From the table.
      measured_ms: Measured, with the same statistic as the pieces.
    """

    id: str
    predicted_ms: float
    measured_ms: float

    @property
    def error_percent(self) -> float:
        """``100 * (predicted / measured - 1)``."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)


@dataclass(frozen=True)
class Validation:
    """How well a table predicts whole subnets that it was not fitted on.

    Attributes:
      checks: The subnets, at least one.
    """

    checks: tuple[Check, ...]

    @property
    def mean_absolute_error_percent(self) -> float:
        """Mean of the absolute errors, in percent of the measured latency."""
        return float(np.mean(np.abs([check.error_percent for check in self.checks])))

    @property
    def worst_error_percent(self) -> float:
        """Largest absolute error in percent."""
        return float(np.max(np.abs([check.error_percent for check in self.checks])))

    @property
    def bias_percent(self) -> float:
        """Mean error in percent; positive when the table predicts too much."""
        return float(np.mean([check.error_percent for check in self.checks]))

    @property
    def spearman(self) -> float | None:
        """Rank correlation of predicted and measured latency; None for fewer than three subnets."""
        if len(self.checks) < 3:
            return None
        return spearman([c.predicted_ms for c in self.checks], [c.measured_ms for c in self.checks])

    def __str__(self) -> str:
        """One line for people."""
        rank = "" if self.spearman is None else f", Spearman {self.spearman:.4f}"
        return (
            f"{len(self.checks)} whole subnets measured: mean absolute error {self.mean_absolute_error_percent:.2f} %, "
            f"worst {self.worst_error_percent:.2f} %, bias {self.bias_percent:+.2f} %{rank}"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable mapping."""
        return {
            "count": len(self.checks),
            "mean_absolute_error_percent": self.mean_absolute_error_percent,
            "worst_error_percent": self.worst_error_percent,
            "bias_percent": self.bias_percent,
            "spearman": self.spearman,
            "subnets": [
                {
                    "id": check.id,
                    "predicted_ms": check.predicted_ms,
                    "measured_ms": check.measured_ms,
                    "error_percent": check.error_percent,
                }
                for check in self.checks
            ],
        }
