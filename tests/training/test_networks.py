"""The networks of a run: which one a phase trains, with what, and what the family takes from the teacher."""

from __future__ import annotations

import numpy as np
import pytest
from runs import PAPER, RECIPE, same
from spaces import small_space

from compofa_tf.nets import channels
from compofa_tf.training.networks import Networks
from compofa_tf.training.phases import place_phases


def test_phases_that_differ_in_numbers_share_a_step(tiny_family):
    networks, phases = Networks(RECIPE, classes=3), place_phases(RECIPE, train_size=32)
    teacher, train = map(networks.step_of, phases)
    assert (teacher.net, teacher.teacher, teacher.arch) == (
        networks.teacher.net, None, networks.teacher.net.space.largest(16)
    )  # fmt: skip
    assert (train.net, train.teacher, train.arch) == (networks.family.net, networks.teacher.net, None)
    longer = RECIPE.override(["train.epochs=7", "train.kd_ratio=0.5", "train.subnets=1"])
    assert networks.step_of(place_phases(longer, train_size=32)[1]) is train
    alone = networks.step_of(place_phases(RECIPE.override(["train.kd_ratio=0"]), train_size=32)[1])
    assert (alone.net, alone.teacher, alone.arch) == (networks.family.net, None, None)


def test_a_run_without_a_teacher_makes_none(tiny_family):
    alone = RECIPE.override(["teacher.epochs=0", "teacher.warmup_epochs=0", "train.kd_ratio=0"])
    networks = Networks(alone, classes=3)
    (phase,) = place_phases(alone, train_size=32)
    assert networks.step_of(phase).teacher is None
    assert "teacher" not in vars(networks)


def test_watched_subnets(small_family):
    networks, phases = Networks(PAPER, classes=5), place_phases(PAPER, train_size=32)
    assert networks.watched(phases[0]) == {"teacher": small_space("elastic").largest(16)}
    assert networks.watched(phases[1]) == {"largest": small_space().largest(16), "smallest": small_space().smallest(16)}
    same_space = Networks(PAPER.override(["teacher.kernels="]), classes=5)
    assert list(same_space.watched(phases[0])) == ["largest"]


def test_the_family_takes_the_centres_of_larger_kernels(small_family):
    networks = Networks(PAPER, classes=5)
    networks.hand_over()
    began, teacher = networks.family.net.get_state(), networks.teacher.net.get_state()
    cropped = [name for name in began if name.endswith("/depth/kernel") and not name.startswith("first")]
    assert {began[name].shape[0] for name in cropped} == {3, 5}
    for name in cropped:
        margin = (7 - began[name].shape[0]) // 2
        np.testing.assert_array_equal(began[name], teacher.pop(name)[margin:-margin, margin:-margin])
    whole = {name: array for name, array in teacher.items() if not name.endswith(("7to5", "5to3"))}
    same({name: array for name, array in began.items() if name not in cropped}, whole)


def test_sorting_moves_the_channels_of_the_family(tiny_family):
    networks = Networks(RECIPE, classes=3)
    before = networks.family.net.get_state()
    networks.sort_channels(0)
    expected = channels.sort_channels(networks.space, before, skipped=0)
    assert any(not np.array_equal(expected[name], before[name]) for name in before)
    same(networks.family.net.get_state(), expected)


def test_dropout_of_the_recipe_is_that_of_every_step(small_family):
    for recipe, expected in ((PAPER, 0.1), (PAPER.override(["optimizer.dropout=0"]), 0)):
        networks = Networks(recipe, classes=5)
        assert [networks.step_of(phase).dropout for phase in place_phases(recipe, train_size=32)] == [expected] * 2


def test_what_is_drawn_and_dropped_out_depends_on_seed_and_step(tiny_family, monkeypatch):
    """So that a resumed run trains and drops out the same."""
    networks, phases = Networks(RECIPE, classes=3), place_phases(RECIPE, train_size=32)
    seen = []
    monkeypatch.setattr(networks, "step_of", lambda phase: lambda *inputs, seed: seen.append((inputs, seed)))
    for step in (0, 9, 9, 10):
        networks.train(phases[step // 8], None, None, step=step, resolution=16)
    assert [seed for _, seed in seen] == [(5, 0), (5, 9), (5, 9), (5, 10)]
    codes = [inputs[2] for inputs, _ in seen]
    assert [len(drawn) for drawn in codes] == [1, 2, 2, 2]
    np.testing.assert_array_equal(codes[1], codes[2])
    assert not np.array_equal(codes[2], codes[3])
    assert [inputs[3] for inputs, _ in seen] == [
        pytest.approx(phases[step // 8].learning_rate(step)) for step in (0, 9, 9, 10)
    ]


def test_a_state_goes_in_and_comes_out(tiny_family):
    one, other = Networks(RECIPE, classes=3).family, Networks(RECIPE.override(["seed=6"]), classes=3).family
    next(iter(one.optimizer.velocities.values())).assign_add(1.0 + next(iter(one.optimizer.velocities.values())))
    state = one.get_state(step=3)
    other.set_state(state)
    found = other.get_state(step=3)
    same(found.weights, state.weights)
    same(found.velocities, state.velocities)
    other.set_velocities(None)
    assert not any(array.any() for array in other.get_state().velocities.values())
