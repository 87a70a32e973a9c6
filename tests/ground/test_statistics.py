"""Confidence intervals and rank correlation, against closed forms and published numbers."""

from __future__ import annotations

import math

import pytest

from compofa_tf.errors import InputError
from compofa_tf.statistics import spearman, wilson_interval


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    # Closed form written out another way: the roots of (p - x)^2 = z^2 x (1 - x) / n.
    [
        (0.5, 200, None, None),
        (0.8272, 5000, None, None),
        (0.01, 30, None, None),
        (0.0, 50, 0.0, None),
        (1.0, 50, None, 1.0),
    ],
)
def test_wilson_interval_solves_its_equation(share, count, low, high):
    found = wilson_interval(share, count)
    for end, fixed in zip(found, (low, high)):
        if fixed is not None:
            assert end == fixed
        else:
            assert (share - end) ** 2 == pytest.approx(1.959963984540054**2 * end * (1 - end) / count, abs=1e-12)
    assert found[0] <= share <= found[1]


def test_wilson_interval_published_example():
    # 0.8 of 10: (0.490, 0.943), Agresti and Coull 1998, table 1.
    assert wilson_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)


@pytest.mark.parametrize(("share", "count"), [(-0.1, 5), (1.1, 5), (math.nan, 5), (0.5, 0)])
def test_wilson_interval_rejects(share, count):
    with pytest.raises(InputError, match="Received"):
        wilson_interval(share, count)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((1, 2, 3, 4), (10, 20, 30, 40), 1.0),
        ((1, 2, 3, 4), (4, 3, 2, 1), -1.0),
        ((1, 2, 3), (5, 5, 5), 0.0),
        # Ranks 0 1.5 1.5 3 against 0 1 2 3, centred: 4.5 / sqrt(4.5 * 5).
        ((1, 2, 2, 3), (1, 2, 3, 4), 4.5 / (4.5 * 5) ** 0.5),
        # Ranks 0 1.5 1.5 3 4 against 1 0 2.5 2.5 4, centred: 7.25 / sqrt(9.5 * 9.5).
        ((1, 2, 2, 4, 5), (2, 1, 3, 3, 9), 7.25 / 9.5),
    ],
)
def test_spearman_by_hand(first, second, expected):
    assert spearman(first, second) == pytest.approx(expected)
    assert spearman(second, first) == pytest.approx(expected)
