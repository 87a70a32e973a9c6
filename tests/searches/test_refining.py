"""What a local search looks at, and that nothing near is better after it."""

from __future__ import annotations

import pytest
from evolution_inputs import SIDES, SPACES, ids_of, predictors, variation

from compofa_tf.searches import refining
from compofa_tf.searches.evolution import Evolution, evolve
from compofa_tf.space.archs import Archs


@pytest.mark.parametrize("name", SPACES)
def test_neighbours_are_of_the_space_and_hold_every_change_of_one_choice(name):
    space, draw, (accuracy, latency) = SPACES[name], variation(name), predictors(name)
    one = Archs.of(space, [space.arch(depths=3, resolution=192, **free(name))])
    budget_ms = float(latency.predict_all(one)[0]) + 0.5
    found = refining.neighbours(one, budget_ms, draw, accuracy, latency)
    names = ids_of(name, found)
    single = {
        space.id(space.arch(depths=3, resolution=192, **changed)) for changed in one_changed(name, space.block_spans)
    }
    assert single <= set(names)
    assert {space.id(space.arch(depths=3, resolution=side, **free(name))) for side in (160, 224)} <= set(names)


def free(name):
    """Choices besides the depths, the same for every block."""
    return {"compofa": {}, "compofa-elastic": {"kernels": 5}, "ofa": {"kernels": 5, "expands": 4}}[name]


def one_changed(name, spans):
    """``free`` with another value at one kept block."""
    for key, options in (("kernels", (3, 7)), ("expands", (3, 6))):
        if key not in free(name):
            continue
        for span in spans:
            for block in range(span.start, span.start + 3):
                for value in options:
                    values = [free(name)[key]] * spans[-1].stop
                    values[block] = value
                    yield {**free(name), key: values}


def test_combinations_that_break_the_budget_are_repaired():
    name = "ofa"
    space, draw, (accuracy, latency) = SPACES[name], variation(name), predictors(name)
    one = Archs.of(space, [space.arch(depths=3, resolution=192, kernels=5, expands=4)])
    budget_ms = float(latency.predict_all(one)[0])
    found = refining.neighbours(one, budget_ms, draw, accuracy, latency)
    fits = latency.predict_all(found) <= budget_ms
    differing = (found.kernels != one.kernels).sum(1) + (found.expands != one.expands).sum(1)
    assert (fits & (differing > 2)).sum() >= 50
    assert accuracy.predict_all(found[fits]).max() > accuracy.predict_all(one)[0]


def test_after_the_local_search_no_change_of_one_choice_is_better():
    name = "compofa-elastic"
    space, (accuracy, latency) = SPACES[name], predictors(name)
    settings = Evolution(population=20, generations=3)
    found = evolve(space, accuracy=accuracy, latency=latency, budgets_ms=(20, 28), resolutions=SIDES, settings=settings)
    for budget_ms in found.budgets:
        best = found.best(budget_ms, 1)
        others = refining.neighbours(best, budget_ms, variation(name), accuracy, latency)
        alike = (others.depths == best.depths).all(1)
        changed = (others.kernels != best.kernels).sum(1) + (others.resolutions != best.resolutions)
        others = others[alike & (changed == 1)]
        others = others[latency.predict_all(others) <= budget_ms]
        assert len(others) > 5
        assert accuracy.predict_all(others).max() <= accuracy.predict_all(best)[0] + 1e-6
