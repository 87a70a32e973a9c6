"""Who is kept."""

from __future__ import annotations

import numpy as np
from evolution_inputs import SPACES, ids_of, variation

from compofa_tf.searches import population
from compofa_tf.searches.population import Population
from compofa_tf.space.archs import Archs


def test_budgets_share_what_they_evaluate():
    archs = variation("ofa").draw(3)
    found = Population(SPACES["ofa"], (15.0, 30.0), 4)
    found.add(archs, np.array([0.7, 0.8, 0.9]), np.array([10.0, 20.0, 40.0]))
    assert ids_of("ofa", found.best(15, 9)) == ids_of("ofa", archs[[0]])
    assert ids_of("ofa", found.best(30, 9)) == ids_of("ofa", archs[[1, 0]])
    assert len(found.archs) == 2 and found.evaluated == 3


def test_known_archs_and_repetitions_are_not_evaluated_again():
    archs = variation("ofa").draw(6)
    found = Population(SPACES["ofa"], (15.0,), 9)
    assert found.unknown(archs).tolist() == list(range(6))
    found.add(archs[:3], np.full(3, 0.5), np.full(3, 9.0))
    assert found.unknown(archs[np.array([4, 1, 3, 4, 3, 0])]).tolist() == [0, 2]


def test_population_prefers_archs_of_several_kinds_and_is_full_all_the_same():
    draw = variation("ofa")
    crowd, other = draw.draw(400), draw.draw(400)
    crowd, other = crowd[crowd.resolutions == 160][:30], other[other.resolutions == 224][:5]
    alike = Archs(crowd.depths * 0 + 2, crowd.expands, crowd.kernels, crowd.resolutions)
    found = Population(SPACES["ofa"], (50.0,), 20)
    found.add(Archs.joined([alike, other]), np.linspace(0.9, 0.5, 35), np.full(35, 20.0))
    assert found.accuracy.tolist() == sorted(found.accuracy, reverse=True) and len(found.accuracy) == 20
    best = found.best(50, 20)
    assert best.resolutions.tolist() == [160] * population._ALIKE + [224] * 5 + [160] * 5
