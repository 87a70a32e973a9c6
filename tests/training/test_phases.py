"""Phases on the axis of steps, and whether they fit the family."""

from __future__ import annotations

import dataclasses

import pytest
from runs import PAPER, RECIPE

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.recipes.settings import PhaseSettings, SpaceSettings
from compofa_tf.training.phases import check_phases, phase_at, place_phases

ONE_EPOCH = PhaseSettings(epochs=1, learning_rate=1.0, subnets=1)


def test_phases_are_placed_one_after_the_other():
    recipe = dataclasses.replace(RECIPE, shrink=(ONE_EPOCH,))
    phases = place_phases(recipe, train_size=39)
    assert [(p.name, p.start, p.end, p.epoch_steps) for p in phases] == [
        ("teacher", 0, 8, 4), ("shrink.0", 8, 12, 4), ("train", 12, 24, 4)
    ]  # fmt: skip
    assert [phases[0].learning_rate(step) for step in (0, 1, 2)] == pytest.approx([0.0234375, 0.046875, 0.046875])
    assert phases[2].learning_rate(12) == pytest.approx(8.0 * 8 / 2048)
    assert [phase_at(phases, step).name for step in (0, 1, 8, 9, 12, 13, 24)] == [
        "teacher", "teacher", "teacher", "shrink.0", "shrink.0", "train", "train"
    ]  # fmt: skip


def test_where_a_step_stands_in_its_epoch():
    _, phase = place_phases(RECIPE, train_size=39)
    assert [phase.position(step) for step in (9, 11, 12, 13, 20)] == [1, 3, 4, 1, 4]
    assert [phase.ends_epoch(step) for step in (9, 11, 12, 13, 20)] == [False, False, True, False, True]
    assert [phase.epoch(step) for step in (9, 12, 20)] == [0.25, 1, 3]


def test_the_family_takes_over_from_the_teacher_once_and_the_settings_say_where():
    """Not the names of the phases: a phase between may train the teacher on."""
    second = PhaseSettings(epochs=1, learning_rate=1.0, subnets=1, kd_ratio=0, network="teacher")
    phases = place_phases(dataclasses.replace(RECIPE, shrink=(second, ONE_EPOCH)), train_size=39)
    assert [(p.name, p.of_teacher, p.takes_over) for p in phases] == [
        ("teacher", True, False), ("shrink.0", True, False), ("shrink.1", False, True), ("train", False, False)
    ]  # fmt: skip
    alone = RECIPE.override(["teacher.epochs=0", "teacher.warmup_epochs=0", "train.kd_ratio=0"])
    assert [p.takes_over for p in place_phases(alone, train_size=39)] == [False]


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(InputError, match=r"set data\.batch_size to at most 7\. Received: data\.batch_size=8"):
        place_phases(RECIPE, train_size=7)
    nothing = RECIPE.override(["teacher.epochs=0", "teacher.warmup_epochs=0", "train.epochs=0"])
    with pytest.raises(InputError, match="nothing to train"):
        place_phases(nothing, train_size=64)


@pytest.mark.parametrize("kernels", ["5", "5,7", "3"])
def test_teachers_that_are_not_the_largest_are_refused(small_family, kernels):
    with pytest.raises(InputError, match=r"teacher\.kernels must be 7, or empty .*Received: teacher\.kernels="):
        check_phases(PAPER.override([f"teacher.kernels={kernels}"]), classes=5)
    check_phases(PAPER, classes=5)


def test_larger_kernels_of_a_teacher_that_cannot_be_are_refused(monkeypatch):
    none = ["teacher.epochs=0", "teacher.warmup_epochs=0", "train.kd_ratio=0"]
    resnet = dataclasses.replace(PAPER, space=SpaceSettings(family="resnet50"))
    monkeypatch.setattr(families, "get", lambda name, **settings: families.resnet50(**settings))
    with pytest.raises(InputError, match=r"leave teacher\.kernels empty\. .*teacher\.epochs=0"):
        check_phases(PAPER.override(none), classes=5)
    for kernels in ("7", "3"):
        with pytest.raises(InputError, match=r"as large as they can be: leave teacher\.kernels empty"):
            check_phases(resnet.override([f"teacher.kernels={kernels}"]), classes=5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.depths=3", r"Phase train: depths must be some of \(1, 2\)"),
        ("train.sort_channels=2", r"Phase train: Channel sorting can skip 0 to 1 of the largest expand ratios"),
    ],
)
def test_the_phase_that_does_not_fit_is_named(tiny_family, setting, message):
    with pytest.raises(InputError, match=message):
        check_phases(RECIPE.override([setting]), classes=3)
