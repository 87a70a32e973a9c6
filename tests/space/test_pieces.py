"""Pieces add up to networks, and are few."""

from __future__ import annotations

import dataclasses

from large_spaces import COMPOFA

from compofa_tf import families
from compofa_tf.space.pieces import cut_piece


def test_pieces_add_up_to_the_network(sampled):
    space, archs = sampled
    by_key = {}
    for arch in archs:
        pieces = space.pieces(arch)
        assert tuple(unit for piece in pieces for unit in piece.units) == space.units(arch)
        ops = space.ops(arch)
        for piece in pieces:
            first = next((op for op in ops if op.name.split("/")[0] == piece.units[0].name), None)
            assert first is None or (piece.height, piece.width, piece.channels) == first.in_shape
            assert piece.key.startswith(f"{piece.height}x{piece.width}x{piece.channels}:")
            nameless = tuple(dataclasses.replace(unit, name="") for unit in piece.units)
            assert by_key.setdefault(piece.key, nameless) == nameless
    stages = space.stage_units(archs[-1])
    count = len(stages) if space.size == 243 else sum(map(len, stages))
    assert len(space.pieces(archs[-1])) == count + 1 + bool(space.stem)


def test_the_compound_space_has_few_pieces_per_resolution():
    keys = {piece.key for arch in COMPOFA.enumerate(resolutions=(224,)) for piece in COMPOFA.pieces(arch)}
    assert len(keys) == 17


def test_pieces_of_the_whole_family_are_cut_once_each():
    space = families.mobilenet_v3(classes=7)
    archs = list(space.enumerate(resolutions=range(160, 228, 4)))
    before = cut_piece.cache_info().misses
    keys = {piece.key for arch in archs for piece in space.pieces(arch)}
    assert len(archs) == 243 * 17
    assert cut_piece.cache_info().misses - before <= 17 * 17
    assert len(keys) <= 17 * 17
