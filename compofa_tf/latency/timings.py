"""How long a model took: what a device answers, and the record of it in a table. No TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compofa_tf.errors import InputError

QUANTILE = 0.25
"""Quantile of the turns' medians that counts as the latency: a busy moment of the machine can only slow a turn."""

TURN_RUNS = 5
"""Inferences per turn: few, so that busy moments of the machine fall on turns of all models alike."""

MOST_TURN_SPREAD = 0.10
"""Largest ``Timing.spread``, of a record's turns, of a machine that counts as quiet."""

SHORTEST_MS, LONGEST_MS = 1e-4, 1e5
"""No call of a runtime takes less than 0.1 us, and nobody waits 100 s for one: other numbers are not in ms."""


@dataclass(frozen=True)
class Times:
    """How long the inferences of one model took, in turns: what a device answers.

    Attributes:
      turn_ms: Median of each turn in ms, in the order in which they were measured.
      median_ms: Median over all inferences.
      p90_ms: 90th percentile.
      min_ms: Fastest inference.
      mean_ms: Mean.
      runs: Number of inferences.
      fully_accelerated: Whether the delegate took every operation.
    """

    turn_ms: tuple[float, ...]
    median_ms: float
    p90_ms: float
    min_ms: float
    mean_ms: float
    runs: int
    fully_accelerated: bool

    def __post_init__(self) -> None:
        """Rejects latencies outside 0.0001 to 100,000 ms."""
        _check_latencies("turn_ms", self.turn_ms)
        for name in ("median_ms", "p90_ms", "min_ms", "mean_ms"):
            _check_latencies(name, (getattr(self, name),))

    @classmethod
    def of(cls, turns_ms: Sequence[Sequence[float]], *, fully_accelerated: bool) -> Times:
        """Summarises single times.

        Args:
          turns_ms: Milliseconds of each inference of each turn. A single turn is cut into turns of about ``TURN_RUNS``.
          fully_accelerated: Whether the delegate took every operation.
        """
        times = np.concatenate([np.asarray(turn, np.float64) for turn in turns_ms])
        turns = turns_ms if len(turns_ms) > 1 else np.array_split(times, -(-len(times) // TURN_RUNS))
        median, p90 = (float(value) for value in np.percentile(times, [50, 90]))
        return cls(
            turn_ms=tuple(float(np.median(turn)) for turn in turns),
            median_ms=median,
            p90_ms=p90,
            min_ms=float(times.min()),
            mean_ms=float(times.mean()),
            runs=len(times),
            fully_accelerated=fully_accelerated,
        )

    @property
    def ms(self) -> float:
        """The latency: the lower quartile of ``turn_ms``."""
        return latency_of(self.turn_ms)

    @property
    def spread(self) -> float:
        """How much the 90th percentile of the inferences is above their median, as a share of it."""
        return (self.p90_ms - self.median_ms) / self.median_ms


@dataclass(frozen=True)
class Timing:
    """Latency of one piece or whole subnet, from several turns of a few inferences each.

    Attributes:
      turn_ms: Median of each turn in ms, in the order in which they were measured.
      p90_ms: 90th percentile of the single inferences of a visit; of several visits the mean. None if unknown.
      min_ms: Fastest inference; None if unknown.
      runs: Inferences timed in all.
      fully_accelerated: Whether the delegate took every operation.
      date: When the last visit began, ISO 8601.
    """

    turn_ms: tuple[float, ...]
    p90_ms: float | None
    min_ms: float | None
    runs: int
    fully_accelerated: bool
    date: str

    def __post_init__(self) -> None:
        """Rejects latencies outside 0.0001 to 100,000 ms, and fewer runs than turns."""
        object.__setattr__(self, "turn_ms", tuple(self.turn_ms))
        _check_latencies("turn_ms", self.turn_ms)
        for name in ("p90_ms", "min_ms"):
            if getattr(self, name) is not None:
                _check_latencies(name, (getattr(self, name),))
        if self.runs < len(self.turn_ms):
            raise InputError(f"a turn needs runs. Received: runs={self.runs!r} in {len(self.turn_ms)} turns")

    @classmethod
    def of(cls, times: Times, *, date: str) -> Timing:
        """Returns the record of what a device answered.

        Args:
          times: The answer.
          date: When the measurement began, ISO 8601.
        """
        return cls(times.turn_ms, times.p90_ms, times.min_ms, times.runs, times.fully_accelerated, date)

    @property
    def ms(self) -> float:
        """The latency: the lower quartile of ``turn_ms``."""
        return latency_of(self.turn_ms)

    @property
    def spread(self) -> float:
        """How much the median turn is above the latency, as a share of it."""
        return float(np.median(self.turn_ms)) / self.ms - 1

    @property
    def noisy(self) -> bool:
        """Whether the spread is above ``MOST_TURN_SPREAD``: the machine was busy."""
        return self.spread > MOST_TURN_SPREAD

    def continued_by(self, later: Timing) -> Timing:
        """Returns the record of this measurement continued by a later one."""
        runs = self.runs + later.runs
        return Timing(
            turn_ms=(*self.turn_ms, *later.turn_ms),
            p90_ms=_both(self.p90_ms, later.p90_ms, lambda a, b: (a * self.runs + b * later.runs) / runs),
            min_ms=_both(self.min_ms, later.min_ms, min),
            runs=runs,
            fully_accelerated=self.fully_accelerated and later.fully_accelerated,
            date=later.date,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable mapping; ``ms``, ``spread`` and ``noisy`` are there for its readers."""
        return {
            "ms": self.ms,
            "p90_ms": self.p90_ms,
            "min_ms": self.min_ms,
            "runs": self.runs,
            "spread": self.spread,
            "noisy": self.noisy,
            "fully_accelerated": self.fully_accelerated,
            "measured": True,
            "date": self.date,
            "turn_ms": list(self.turn_ms),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Timing:
        """Inverse of ``to_json``.

        Raises:
          InputError: If a value is missing or impossible, or ``ms`` is not what ``turn_ms`` gives.
        """
        names = ("turn_ms", "p90_ms", "min_ms", "runs", "fully_accelerated", "date")
        timing = cls(**{name: content[name] for name in names})
        if not _is_latency(content["ms"]) or not math.isclose(content["ms"], timing.ms, rel_tol=1e-6):
            raise InputError(f"ms does not follow from turn_ms, it was edited. Received: ms={content['ms']!r}")
        return timing


def latency_of(turn_ms: Sequence[float]) -> float:
    """Returns the latency in ms that the medians of some turns stand for: their lower quartile."""
    return float(np.quantile(turn_ms, QUANTILE))


def _both(a: float | None, b: float | None, combine: Callable[[float, float], float]) -> float | None:
    return None if a is None or b is None else combine(a, b)


def _check_latencies(name: str, values: Sequence[Any]) -> None:
    if not values or not all(map(_is_latency, values)):
        raise InputError(
            f"a latency is a positive, finite number of ms, from {SHORTEST_MS:g} to {LONGEST_MS:g}. "
            f"Received: {name}={list(values)}"
        )


def _is_latency(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and SHORTEST_MS <= value <= LONGEST_MS
