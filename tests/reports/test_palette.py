"""Colours that can be told apart."""

from __future__ import annotations

import re

import pytest

from compofa_tf.reports import palette


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_ramp_gives_different_colours(count):
    for mode in ("light", "dark"):
        colours = palette.ramp(count, mode=mode)
        assert len(set(colours)) == count and all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
