"""What each step trains: functions of seed, step and index, within the limits of a phase."""

from __future__ import annotations

import numpy as np
import pytest

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.space import sampling


def test_codes_are_a_function_of_seed_step_and_index():
    space = families.mobilenet_v3(classes=10)
    five = sampling.codes_at(space.codes, seed=1, step=7, subnets=5, resolution=128)
    assert five.shape == (5, space.code_size)
    assert five.dtype == np.int32
    np.testing.assert_array_equal(sampling.codes_at(space.codes, seed=1, step=7, subnets=3, resolution=128), five[:3])
    others = [{"seed": 2, "step": 7}, {"seed": 1, "step": 8}]
    for place in others:
        assert not np.array_equal(sampling.codes_at(space.codes, **place, subnets=5, resolution=128), five)
    assert len({code.tobytes() for code in five}) > 1


def test_sampling_is_uniform_over_the_choices():
    space = families.mobilenet_v3(classes=10)
    drawn = [a for step in range(600) for a in sampling.archs_at(space, seed=0, step=step, subnets=2, resolution=64)]
    for stage in range(5):
        counts = np.bincount([arch.depths[stage] for arch in drawn], minlength=5)[2:]
        # 1200 draws at p = 1/3: 5 standard deviations are 82.
        assert np.abs(counts - 400).max() < 82
    assert len(set(drawn)) > 230


def test_sampling_within_allowed_depths():
    space = families.mobilenet_v3(classes=10)
    drawn = [
        a
        for step in range(30)
        for a in sampling.archs_at(space, seed=0, step=step, subnets=2, resolution=64, depths=(3, 4))
    ]
    assert {depth for arch in drawn for depth in arch.depths} == {3, 4}
    with pytest.raises(InputError, match=r"depths must be some of \(2, 3, 4\)"):
        sampling.archs_at(space, seed=0, step=0, subnets=1, resolution=64, depths=(5,))


OFA = {"kernel": "elastic", "coupling": "independent"}


def test_sampling_within_allowed_expand_ratios_and_kernels():
    space = families.mobilenet_v3(classes=10, **OFA)
    place = {"seed": 0, "subnets": 2, "resolution": 64}
    drawn = [
        arch
        for step in range(30)
        for arch in sampling.archs_at(space, **place, step=step, depths=(4,), expands=(4.0, 6.0), kernels=(3, 7))
    ]
    assert {depth for arch in drawn for depth in arch.depths} == {4}
    assert {expand for arch in drawn for expand in arch.expands} == {4, 6}
    assert {kernel for arch in drawn for kernel in arch.kernels} == {3, 7}
    assert all(arch in space for arch in drawn)
    assert sampling.archs_at(space, **place, step=7) == sampling.archs_at(
        space, **place, step=7, depths=(2, 3, 4), expands=(3, 4, 6), kernels=(3, 5, 7)
    )


def test_depths_do_not_apply_to_a_stage_of_one_depth():
    space = families.proxyless_nas(classes=10, **OFA)
    drawn = sampling.archs_at(space, seed=0, step=0, subnets=8, resolution=64, depths=(4,), expands=(6,), kernels=(7,))
    assert {arch.depths for arch in drawn} == {(4, 4, 4, 4, 4, 1)}


@pytest.mark.parametrize(
    ("settings", "limits", "message"),
    [
        (OFA, {"depths": (5,)}, r"depths must be some of \(2, 3, 4\)\. Received: depths=\(5,\)"),
        (
            {"family": "resnet50", "coupling": "independent"},
            {"expands": (0.3,)},
            r"expands must be some of \(0\.2, 0\.25, ",
        ),
        (OFA, {"expands": (3, 5)}, r"expands must be some of \(3, 4, 6\)\. Received: expands=\(3, 5\)"),
        (OFA, {"kernels": (9,)}, r"kernels must be some of \(3, 5, 7\)\. Received: kernels=\(9,\)"),
        ({}, {"expands": (6,)}, r"limit depths instead, and leave expands empty\. Received: expands=\(6,\)"),
        ({}, {"kernels": (3,)}, r"leave kernels empty\. Received: kernels=\(3,\)"),
        ({**OFA, "family": "proxyless_nas"}, {"depths": (1,)}, r"with at least one for stage 1\. Received"),
    ],
)
def test_limits_that_the_space_lacks_are_refused(settings, limits, message):
    chosen = dict(settings)
    space = getattr(families, chosen.pop("family", "mobilenet_v3"))(classes=10, **chosen)
    with pytest.raises(InputError, match=message):
        sampling.archs_at(space, seed=0, step=0, subnets=1, resolution=64, **limits)


def test_resolutions_of_a_longer_run_begin_like_a_shorter_one():
    sides = (24, 28, 32)
    long = sampling.resolutions_at(sides, seed=3, steps=3000)
    assert long.dtype == np.int32
    np.testing.assert_array_equal(sampling.resolutions_at(sides, seed=3, steps=10), long[:10])
    assert not np.array_equal(sampling.resolutions_at(sides, seed=4, steps=3000), long)
    counts = [int((long == side).sum()) for side in sides]
    # 3000 draws at p = 1/3: 5 standard deviations are 129.
    assert sum(counts) == 3000
    assert max(abs(count - 1000) for count in counts) < 129


def test_sampling_is_pinned_so_that_old_runs_can_be_resumed():
    np.testing.assert_array_equal(
        sampling.resolutions_at((24, 28, 32), seed=0, steps=8), [32, 32, 32, 28, 32, 24, 32, 28]
    )
    space = families.mobilenet_v3(classes=10)
    names = [space.id(a) for a in sampling.archs_at(space, seed=0, step=3, subnets=2, resolution=64)]
    assert names == ["r64-d23444", "r64-d23222"]
