"""Dominance, rounding and what a budget may be."""

from __future__ import annotations

import numpy as np
import pytest

from compofa_tf.searches.budgets import check_budgets, pareto, round_up


def test_pareto_of_ties_duplicates_and_one():
    latency = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    accuracy = np.array([0.5, 0.5, 0.4, 0.5, 0.6, 0.6, 0.7])
    assert pareto(latency, accuracy).tolist() == [True, True, False, False, True, False, True]
    assert pareto(np.array([1.0]), np.array([0.0])).tolist() == [True]


@pytest.mark.parametrize(
    ("value", "digits", "expected"), [(0.0312, 2, 0.032), (3.4123, 3, 3.42), (5.0, 1, 5.0), (99.1, 1, 100)]
)
def test_round_up(value, digits, expected):
    assert round_up(value, digits=digits) == expected


def test_check_budgets_sorts_and_drops_repetitions():
    assert check_budgets((5, 2.5, np.float32(5), np.int64(7))) == (2.5, 5.0, 7.0)
