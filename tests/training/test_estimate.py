"""How fast a run goes and how long it takes; what is said before it starts is in test_loop.py."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from runs import RECIPE, FakeData

from compofa_tf.training import estimate
from compofa_tf.training.estimate import Pace, announce
from compofa_tf.training.networks import Networks
from compofa_tf.training.phases import place_phases

TEACHER, TRAIN = place_phases(RECIPE, train_size=32)


def test_the_rest_of_the_run_takes_what_the_steps_of_each_phase_take():
    pace = Pace((TEACHER, TRAIN), batch_size=8)
    assert pace.left(0) == "0 s"  # nothing is known yet
    pace.expect(TEACHER, 2.0)
    pace.expect(TRAIN, 5.0)
    assert pace.images_per_s(TEACHER) == 4
    assert [pace.left(step) for step in (0, 7, 8, 19, 20)] == ["76 s", "62 s", "60 s", "5 s", "0 s"]


def test_the_pace_is_that_since_the_phase_began_here(monkeypatch):
    clock = iter([100.0, 130.0])
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: next(clock))
    pace = Pace((TEACHER, TRAIN), batch_size=8)
    pace.begin(10)
    shown = pace.look(TRAIN, 15, np.array([[9.0], *[[1.0], [2.0]] * 5]))
    assert shown == "1 images/s, loss 1.5000, 30 s left"  # the latest ten losses; 6 s per step


@pytest.mark.parametrize(("train_size", "due"), [(32, [4, 8]), (8 * 25, [10, 20, 25, 35, 45, 50])])
def test_clock_and_losses_are_looked_at_now_and_then(train_size, due):
    phase, _ = place_phases(RECIPE, train_size=train_size)
    pace = Pace([phase], batch_size=8)
    assert [step for step in range(1, phase.end + 1) if pace.due(phase, step)] == due


def test_timed_steps_leave_no_trace_and_the_data_is_told(tiny_family):
    data, said = FakeData(), []
    networks = Networks(RECIPE, classes=3)
    before = [networks.of(phase).get_state() for phase in (TEACHER, TRAIN)]
    announce(RECIPE, data, networks, (TEACHER, TRAIN), step=8, log=said.append)
    for phase, state in zip((TEACHER, TRAIN), before):
        after = networks.of(phase).get_state()
        for mine, theirs in ((after.weights, state.weights), (after.velocities, state.velocities)):
            for name, array in mine.items():
                np.testing.assert_array_equal(array, theirs[name])
    assert "fake: 3 classes, 32 training, 5 validation pictures." in said
    data.survey = SimpleNamespace(lines=lambda: ["what was understood"])
    announce(RECIPE, data, networks, (TEACHER, TRAIN), step=8, log=said.append)
    assert "what was understood" in said
    assert not any(line.startswith("  teacher: 2 epochs") for line in said)  # that phase is over
    assert any(line.startswith("  train: 3 epochs") for line in said)
