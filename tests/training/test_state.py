"""The state of a run: losses that are looked at late, and values that are never saved."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from compofa_tf.errors import InputError
from compofa_tf.training.state import NO_LOSSES, EpochLosses, TrainState


def test_losses_name_the_first_bad_step():
    losses = EpochLosses(40, np.zeros([2, 3], np.float32))
    for value in (1.0, 2.0, np.inf, np.nan):
        losses.add(np.array([1.0, value, 1.0], np.float32))
    with pytest.raises(InputError, match=r"loss of step 44 in phase train .* Received: loss=\[1\.0, inf, 1\.0\]"):
        losses.settle("train")


def test_losses_go_on_where_a_state_ends():
    before = np.arange(6, dtype=np.float32).reshape(3, 2)
    losses = EpochLosses.of(TrainState(23, {}, {}, before))
    assert losses.first_step == 20
    losses.add(np.array([6.0, 7.0], np.float32))
    np.testing.assert_array_equal(losses.settle("train"), np.arange(8, dtype=np.float32).reshape(4, 2))
    assert EpochLosses.of(TrainState(20, {}, {}, NO_LOSSES)).settle("train").shape == (0, 0)


@pytest.mark.parametrize("part", ["weights", "velocities"])
def test_a_state_that_is_not_finite_names_the_variable(part):
    state = TrainState(4, {"stem/conv/kernel": np.ones(3)}, {"stem/conv/kernel": np.ones(3)}, NO_LOSSES)
    assert state.check(phase="teacher") is state
    spoilt = dataclasses.replace(state, **{part: {"stem/conv/kernel": np.array([1.0, np.nan, 1.0])}})
    with pytest.raises(
        InputError, match=r"update of step 3 in phase teacher is not finite.*lower teacher\.learning_rate.*stem/conv"
    ):
        spoilt.check(phase="teacher")
