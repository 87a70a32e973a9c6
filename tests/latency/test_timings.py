"""What a device answers, and the record of it in a table."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from compofa_tf.errors import InputError
from compofa_tf.latency.timings import MOST_TURN_SPREAD, TURN_RUNS, Times, Timing

DATE = "2026-11-22T12:00:00+00:00"


def timing(ms, **changes):
    values = {"turn_ms": (ms,) * 4, "p90_ms": 1.1 * ms, "min_ms": 0.9 * ms, "runs": 20}
    return Timing(**{**values, "fully_accelerated": True, "date": DATE, **changes})


def test_latency_is_the_lower_quartile_of_the_turns():
    calm = timing(1.0, turn_ms=(1.0, 1.0, 1.0, 1.02, 1.1))
    assert calm.ms == 1.0 and calm.spread == 0.0 and not calm.noisy
    busy = timing(1.0, turn_ms=(1.0, 1.0, 1.0 + 2 * MOST_TURN_SPREAD, 3.0, 4.0))
    assert busy.ms == 1.0 and busy.spread == pytest.approx(2 * MOST_TURN_SPREAD) and busy.noisy


def test_visits_add_up():
    both = timing(2.0, runs=40).continued_by(timing(1.0, date="later", fully_accelerated=False))
    assert (both.runs, both.date, both.fully_accelerated) == (60, "later", False)
    assert both.turn_ms == (2.0,) * 4 + (1.0,) * 4 and both.min_ms == 0.9
    assert both.p90_ms == pytest.approx((2 * 2.2 + 1.1) / 3)


WRONG = (0, -1.0, math.nan, math.inf, "1", True)


@pytest.mark.parametrize(
    ("name", "wrong"), [*itertools.product(("turn_ms", "p90_ms", "min_ms"), WRONG), ("turn_ms", None)]
)
def test_what_no_clock_gives(name, wrong):
    with pytest.raises(InputError, match="positive, finite"):
        timing(1.0, **{name: (1.0, wrong) if name == "turn_ms" else wrong})


def test_single_times_are_summarised():
    turns = np.array([[1.0, 1.2, 1.1], [2.0, 1.0, 3.0]])
    times = Times.of(turns, fully_accelerated=True)
    assert times.turn_ms == (1.1, 2.0) and times.runs == 6 and times.fully_accelerated
    assert (times.median_ms, times.min_ms) == pytest.approx((1.15, 1.0))
    assert (times.p90_ms, times.mean_ms) == pytest.approx((np.percentile(turns, 90), turns.mean()))
    assert times.ms == pytest.approx(1.1 + 0.25 * 0.9)
    assert times.spread == pytest.approx(times.p90_ms / times.median_ms - 1)


def test_one_long_turn_is_cut():
    times = Times.of([np.arange(1.0, 5 * TURN_RUNS + 2)], fully_accelerated=False)
    assert times.runs == 5 * TURN_RUNS + 1 and len(times.turn_ms) == 6
    assert times.turn_ms[0] == 3.0 and times.turn_ms[-1] == 24.5  # 1 to 5, and 23 to 26
    assert Times.of([[1.0, 2.0, 4.0]], fully_accelerated=True).turn_ms == (2.0,)


@pytest.mark.parametrize("turns", [[[0.0]], [[1.0, math.nan]], [[1e6]]])
def test_impossible_times(turns):
    with pytest.raises(InputError, match="positive, finite"):
        Times.of(turns, fully_accelerated=True)


def test_the_record_of_an_answer():
    times = Times.of([[1.0, 1.5], [2.0, 2.5]], fully_accelerated=False)
    record = Timing.of(times, date=DATE)
    assert record == Timing((1.25, 2.25), times.p90_ms, 1.0, runs=4, fully_accelerated=False, date=DATE)
    assert record.ms == times.ms == 1.5
    assert Timing.from_json(record.to_json()) == record
