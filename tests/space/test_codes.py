"""Slots and codes: one to one, there and back."""

from __future__ import annotations

import contextlib
import itertools
import json

import numpy as np
import pytest
from large_spaces import COMPOFA

from compofa_tf.errors import InputError


def test_round_trips(sampled):
    space, archs = sampled
    for arch in (*archs, space.largest(224), space.smallest(32)):
        code = space.encode(arch)
        assert (code.dtype, code.shape) == (np.int32, (space.code_size,))
        assert space.decode(code) == space.decode(code.tolist()) == arch
        assert space.parse(space.id(arch)) == space.parse(f" {space.id(arch)}\n") == arch
        assert json.loads(json.dumps(arch.to_json())) == arch.to_json()


def test_codes_and_names_are_one_to_one(small):
    archs = list(small.enumerate(resolutions=(8,)))
    assert len({tuple(small.encode(arch)) for arch in archs}) == len({small.id(arch) for arch in archs}) == small.size


def test_every_code_is_a_subnet_or_refused(small):
    options = [range(len(slot.options)) for slot in small.elastic_slots]
    decoded = []
    for code in itertools.product(*options):
        with contextlib.suppress(InputError):
            decoded.append(small.decode((*code, 16)))
    assert len(decoded) == len(set(decoded)) == small.size


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([0] * 20, "A code of this space is 21 whole numbers"),
        ([0] * 20 + [224.5], "A code of this space is 21 whole numbers"),
        ([0] * 20 + [4], "no such subnet"),
        ([3] + [0] * 19 + [224], r"stage1_block0 has options 0 to 2. Received: 3"),
        ([-1] + [0] * 19 + [224], r"stage1_block0 has options 0 to 2. Received: -1"),
    ],
)
def test_bad_codes(code, message):
    with pytest.raises(InputError, match=message):
        COMPOFA.decode(code)


def test_slots_list_each_option_once(sampled):
    space, archs = sampled
    assert len({slot.name for slot in space.slots}) == len(space.slots)
    for slot in space.slots:
        assert len(set(slot.choices)) == len(slot.choices) == len(slot.options)
        assert None not in slot.options[1:]
    by_name = {slot.name: slot for slot in space.slots}
    for arch in archs:
        units = space.units(arch)
        assert all(unit in by_name[unit.name].options for unit in units)
        skipped = set(by_name) - {unit.name for unit in units}
        assert all(by_name[name].options[0] is None for name in skipped)
        assert [unit.name for unit in units] == [slot.name for slot in space.slots if slot.name not in skipped]
