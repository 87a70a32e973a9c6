"""Learning rates at points that can be computed by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compofa_tf.training import schedules


def test_warmup_is_linear_and_ends_at_the_peak():
    rates = [schedules.cosine(step, total_steps=20, peak=0.8, warmup_steps=4) for step in range(5)]
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.8, 0.8], rtol=1e-12)


def test_cosine_at_known_points():
    rate = [schedules.cosine(step, total_steps=12, peak=2.0, warmup_steps=0) for step in range(12)]
    assert rate[0] == 2.0
    assert rate[4] == pytest.approx(1.5)
    assert rate[6] == pytest.approx(1.0)
    assert rate[8] == pytest.approx(0.5)
    assert 0 < rate[11] < 0.04
    assert all(a > b for a, b in itertools.pairwise(rate))


def test_cosine_after_warmup_counts_from_the_end_of_it():
    assert schedules.cosine(12, total_steps=20, peak=1.0, warmup_steps=4) == pytest.approx(0.5)


def test_all_warmup():
    assert schedules.cosine(4, total_steps=5, peak=1.0, warmup_steps=5) == 1.0


@pytest.mark.parametrize("arguments", [{"step": 5, "total_steps": 5}, {"step": -1, "total_steps": 5}])
def test_steps_outside_the_phase_are_refused(arguments):
    with pytest.raises(ValueError, match="Received: step="):
        schedules.cosine(**arguments, peak=1.0)


def test_rates_are_per_2048_images():
    assert schedules.scaled(2.6, batch_size=2048) == 2.6
    assert schedules.scaled(2.6, batch_size=1536) == pytest.approx(1.95)
