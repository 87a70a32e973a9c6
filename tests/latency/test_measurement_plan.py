"""What a latency table has to measure."""

from __future__ import annotations

import numpy as np
import pytest
from spaces import KINDS, small_space

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.latency.plan import MeasurementPlan, Procedure
from compofa_tf.space import cost
from compofa_tf.space.pieces import covering_archs

SPACE = families.mobilenet_v3(width_mult=0.25, classes=10, input_size=32)


def test_compound_space_has_17_pieces_per_resolution():
    one, two = (MeasurementPlan.of(SPACE, resolutions=sides, fit=0) for sides in ((32,), (24, 32)))
    assert len(one.pieces) == 17 and len(two.pieces) == 34
    assert one.fit == one.validate == ()


@pytest.mark.parametrize(("kernel", "coupling"), KINDS)
def test_pieces_are_those_of_all_subnets(kernel, coupling):
    space = small_space(kernel, coupling)
    everything = {piece.key for arch in space.enumerate(resolutions=(16, 32)) for piece in space.pieces(arch)}
    assert set(MeasurementPlan.of(space, resolutions=(16, 32)).pieces) == everything


def test_huge_spaces_are_not_enumerated():
    space = families.mobilenet_v3(kernel="elastic", coupling="independent")
    pieces = MeasurementPlan.of(space, resolutions=(224,)).pieces
    assert space.size > 10**19 and len(list(covering_archs(space, 224))) == 9
    rng = np.random.default_rng(0)
    drawn = {piece.key for _ in range(100) for piece in space.pieces(space.sample(rng, resolution=224))}
    assert drawn <= set(pieces) and len(pieces) == 2 + 5 * 2 * 9


def test_equal_pieces_of_two_resolutions_are_one():
    plan = MeasurementPlan.of(SPACE, resolutions=(31, 32))  # stride 2 on 31 and on 32 pixels gives 16
    assert 17 < len(plan.pieces) < 34


def test_fit_and_validation_are_disjoint_and_seeded():
    plan = MeasurementPlan.of(SPACE, resolutions=(24, 32), fit=6, validate=20, seed=3)
    assert (len(plan.fit), len(plan.validate)) == (6, 20) and not set(plan.fit) & set(plan.validate)
    assert (plan.fit[0], plan.fit[-1]) == (SPACE.smallest(24), SPACE.largest(32))
    assert {arch.resolution for arch in plan.validate} == {24, 32}
    assert MeasurementPlan.of(SPACE, resolutions=(32, 24), fit=6, validate=20, seed=3) == plan
    assert MeasurementPlan.of(SPACE, resolutions=(24, 32), fit=6, validate=20, seed=4).validate != plan.validate
    assert MeasurementPlan.of(SPACE, resolutions=(24, 32), fit=6, validate=4, seed=3).fit == plan.fit


def test_whole_subnets_lie_evenly_over_the_range():
    plan = MeasurementPlan.of(SPACE, resolutions=(32,), fit=6, validate=20)
    for archs, allowed in ((plan.fit, 0.05), (plan.validate, 0.05)):
        macs = np.array([cost.macs(SPACE, arch) for arch in archs], float)
        span = macs[-1] - macs[0]
        assert (np.abs(macs - np.linspace(macs[0], macs[-1], len(archs))) < allowed * span).all()
        assert span > 0.7 * (cost.macs(SPACE, SPACE.largest(32)) - cost.macs(SPACE, SPACE.smallest(32)))


def test_a_space_with_fewer_subnets_than_wanted():
    plan = MeasurementPlan.of(small_space(), resolutions=(16,), fit=3, validate=20)
    assert (len(plan.fit), len(plan.validate)) == (3, 1)


def test_given_archs_decide_pieces_and_resolutions():
    archs = [SPACE.arch(depths=d, resolution=32) for d in ((2, 3, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 2, 2, 4))]
    plan = MeasurementPlan.of(SPACE, archs=archs, fit=2, validate=9)
    assert plan.resolutions == (32,) and len(plan.pieces) == 9
    assert plan.fit == (archs[1], archs[2]) and plan.validate == (archs[0],)
    with pytest.raises(InputError, match=r"archs must be of the resolutions \[24\]. Received: r32-d23222"):
        MeasurementPlan.of(SPACE, archs=archs, resolutions=(24,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs resolutions, or archs"),
        ({"resolutions": ()}, "needs resolutions, or archs"),
        ({"archs": []}, "needs resolutions, or archs"),
        ({"resolutions": (32,), "fit": -1}, "fit must be at least 0. Received: fit=-1"),
        ({"resolutions": (32,), "validate": -1}, "validate must be at least 0"),
        ({"resolutions": (2,)}, "at least 8 pixels"),
    ],
)
def test_impossible_plans(arguments, message):
    with pytest.raises(InputError, match=message):
        MeasurementPlan.of(SPACE, **arguments)


@pytest.mark.parametrize(("name", "least"), [("threads", 1), ("runs", 1), ("warmup", 0)])
def test_impossible_procedures(name, least):
    values = {"precision": "int8", "threads": 1, "runs": 10, "warmup": 0}
    assert getattr(Procedure(**{**values, name: least}), name) == least
    with pytest.raises(InputError, match=f"{name} must be at least {least}. Received: {name}={least - 1}"):
        Procedure(**{**values, name: least - 1})
