"""The correction of sums of pieces, and how predictions are judged."""

from __future__ import annotations

import numpy as np
import pytest

from compofa_tf.latency.correction import Correction, fit_correction


def test_fit_recovers_scale_and_overhead():
    rng = np.random.default_rng(0)
    sums, counts = rng.uniform(1, 9, 30), rng.integers(7, 20, 30)
    fitted = fit_correction(sums, counts, 1.13 * sums - (counts - 1) * 0.02)
    assert (fitted.scale, fitted.overhead_ms) == pytest.approx((1.13, 0.02))


def test_fit_with_little_to_go_by():
    assert fit_correction([], [], []) == Correction(1.0, 0.0)
    for count in (1, 2):
        fitted = fit_correction([2.0] * count, [7] * count, [2.2] * count)
        assert (fitted.scale, fitted.overhead_ms) == (pytest.approx(1.1), 0.0)
    upside_down = fit_correction([1.0, 2.0], [7, 7], [2.0, 1.0])  # a line through both falls
    assert upside_down.scale > 0 and upside_down.overhead_ms == 0
