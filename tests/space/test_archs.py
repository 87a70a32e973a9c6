"""Many archs as arrays: the same archs, told apart by their keys."""

from __future__ import annotations

import numpy as np
import pytest

from compofa_tf.errors import InputError
from compofa_tf.space.archs import Archs


def test_arrays_hold_the_enumeration_in_its_order(small):
    everyone = Archs.all_of(small, (16, 8))
    archs = list(small.enumerate(resolutions=(16, 8)))
    step = max(1, len(archs) // 100)
    assert len(everyone) == len(archs) and len(np.unique(everyone.keys())) == len(archs)
    assert [everyone.arch(small, i) for i in range(0, len(archs), step)] == archs[::step]
    again = Archs.of(small, archs)
    np.testing.assert_array_equal(again.keys(), everyone.keys())


def test_parts_are_taken_and_joined(small):
    everyone = Archs.all_of(small, (16, 8))
    parts = [everyone[:3], everyone[np.arange(3, len(everyone))], Archs.of(small, [])]
    np.testing.assert_array_equal(Archs.joined(parts).keys(), everyone.keys())
    assert [len(part) for part in parts] == [3, len(everyone) - 3, 0]


def test_kinds_are_resolutions_with_depths(small):
    everyone = Archs.all_of(small, (16, 8))
    kinds = {(*depths, side) for depths, side in zip(everyone.depths.tolist(), everyone.resolutions.tolist())}
    assert len(np.unique(everyone.kinds())) == len(kinds)


def test_archs_of_another_space_are_refused(sampled):
    space, archs = sampled
    with pytest.raises(InputError, match="no such subnet"):
        Archs.of(space, [*archs, archs[0].at(4)])
