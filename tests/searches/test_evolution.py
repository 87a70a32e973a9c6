"""Who has children, how a search begins, and that it finds the best."""

from __future__ import annotations

import numpy as np
import pytest
from evolution_inputs import SIDES, SPACES, TABLES, Toy, predictors, published, variation
from spaces import small_space

from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import latencies_of
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.published.lookup_tables import latency_from_lookup
from compofa_tf.searches import evolution
from compofa_tf.searches.evolution import Evolution, evolve
from compofa_tf.searches.exact import search
from compofa_tf.searches.genes import Genes
from compofa_tf.searches.population import Population
from compofa_tf.space.archs import Archs


def test_published_shares_are_the_defaults():
    settings = Evolution()
    assert (settings.parents, settings.mutated, settings.probability) == (0.25, 0.5, 0.1)


def test_every_random_starter_enters_the_population(monkeypatch):
    monkeypatch.setattr(evolution, "refine", lambda *args, **kwargs: None)
    accuracy, latency = predictors("ofa")
    settings = Evolution(population=10, generations=0)
    common = {"accuracy": accuracy, "latency": latency, "budgets_ms": (1000,), "resolutions": SIDES}
    found = evolve(SPACES["ofa"], settings=settings, **common)
    starters = variation("ofa", seed=settings.seed).draw(40)
    assert found.evaluated == 40 + len(SIDES)
    best = np.sort(accuracy.predict_all(starters))[::-1][:10].astype(np.float64)
    np.testing.assert_allclose(found.accuracy, best, rtol=0, atol=1e-6)


def test_children_keep_the_budget_that_their_parents_are_of():
    accuracy, latency = predictors("ofa")
    draw, found = variation("ofa"), Population(SPACES["ofa"], (18.0, 30.0), 40)
    archs = draw.draw(2000)
    ms = latency.predict_all(archs)
    found.add(archs[ms <= 30], accuracy.predict_all(archs[ms <= 30]).astype(np.float64), ms[ms <= 30])
    children = evolution._children(found, draw, Evolution(population=40), latency)
    ms = latency.predict_all(children)
    # 20 mutated and 20 crossed over of each budget, less those for which no attempt kept it.
    assert 70 < len(children) <= 80 and ms.max() <= 30 and (ms <= 18).sum() >= 35


def test_a_space_with_one_resolution_and_nothing_to_change_but_depths_is_searched():
    space = SPACES["compofa"]
    table = latency_from_lookup(space, TABLES, resolutions=(192,))
    inputs = {"accuracy": AccuracyPredictor.published(space), "latency": table, "budgets_ms": (20, 28)}
    evolved = search(space, **inputs, evolution=Evolution(population=20, generations=10))
    assert evolved.chosen == search(space, **inputs).chosen


@pytest.mark.parametrize("coupling", ["compound", "independent"])
def test_evolution_of_a_family_with_elastic_widths_finds_the_best(coupling):
    space = small_space("residual", coupling)
    accuracy, latency, sides = Toy(1), Toy(2), (16, 24, 32)
    everyone = Archs.all_of(space, sides)
    top1, ms = accuracy.predict_all(everyone), latency.predict_all(everyone)
    budgets = tuple(np.quantile(ms, [0.1, 0.4, 0.8]))
    found = evolve(
        space, accuracy=accuracy, latency=latency, budgets_ms=budgets, resolutions=sides,
        settings=Evolution(population=40, generations=20),
    )  # fmt: skip
    for budget_ms in budgets:
        assert found.accuracy[found.latency <= budget_ms].max() == pytest.approx(top1[ms <= budget_ms].max())


def test_impossible_budget_of_an_evolution_names_the_fastest():
    """Which is not the smallest, where a device is slow at small kernels: budgets between the two can be met."""
    with pytest.raises(InputError, match=r"the fastest, r160-\S+, is predicted at [\d.]+ ms"):
        search(SPACES["ofa"], **published("ofa"), budgets_ms=(1,))
    slow_at_3 = {
        side: {
            key: {**row, "mean": row["mean"] * (3 if "-kernel:3-" in key else 1)} for key, row in TABLES[side].items()
        }
        for side in (160, 192)
    }
    for name in ("ofa", "compofa-elastic"):
        space = SPACES[name]
        latency = latency_from_lookup(space, slow_at_3)
        lookup = latencies_of(latency, (160, 192))
        fastest = lookup.fastest()
        ms, drawn = lookup.predict_all(fastest), Genes(space, (160, 192), np.random.default_rng(0)).draw(2000)
        assert ms.min() <= lookup.predict_all(drawn).min() and ms.min() < 0.7 * latency.predict(space.smallest(160))
        accuracy, settings = AccuracyPredictor.published(space), Evolution(population=20, generations=1)
        tables = {"accuracy": accuracy, "latency": latency, "evolution": settings}
        front = search(space, **tables, budgets_ms=(float(ms.min()) * 1.01,))
        assert front.best(float(ms.min()) * 1.01).predicted_ms <= float(ms.min()) * 1.01
        with pytest.raises(InputError, match=f"is predicted at {ms.min():.4g} ms"):
            search(space, **tables, budgets_ms=(float(ms.min()) * 0.99,))


def test_a_budget_below_the_smallest_subnet_of_a_family_with_elastic_widths():
    """Where wider stages are faster, archs are tried before a budget is refused."""
    space = small_space("residual", "independent")
    everyone, smallest = Archs.all_of(space, (16,)), Archs.of(space, [space.smallest(16)])

    class Wide:
        def predict_all(self, archs):
            return 20.0 - archs.widths.sum(1) + archs.depths.sum(1)

        def fastest(self):
            return None

    fastest = Wide().predict_all(everyone).min()
    assert fastest + 2 < Wide().predict_all(smallest).min()
    common = {"accuracy": Toy(1), "latency": Wide(), "resolutions": (16,), "settings": Evolution(generations=2)}
    found = evolve(space, budgets_ms=(fastest + 1,), **common)
    assert (found.latency <= fastest + 1).any()
    with pytest.raises(InputError, match=rf"the fastest of those tried, r16-\S+, is predicted at {fastest:.4g} ms"):
        evolve(space, budgets_ms=(fastest - 0.5,), **common)
