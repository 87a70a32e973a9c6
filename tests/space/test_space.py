"""Descriptions of spaces and drawing from them."""

from __future__ import annotations

import collections
import dataclasses
import json

import numpy as np
import pytest
from large_spaces import COMPOFA, LARGE

from compofa_tf import families
from compofa_tf.errors import InputError


def test_sampling_is_a_pure_function_of_the_generator(kind):
    draws = [
        [LARGE[kind].sample(rng, resolutions=(128, 224)) for _ in range(20)]
        for rng in map(np.random.default_rng, (7, 7, 8))
    ]
    assert draws[0] == draws[1] != draws[2]


def chi_square(space, count, **options):
    """Statistic of ``count`` draws against the uniform distribution over subnets, in standard deviations."""
    rng = np.random.default_rng(0)
    drawn = collections.Counter(space.sample(rng, resolution=16, **options) for _ in range(count))
    expected = count / space.size
    statistic = sum((n - expected) ** 2 for n in drawn.values()) / expected + expected * (space.size - len(drawn))
    return (statistic - space.size) / (2 * space.size) ** 0.5


def test_the_compound_space_is_sampled_uniformly():
    assert abs(chi_square(COMPOFA, 243 * 20)) < 4


def test_sampling_takes_the_side_that_the_space_is_meant_for_or_one_of_those_given():
    rng = np.random.default_rng(0)
    assert COMPOFA.sample(rng).resolution == 224
    assert families.mobilenet_v3(input_size=32).sample(rng).resolution == 32
    assert {COMPOFA.sample(rng, resolutions=(96, 128)).resolution for _ in range(20)} == {96, 128}


def test_description_round_trip(kind):
    space = LARGE[kind]
    again = families.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space and hash(again) == hash(space) and again.fingerprint == space.fingerprint
    assert again.slots == space.slots
    assert str(space.size) in repr(space)


def test_different_spaces_differ():
    spaces = [*LARGE.values(), families.mobilenet_v3(classes=10), families.mobilenet_v3(width_mult=1.2)]
    assert len(set(spaces)) == len({space.fingerprint for space in spaces}) == 8
    assert COMPOFA != "mobilenet_v3"


def test_the_fingerprint_is_pinned_so_that_old_tables_stay_valid():
    assert COMPOFA.fingerprint == "f5708cd4280112db"


@pytest.mark.parametrize(
    "content", [None, {}, {"family": "mobilenet_v3"}, {"settings": {}}, {"family": "x", "settings": {}}]
)
def test_bad_descriptions(content):
    with pytest.raises(InputError):
        families.from_json(content)


def test_coupling_and_kernel_are_checked():
    for field in ("coupling", "kernel"):
        with pytest.raises(InputError, match=f"{field} must be one of"):
            dataclasses.replace(COMPOFA, **{field: "other"})
