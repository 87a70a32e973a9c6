"""Statistics of samples: the confidence interval of a share, and rank correlation. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compofa_tf.errors import InputError

NORMAL_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a share that was observed on a sample.

    Wilson's score interval (E. B. Wilson, JASA 22, 1927): unlike the textbook interval it stays within [0, 1] and
    keeps its width at 0 and 1.

    Args:
      share: Observed share of successes, in [0, 1].
      count: Size of the sample, at least 1.

    Returns:
      ``(low, high)``, both in [0, 1].

    Raises:
      InputError: For a share or count outside these ranges.
    """
    if not 0 <= share <= 1:
        raise InputError(f"A share lies in [0, 1]. Received: share={share!r}")
    if count < 1:
        raise InputError(f"An interval needs at least one observation. Received: count={count!r}")
    square = NORMAL_95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    # Rounding can push the ends past the observation at 0 and 1, where they meet it exactly.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def paired_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of the difference of two shares that were observed on the same sample.

    The adjusted Wald interval of D. G. Bonett and R. M. Price (Journal of Educational and Behavioral Statistics 37,
    2012), which rests, as McNemar's test, on those observations alone in which the two differ: one is added to each of
    their counts and two to the sample.

    Args:
      only_first: Observations in which the first succeeded and the second did not.
      only_second: The other way round.
      count: Size of the sample, at least 1.

    Returns:
      ``(low, high)`` of the first share minus the second, both in [-1, 1].

    Raises:
      InputError: For counts that do not fit together.
    """
    if min(only_first, only_second) < 0 or count < max(1, only_first + only_second):
        raise InputError(
            f"Counts of a paired comparison must fit into the sample. Received: {only_first}, {only_second} of {count}"
        )
    first, second = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    difference = first - second
    half = NORMAL_95 * math.sqrt((first + second - difference**2) / (count + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)


class PairedDifference(NamedTuple):
    """How much larger a share is than another one that was observed on the same sample.

    Attributes:
      difference: The first minus the second.
      low: Lower end of its 95 % confidence interval (``paired_interval``).
      high: Upper end.
      only_first: Observations in which the first succeeded and the second did not.
      only_second: The other way round.
    """

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int


def paired_difference(first: np.ndarray, second: np.ndarray) -> PairedDifference:
    """Returns the difference of two shares of successes: bool ``[count]`` each, of the same observations."""
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    low, high = paired_interval(only_first, only_second, len(first))
    return PairedDifference((only_first - only_second) / len(first), low, high, only_first, only_second)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns Spearman's rank correlation in [-1, 1]; ties get average ranks, and a constant list correlates by 0.

    C. Spearman, American Journal of Psychology 15, 1904: the linear correlation of the ranks.
    """
    one, other = (_ranks(values) - (len(values) - 1) / 2 for values in (first, second))
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale else 0.0


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]
