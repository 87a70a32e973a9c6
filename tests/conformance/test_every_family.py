"""What every family promises, whatever its network: descriptions, codes, names, costs and pieces that agree."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import compofa_tf as ct
from compofa_tf import families
from compofa_tf.deploy.runtime import Runner
from compofa_tf.space import Space, cost


@dataclass(frozen=True)
class Case:
    """A family.

    Attributes:
      default: Settings of a small subnet, for quick tests.
      settings: For each further setting, values to try alone.
      largest_macs: Multiply-adds of the largest subnet at 224 px with the family's own defaults, as published.
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
def test_units_and_pieces_connect(space):
    """Each unit reads the map that the one before it writes; the pieces, too, and together they are the network."""
    for arch in some_archs(space):
        units = space.units(arch)
        assert len({unit.name for unit in units}) == len(units)
        assert tuple(unit for piece in space.pieces(arch) for unit in piece.units) == units
        channels, size = 3, (arch.resolution, arch.resolution)
        for piece in space.pieces(arch):
            assert (piece.height, piece.width, piece.channels) == (*size, channels)
            for unit in piece.units:
                assert getattr(unit, "in_channels", channels) == channels
                channels, size = getattr(unit, "out_channels", channels), unit.map_size(*size)
        assert (channels, size) == (space.classes, (1, 1))


@EVERY
def test_operations_are_those_of_the_units_on_their_maps(space):
    """A part reads channels of its unit, at the map that the unit reads or, once strided or pooled, a smaller one."""
    for arch in some_archs(space):
        ops = {op.name: op for op in space.ops(arch)}
        size = (arch.resolution, arch.resolution)
        for unit in space.units(arch):
            written = unit.map_size(*size)
            names = [part.name for part in unit.parts]
            end = getattr(unit, "branch_end", None)  # what follows is the shortcut's own
            branch = unit.parts[: names.index(end) + 1] if end else unit.parts
            assert all(part.out_channels == following.in_channels for part, following in itertools.pairwise(branch))
            for part in unit.parts:
                op = ops.pop(f"{unit.name}/{part.name}")
                assert (op.in_shape[2], op.out_shape[2]) == (part.in_channels, part.out_channels)
                assert op.in_shape[:2] in ({(1, 1)} if part.pooled else {size, written})
                assert op.out_shape[:2] in ({(1, 1)} if part.pooled else {size, written})
                assert (op.macs, op.params) == (part.macs(*op.out_shape[:2]), part.params)
            size = written
        assert ops == {}


@EVERY
def test_enumeration_begins_with_the_smallest_depths(space):
    first = next(space.enumerate(resolutions=(32,)))
    assert first.depths == space.smallest(32).depths
    assert first in space


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_passes_through_supernet_extraction_and_export(name, tmp_path):
    """The smallest subnet: the plain model computes what the supernet does, and the file what the model does.

    Supernet and model do the same sums in another order; an ``int8`` file, which ``export_tflite`` itself holds against
    the model on the images that it was calibrated with, is executed once more.
    """
    space = families.get(name, **CASES[name].default)
    arch, rng = space.smallest(32), np.random.default_rng(0)
    images = rng.uniform(-1, 1, (16, 32, 32, 3)).astype(np.float32)
    net = ct.Supernet(space, seed=0)
    model = ct.extract(net, arch, calibrate_on=images)
    expected = np.asarray(net(images, arch))
    np.testing.assert_allclose(np.asarray(model(images)), expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
    assert model.count_params() >= cost.params(space, arch)
    artifact = ct.export_tflite(model, tmp_path / "model.tflite", precision="int8", calibrate_on=images)
    logits = Runner(artifact.path)(images)
    assert logits.shape == (16, space.classes) and np.isfinite(logits).all()


@EVERY
def test_nothing_costs_more_than_the_largest_member(space):
    bounds = [cost.macs(space, arch) for arch in (space.smallest(48), space.largest(48))]
    assert all(bounds[0] <= cost.macs(space, arch.at(48)) <= bounds[1] for arch in some_archs(space))
