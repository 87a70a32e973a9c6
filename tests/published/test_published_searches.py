"""Exact search and evolution with the published tables and predictor, against the original's results."""

from __future__ import annotations

import json

import numpy as np
import pytest
from published_tables import BUDGETS, FIVE, SPACES, arch_of, published

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import latencies_of
from compofa_tf.latency.correction import Correction
from compofa_tf.searches import evolution
from compofa_tf.searches.evolution import Evolution
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front
from compofa_tf.searches.genes import Genes
from compofa_tf.space.archs import Archs


@pytest.mark.parametrize(("key", "resolutions"), [("five", FIVE), ("seventeen", tuple(range(160, 225, 4)))])
def test_exact_search_finds_the_published_optimum(key, resolutions, reference):
    optimum = json.loads((reference / "compofa_exhaustive_optimum.json").read_text())
    front = search(SPACES["compofa"], **published("compofa", resolutions), budgets_ms=BUDGETS)
    assert front.examined == 243 * len(resolutions)
    for budget_ms in BUDGETS:
        expected, best = optimum[str(budget_ms)][f"{key}_resolutions"], front.best(budget_ms)
        assert best.arch == arch_of(SPACES["compofa"], expected)
        assert best.top1 == pytest.approx(expected["accuracy"], abs=1e-6)
        assert best.predicted_ms == pytest.approx(expected["latency_ms"], abs=1e-9)


def test_all_predictions_of_the_compound_space(reference):
    with np.load(reference / "compofa_exhaustive.npz") as stored:
        content = {name: stored[name] for name in stored.files}
    space, sides = SPACES["compofa"], tuple(range(160, 225, 4))
    archs = Archs.all_of(space, sides)
    tables = published("compofa", sides)
    accuracy, latency = tables["accuracy"].predict_all(archs), latencies_of(tables["latency"], sides)
    by_content = {name: values for name, values in content.items() if values.size == len(archs)}
    ours = {"accuracy": accuracy, "latency": latency.predict_all(archs)}
    for kind, values in ours.items():
        stored_values = next(v for name, v in by_content.items() if kind in name)
        np.testing.assert_allclose(np.sort(values), np.sort(stored_values.ravel()), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["compofa-elastic", "ofa"])
def test_evolution_is_at_least_as_good_as_the_original(name, seed, reference):
    runs = json.loads((reference / "search_runs.json").read_text())["runs"]
    front = search(SPACES[name], **published(name), budgets_ms=BUDGETS, evolution=Evolution(seed=seed))
    for budget_ms in BUDGETS:
        original = max(r["accuracy"] for r in runs if r["arch"] == name and r["target_ms"] == budget_ms)
        assert front.best(budget_ms).top1 >= original


@pytest.mark.parametrize("name", SPACES)
def test_archs_as_arrays_are_the_archs(name):
    space = SPACES[name]
    rng = np.random.default_rng(0)
    archs = [space.sample(rng, resolutions=FIVE) for _ in range(20)]
    arrays = Archs.of(space, archs)
    assert [arrays.arch(space, index) for index in range(20)] == archs
    assert len(set(arrays.keys().tolist())) == len(set(archs))


def test_all_archs_come_in_the_order_of_the_enumeration():
    space = SPACES["compofa"]
    arrays = Archs.all_of(space, (160, 224))
    archs = list(space.enumerate(resolutions=(160, 224)))
    assert len(arrays) == len(archs)
    assert all(arrays.arch(space, index) == archs[index] for index in range(0, len(archs), 7))


@pytest.mark.parametrize("name", SPACES)
def test_latencies_of_many_are_those_of_one(name):
    space, latency = SPACES[name], published(name)["latency"]
    latency.correction = Correction(scale=0.9, overhead_ms=0.05)
    rng = np.random.default_rng(1)
    archs = [space.sample(rng, resolutions=FIVE) for _ in range(30)]
    found = latencies_of(latency, FIVE).predict_all(Archs.of(space, archs))
    np.testing.assert_allclose(found, [latency.predict(arch) for arch in archs], rtol=1e-12)


def test_predicted_fronts_come_back_from_their_files_and_say_that_they_are_predicted(tmp_path):
    front = search(SPACES["compofa"], **published("compofa"), budgets_ms=BUDGETS)
    front.save(tmp_path / "front.json")
    again = Front.load(tmp_path / "front.json")
    assert [c.id for c in again] == [c.id for c in front]
    assert again.examined == front.examined == 1215
    content = json.loads((tmp_path / "front.json").read_text())
    assert content["covered"] == {"predicted": 1215, "of": 1215}
    assert all(set(point["accuracy"]) == {"predicted_top1"} for point in content["points"])
    assert "caveat" in content["accuracy"]


