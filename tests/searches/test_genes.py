"""Archs drawn, mutated, crossed and changed by one choice."""

from __future__ import annotations

import numpy as np
import pytest
from evolution_inputs import variation
from spaces import small_space

from compofa_tf.searches.genes import Genes
from compofa_tf.space.archs import Archs


@pytest.mark.parametrize("name", ["compofa", "ofa"])
def test_mutation_replaces_a_tenth_of_the_choices(name):
    draw = variation(name)
    parents = draw.draw(20_000)
    children = draw.mutate(parents, 0.1)
    changed = (children.depths != parents.depths).mean(), (children.resolutions != parents.resolutions).mean()
    # A new value is the old one in a third of the cases; five standard deviations of the resolutions are 0.009.
    assert changed == pytest.approx((0.1 * 2 / 3, 0.1 * 2 / 3), abs=0.009)


@pytest.mark.parametrize("coupling", ["compound", "independent"])
def test_widths_are_drawn_mutated_crossed_and_changed_one_by_one(coupling):
    space = small_space("residual", coupling)
    draw = Genes(space, (16, 24), np.random.default_rng(0))
    parents = draw.draw(400)
    children = (draw.mutate(parents, 0.3), draw.cross(parents, parents[::-1]), draw.archs(draw.genes(parents)))
    for group in (parents, *children):
        archs = [group.arch(space, index) for index in range(len(group))]
        assert all(arch in space for arch in archs)
        assert Archs.of(space, archs).keys().tolist() == group.keys().tolist()
    assert children[2].keys().tolist() == parents.keys().tolist()
    reached = {key for group in (parents, *children) for key in group.keys().tolist()}
    everyone = set(Archs.all_of(space, (16, 24)).keys().tolist())
    assert reached <= everyone and (reached == everyone or coupling == "independent")
    assert {*parents.widths.ravel()} == {0, 1}
    smallest = Archs.of(space, [space.smallest(16)])
    columns, _ = draw.changes(smallest, 1)
    # Three depths and the resolution; where they are free, the expand ratios of two blocks and four widths.
    assert len(columns) == (4 if coupling == "compound" else 10)
