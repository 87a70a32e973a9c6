"""A table for many archs at once: the same predictions, and the fastest subnet."""

from __future__ import annotations

import numpy as np
import pytest
from spaces import KINDS, small_space

from compofa_tf.errors import NotCoveredError
from compofa_tf.latency.arrays import LatencyArrays, SlowLatencies, latencies_of
from compofa_tf.latency.correction import Correction
from compofa_tf.latency.plan import MeasurementPlan
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.space.archs import Archs

SIDES = (16, 32)


def filled(space, resolutions=SIDES):
    """A table whose pieces take from 0.1 to 1.1 ms as their keys decide."""
    table = LatencyTable(space, resolutions=resolutions, correction=Correction(1.2, 0.01))
    for key in MeasurementPlan.of(space, resolutions=resolutions).pieces:
        ms = 0.1 + sum(key.encode()) % 997 / 997
        table.add(key, Timing((ms,), ms, ms, runs=1, fully_accelerated=True, date="2026-11-22"))
    return table


@pytest.mark.parametrize(("kernel", "coupling"), KINDS)
def test_many_at_once_are_those_one_by_one(kernel, coupling):
    space = small_space(kernel, coupling)
    table, archs = filled(space), Archs.all_of(space, SIDES)[::7]
    latencies = latencies_of(table, SIDES)
    assert isinstance(latencies, SlowLatencies if kernel == "residual" else LatencyArrays)
    expected = [table.predict(archs.arch(space, index)) for index in range(len(archs))]
    # Float64 sums of at most a dozen numbers, in another order.
    np.testing.assert_allclose(latencies.predict_all(archs), expected, rtol=1e-12)


@pytest.mark.parametrize(("kernel", "coupling"), KINDS)
def test_fastest(kernel, coupling):
    space = small_space(kernel, coupling)
    table = filled(space)
    table.correction = Correction()
    latencies, everyone = latencies_of(table, SIDES), Archs.all_of(space, SIDES)
    fastest = latencies.fastest()
    if kernel == "residual":  # what a stage takes depends on the one before it
        assert fastest is None
        return
    assert fastest.resolutions.tolist() == list(SIDES)
    for side, ms in zip(SIDES, latencies.predict_all(fastest)):
        # The minimum over all of them, up to the order of the sum.
        assert ms == pytest.approx(latencies.predict_all(everyone[everyone.resolutions == side]).min(), rel=1e-12)


def test_what_was_not_measured_is_refused_at_once():
    table = filled(small_space(), resolutions=(16,))
    with pytest.raises(NotCoveredError, match=r"measured resolutions: 16\.$"):
        latencies_of(table, SIDES)
