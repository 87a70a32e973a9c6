"""Latencies of many archs at once: those of the table, and the fastest."""

from __future__ import annotations

import numpy as np
from evolution_inputs import SIDES, SPACES, TABLES, published
from spaces import small_space

from compofa_tf.latency.arrays import Latencies
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.published.lookup_tables import latency_from_lookup
from compofa_tf.searches.genes import Genes
from compofa_tf.space.archs import Archs


def test_a_latency_is_never_that_of_another_resolution():
    space = SPACES["ofa"]
    table = latency_from_lookup(space, TABLES, resolutions=SIDES)
    archs = [space.arch(depths=3, kernels=5, expands=4, resolution=side) for side in SIDES]
    apart = [
        latency_from_lookup(space, TABLES, resolutions=(arch.resolution,)).predict(arch)  # a table of its own
        for arch in archs
    ]
    assert [table.predict(arch) for arch in (*archs, *archs)] == apart * 2
    assert sorted(set(apart)) == apart


def test_latencies_of_elastic_widths_are_the_sums_of_their_pieces():
    space = small_space("residual", "independent")
    table, rng = LatencyTable(space, resolutions=(16, 24)), np.random.default_rng(0)
    for arch in space.enumerate(resolutions=(16, 24)):
        for piece in space.pieces(arch):
            timing = Timing((float(rng.uniform(1, 2)),), 1.0, 1.0, 1, True, "2026-11-22")
            table.entries.setdefault(piece.key, timing)
    drawn = Genes(space, (16, 24), rng).draw(50)
    archs = [drawn.arch(space, index) for index in range(50)]
    expected = [sum(table.entries[piece.key].ms for piece in space.pieces(arch)) for arch in archs]
    assert len(set(np.round(expected, 6))) > 20
    np.testing.assert_allclose(Latencies(space, table, (16, 24)).predict_all(drawn), expected)


def test_the_fastest_arch_of_a_space_of_whole_stages():
    tables = published("compofa")
    lookup = Latencies(SPACES["compofa"], tables["latency"], (160, 192))
    everyone = Archs.all_of(SPACES["compofa"], (160, 192))
    fastest = lookup.predict_all(lookup.fastest())
    for side, ms in zip((160, 192), fastest):
        assert ms == lookup.predict_all(everyone[everyone.resolutions == side]).min()
