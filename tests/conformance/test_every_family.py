"""What every family promises, whatever its network: descriptions, codes, names, costs and pieces that agree."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from compofa_tf import families
from compofa_tf.space import Space, cost


@dataclass(frozen=True)
class Case:
    """A family.

    Attributes:
      default: Settings of a small member, for quick tests.
      settings: For each further setting, values to try alone.
      largest_macs: Multiply-adds of the largest member at 224 px with the family's own defaults, as published.
    """

    default: dict[str, Any]
    settings: dict[str, tuple]
    largest_macs: int


CASES = {
    "mobilenet_v3": Case(
        default={"width_mult": 0.25, "classes": 10, "input_size": 32},
        settings={
            "width_mult": (0.5, 1.2),
            "kernel": ("fixed", "elastic"),
            "coupling": ("compound", "independent"),
            "profile": ("mobile", "edgetpu"),
            "classes": (2, 1000),
            "input_size": (32, 64, 224),
            "strides": ((2, 1, 1, 1, 1, 2),),
        },
        largest_macs=446764320,
    ),
    "proxyless_nas": Case(
        default={"width_mult": 0.25, "classes": 10, "input_size": 32},
        settings={
            "width_mult": (0.5, 1.3),
            "kernel": ("fixed", "elastic"),
            "coupling": ("compound", "independent"),
            "profile": ("mobile", "edgetpu"),
            "classes": (2, 1000),
            "input_size": (32, 64, 224),
            "strides": ((2, 1, 1, 1, 1, 2, 1),),
        },
        largest_macs=842676480,
    ),
    "resnet50": Case(
        default={"width_mult": 0.25, "classes": 10, "input_size": 32},
        settings={
            "width_mult": (0.5, 1.0),
            "widths": ((0.5, 0.75, 1.0),),
            "coupling": ("compound", "independent"),
            "profile": ("mobile", "edgetpu"),
            "classes": (2, 1000),
            "input_size": (32, 64, 224),
            "strides": ((2, 1, 1, 1, 1, 2),),
        },
        largest_macs=7491643904,
    ),
}
SPACES = [
    pytest.param(families.get(name, **{**case.default, key: value}), id=f"{name}-{key}={value}")
    for name, case in CASES.items()
    for key, values in case.settings.items()
    for value in values
]
EVERY = pytest.mark.parametrize("space", SPACES)


def some_archs(space: Space, count: int = 20) -> list:
    rng = np.random.default_rng(0)
    return [space.smallest(32), space.largest(64), *(space.sample(rng, resolutions=(32, 48)) for _ in range(count))]


def test_no_family_is_missing_from_the_table():
    assert sorted(CASES) == sorted(families.names())
    assert all(name in families.__all__ for name in CASES)


@pytest.mark.parametrize("name", CASES)
def test_default_settings_are_the_published_network(name):
    space = families.get(name)
    assert space.family == name
    assert cost.macs(space, space.largest(224)) == CASES[name].largest_macs


@EVERY
def test_description_rebuilds_the_space(space):
    again = families.from_json(json.loads(json.dumps(space.to_json())))
    assert (again, again.slots, again.size) == (space, space.slots, space.size)


def test_every_setting_changes_the_description():
    spaces = [parameter.values[0] for parameter in SPACES]
    different = {str(space.to_json()): space for space in spaces}
    assert len({space.fingerprint for space in different.values()}) == len(different) > len(CASES)


@EVERY
def test_codes_names_and_membership_agree(space):
    for arch in some_archs(space):
        assert arch in space
        assert space.decode(space.encode(arch)) == arch
        assert space.parse(space.id(arch)) == arch


@EVERY
def test_operations_connect_and_pieces_add_up(space):
    for arch in some_archs(space):
        units, ops = space.units(arch), space.ops(arch)
        assert len({unit.name for unit in units}) == len(units)
        assert len({op.name for op in ops}) == len(ops)
        maps = [op for op in ops if op.in_shape[:2] != (1, 1) and not op.name.endswith("/downsample")]
        assert maps[0].in_shape == (arch.resolution, arch.resolution, 3)
        for op, following in itertools.pairwise(maps):
            pooled = following.name.startswith("stage1_block0") and op.name.startswith("stem_out")
            assert op.out_shape[2] == following.in_shape[2]
            assert op.out_shape == following.in_shape or pooled
        assert ops[-1].out_shape == (1, 1, space.classes)
        assert tuple(unit for piece in space.pieces(arch) for unit in piece.units) == units


@EVERY
def test_enumeration_begins_with_the_smallest_depths(space):
    first = next(space.enumerate(resolutions=(32,)))
    assert first.depths == space.smallest(32).depths
    assert first in space


@EVERY
def test_nothing_costs_more_than_the_largest_member(space):
    bounds = [cost.macs(space, arch) for arch in (space.smallest(48), space.largest(48))]
    assert all(bounds[0] <= cost.macs(space, arch.at(48)) <= bounds[1] for arch in some_archs(space))