def test_evolution_finds_the_optimum_of_a_small_space():
    tables = published("compofa")
    exact = search(SPACES["compofa"], **tables, budgets_ms=BUDGETS)
    evolved = search(SPACES["compofa"], **tables, budgets_ms=BUDGETS, evolution=Evolution(generations=40))
    assert evolved.chosen == exact.chosen


@pytest.mark.parametrize("name", ["compofa-elastic", "ofa"])
def test_evolution_is_a_function_of_its_seed_and_keeps_budgets(name):
    few = {"population": 20, "generations": 10}
    runs = [
        search(SPACES[name], **published(name), budgets_ms=(20, 30), evolution=Evolution(**few, seed=s))
        for s in (3, 3, 4)
    ]
    first, same, other = runs
    assert [c.id for c in first] == [c.id for c in same]
    assert first.examined == same.examined != other.examined
    for budget_ms, best in runs[0].chosen.items():
        assert best.predicted_ms <= budget_ms
        assert best.arch in SPACES[name]


@pytest.mark.parametrize("name", SPACES)
def test_mutated_and_crossed_archs_are_of_the_space(name):
    space = SPACES[name]
    variation = Genes(space, FIVE, np.random.default_rng(0))
    one, other = variation.draw(200), variation.draw(200)
    for children in (one, variation.cross(one, other), variation.mutate(one, 0.5)):
        for index in range(len(children)):
            space.check(children.arch(space, index))
    assert len(set(variation.cross(one, other).keys().tolist()) - set(one.keys().tolist())) > 100
    same = variation.cross(one, one)
    assert np.array_equal(same.keys(), one.keys())


def test_interrupted_evolution_continues_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(evolution, "_SAVED_EVERY", 4)
    space = SPACES["compofa-elastic"]
    arguments = {**published("compofa-elastic"), "budgets_ms": (20, 30)}
    settings = {"population": 20, "seed": 5, "refined_every": 3}
    whole = search(space, **arguments, evolution=Evolution(**settings, generations=12))
    path = tmp_path / "state.json"
    search(space, **arguments, evolution=Evolution(**settings, generations=6), path=path)
    assert json.loads(path.read_text())["generation"] == 4
    resumed = search(space, **arguments, evolution=Evolution(**settings, generations=12), path=path)
    assert [c.id for c in resumed] == [c.id for c in whole]
    with pytest.raises(InputError, match="other settings"):
        search(space, **arguments, evolution=Evolution(population=20, seed=6, generations=12), path=path)
    state = json.loads(path.read_text())
    with pytest.raises(InputError, match=r"has come further than this search goes: 12 generations"):
        search(space, **arguments, evolution=Evolution(**settings, generations=3), path=path)
    for damage in ({"accuracy": state["accuracy"][1:]}, {"members": []}, {"generation": "x"}):
        path.write_text(json.dumps({**state, **damage}))
        with pytest.raises(InputError, match="is damaged"):
            search(space, **arguments, evolution=Evolution(**settings, generations=12), path=path)
    path.write_text(json.dumps({**state, "accuracy": [float("nan")] * len(state["accuracy"])}))
    with pytest.raises(InputError, match="search with other accuracies"):
        search(space, **arguments, evolution=Evolution(**settings, generations=12), path=path)
    path.write_text(json.dumps(state))
    for timing in (slower := published("compofa-elastic"))["latency"].entries.values():
        object.__setattr__(timing, "turn_ms", tuple(2 * ms for ms in timing.turn_ms))
    with pytest.raises(InputError, match="search with other latencies"):
        search(space, **{**arguments, **slower}, evolution=Evolution(**settings, generations=12), path=path)
    files.write_json(path, {"nothing": 1}, kind="evolution_state", overwrite=True)
    with pytest.raises(InputError):
        search(space, **arguments, evolution=Evolution(**settings, generations=12), path=path)


def test_evolution_needs_budgets():
    with pytest.raises(InputError, match="needs budgets_ms"):
        search(SPACES["ofa"], **published("ofa"))


@pytest.mark.parametrize(
    "settings",
    [
        {"population": 2},
        {"generations": -1},
        {"parents": 0},
        {"mutated": 1.5},
        {"probability": 0},
        {"refined_every": 0},
        {"seed": -1},
        {"seed": 1.5},
        {"population": 4.5},
        {"generations": True},
    ],
)
def test_settings_with_which_nothing_evolves(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        Evolution(**settings)
