"""MobileNetV3 as data: widths, strides, profiles, and bad arguments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.space.units import BlockUnit

SIZES = {32: 4, 64: 4, 224: 7}
"""Side of the last feature map at the nominal image side."""


def last_map(space, resolution):
    return next(op for op in space.ops(space.largest(resolution)) if op.name == "head_expand/conv").out_shape[:2]


@pytest.mark.parametrize(
    ("width_mult", "stem", "widths", "head", "mix"),
    [
        (1.0, 16, [24, 40, 80, 112, 160], 960, 1280),
        (1.2, 24, [32, 48, 96, 136, 192], 1152, 1536),
        (0.25, 8, [8, 16, 24, 32, 40], 240, 320),
    ],
)
def test_widths(width_mult, stem, widths, head, mix):
    space = families.mobilenet_v3(width_mult=width_mult)
    assert space.stem[0].out_channels == stem
    assert [stage.width for stage in space.stages] == widths
    assert [stage.in_channels for stage in space.stages] == [stem, *widths[:-1]]
    assert (space.head[0].out_channels, space.head[2].out_channels) == (head, mix)


def test_the_published_stages():
    stages = families.mobilenet_v3().stages
    assert [stage.stride for stage in stages] == [2, 2, 2, 1, 2]
    assert [stage.kernel for stage in stages] == [3, 5, 3, 3, 5]
    assert [stage.activation for stage in stages] == ["relu", "relu", "hard_swish", "hard_swish", "hard_swish"]
    assert [stage.squeeze_excite for stage in stages] == [False, True, False, True, True]
    assert all(stage.choices == ((2, 3), (3, 4), (4, 6)) for stage in stages)


def test_shortcuts_where_stride_and_width_allow():
    space = families.mobilenet_v3()
    blocks = [unit for unit in space.units(space.largest(224)) if isinstance(unit, BlockUnit)]
    assert [block.name for block in blocks if not block.shortcut] == [f"stage{n}_block0" for n in range(1, 6)]
    assert all(
        not block.shortcut or (block.stride == 1 and block.in_channels == block.out_channels) for block in blocks
    )


def test_edgetpu_has_only_what_the_edge_tpu_maps():
    space = families.mobilenet_v3(profile="edgetpu", kernel="elastic", coupling="independent")
    units = [unit for slot in space.slots for unit in slot.options if unit is not None]
    assert {getattr(unit, "activation", "relu6") for unit in units} == {"relu6"}
    assert {unit.se_channels for unit in units if isinstance(unit, BlockUnit)} == {0}


@pytest.mark.parametrize(("input_size", "side"), SIZES.items())
def test_the_last_map_is_large_enough_at_the_nominal_size(input_size, side):
    space = families.mobilenet_v3(input_size=input_size)
    assert last_map(space, input_size) == (side, side)


def test_own_strides_replace_those_of_the_input_size():
    space = families.mobilenet_v3(input_size=32, strides=[2, 1, 2, 2, 1, 2])
    assert space.stem[0].stride == 2
    assert [stage.stride for stage in space.stages] == [1, 2, 2, 1, 2]
    assert last_map(space, 64) == (4, 4)
    assert families.from_json(space.to_json()) == space


def test_the_same_network_has_one_description():
    assert families.mobilenet_v3(width_mult=1) == families.mobilenet_v3(width_mult=1.0)
    assert families.mobilenet_v3(strides=(2, 2, 2, 2, 1, 2)) == families.mobilenet_v3()
    assert families.mobilenet_v3(strides=()) == families.mobilenet_v3()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coupling": "loose"}, r"coupling must be one of compound, independent. Received: coupling='loose'"),
        ({"kernel": 3}, r"kernel must be one of fixed, elastic. Received: kernel=3"),
        ({"profile": "server"}, r"profile must be mobile or edgetpu. Received: profile='server'"),
        ({"input_size": 96}, r"input_size must be one of \[32, 64, 224\]. Received: input_size=96"),
        ({"width_mult": 0}, r"width_mult must be in \(0, 8\]. Received: width_mult=0"),
        ({"width_mult": float("nan")}, r"Received: width_mult=nan"),
        ({"width_mult": "wide"}, r"Received: width_mult='wide'"),
        ({"classes": 1}, r"classes must be a whole number of at least 2. Received: classes=1"),
        ({"classes": 10.0}, r"Received: classes=10.0"),
        ({"classes": True}, r"Received: classes=True"),
        ({"strides": (2, 2, 2)}, r"strides needs 6 entries of 1 or 2.* Received: strides=\(2, 2, 2\)"),
        ({"strides": (2, 2, 2, 3, 1, 2)}, r"strides needs 6 entries"),
        ({"strides": 3}, r"strides needs 6 entries"),
        ({"width_mult": True}, r"Received: width_mult=True"),
        ({"depth": 3}, r"Family mobilenet_v3 takes width_mult, .*Received: depth"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        families.get("mobilenet_v3", **settings)


def test_numbers_of_numpy_are_numbers():
    given = families.mobilenet_v3(classes=np.int64(10), width_mult=np.float32(0.5))
    assert given == families.mobilenet_v3(classes=10, width_mult=0.5) and json.dumps(given.to_json())
