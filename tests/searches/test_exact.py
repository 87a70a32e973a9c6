"""Exact search against brute force, the published optimum, predictors of one's own, and bad input."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from evolution_inputs import SIDES, SPACES, TABLES, published
from search_inputs import SPACE, FakeLatency, few, random_rows, tables

from compofa_tf import families
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.published.lookup_tables import latency_from_lookup
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front
from compofa_tf.space import Space


def dominates(one, other):
    at_least = one.top1 >= other.top1 and one.predicted_ms <= other.predicted_ms
    return at_least and (one.top1 > other.top1 or one.predicted_ms < other.predicted_ms)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_search_equals_brute_force(seed, coarse):
    front = search(SPACE, **tables(random_rows(seed, coarse=coarse)), budgets_ms=(8, 6.5, 20))
    everything = front.candidates
    assert len(everything) == 486 == front.total
    expected = [c for c in everything if not any(dominates(o, c) for o in everything)]
    assert set(front.points) == set(expected) and len(front) == len(expected)
    assert [p.predicted_ms for p in front] == sorted(p.predicted_ms for p in front)
    assert front.budgets == (6.5, 8.0, 20.0)
    for budget_ms in (6.5, 7, 8, 8.5, 20):
        affordable = [c for c in everything if c.predicted_ms <= budget_ms]
        best = min(affordable, key=lambda c: (-c.top1, c.predicted_ms, c.id))
        assert front.best(budget_ms) == best
        others = front.alternatives(budget_ms)
        assert set(others) | {best} == {p for p in expected if p.predicted_ms <= budget_ms}
        for one, following in itertools.pairwise((best, *others)):
            assert following.predicted_ms <= one.predicted_ms and following.top1 <= one.top1
    assert front.chosen == {b: front.best(b) for b in front.budgets}


def test_subset_is_searched_and_counted():
    rows = list(random_rows(0, resolutions=(32,)))[10:17]
    front = search(SPACE, **tables(rows, resolutions=(24, 32)), budgets_ms=(9,))
    assert len(front.candidates) == 7 and front.total == 486
    assert "7 of 486" in repr(front)
    assert front.to_json()["covered"] == {"measured": 7, "of": 486}
    narrowed = search(SPACE, **tables(rows, resolutions=(24, 32)), budgets_ms=(9,), resolutions=(32,))
    assert narrowed.total == 243 and narrowed.points == front.points


def test_nothing_measured_is_said_so():
    with pytest.raises(InputError, match=r"No accuracy was measured .* resolutions=\(48,\), measured: \(32,\)"):
        search(SPACE, **few((600, 1.0)), resolutions=(48,))
    with pytest.raises(InputError, match="No accuracy was measured"):
        search(SPACE, **tables([]))


def test_missing_latency_says_what_to_measure():
    inputs = few((600, 1.0), (700, 2.0))
    inputs["latency"].ms.popitem()
    with pytest.raises(
        InputError, match=r"measure latency at resolutions 32\. No piece was measured for resolution 32\.$"
    ):
        search(SPACE, **inputs)


@pytest.mark.parametrize("which", ["accuracy", "latency"])
def test_table_of_another_space_is_refused(which):
    other = families.mobilenet_v3(classes=10, input_size=32, width_mult=0.5)
    inputs = few((600, 1.0))
    inputs[which] = tables([(other.smallest(32), 1, 1.0)], space=other)[which]
    with pytest.raises(InputError, match=f"The {which} table is of another space"):
        search(SPACE, **inputs)


def test_search_and_file_are_deterministic(tmp_path):
    texts = []
    for shuffle in (False, True):
        rows = list(random_rows(5, coarse=True))
        if shuffle:
            np.random.default_rng(0).shuffle(rows)
        content = search(SPACE, **tables(rows), budgets_ms=(6, 9)).to_json()
        texts.append(json.dumps(content))
    assert texts[0] == texts[1]


def test_finds_the_published_optimum(reference):
    arrays = np.load(reference / "compofa_exhaustive.npz")
    expected = json.loads((reference / "compofa_exhaustive_optimum.json").read_text())
    space = families.mobilenet_v3()
    accuracy = AccuracyTable(space, data="published predictor")
    latency = FakeLatency(space, precision="float32", device="note10")
    for depths, resolution, top1, ms in zip(
        *(arrays[k].tolist() for k in ("depths", "resolution", "accuracy", "latency_ms"))
    ):
        arch = space.arch(depths=depths, resolution=resolution)
        accuracy.add(AccuracyRecord(arch, top1, 1.0, 1))
        latency.ms[arch] = ms
    budgets = tuple(float(budget) for budget in expected)
    front = search(space, accuracy=accuracy, latency=latency, budgets_ms=budgets)
    assert len(front.candidates) == front.total == 4131
    for budget, answers in expected.items():
        best, answer = front.best(float(budget)), answers["five_resolutions"]
        assert list(best.arch.depths) == answer["d"] and [best.arch.resolution] == answer["r"]
        assert best.predicted_ms == answer["latency_ms"]


def test_searches_a_real_latency_table(monkeypatch):
    """Four budgets over all archs at 17 resolutions."""
    resolutions = range(160, 228, 4)
    space = families.mobilenet_v3()
    rng = np.random.default_rng(0)
    accuracy = AccuracyTable(space, data="fake", resolutions=tuple(resolutions))
    latency = LatencyTable(space, resolutions=tuple(resolutions), conditions={"processor": "fake"})
    for arch in space.enumerate(resolutions=resolutions):
        accuracy.add(AccuracyRecord(arch, float(rng.uniform(0.5, 0.8)), 1.0, 1000))
    for resolution, depth in itertools.product(resolutions, (2, 3, 4)):
        for piece in space.pieces(space.arch(depths=depth, resolution=resolution)):
            ms = float(rng.uniform(0.5, 2.0))
            latency.entries.setdefault(piece.key, Timing((ms,), ms, ms, 1, True, "2026-11-22"))
    front = search(space, accuracy=accuracy, latency=latency, budgets_ms=(6, 7, 8, 9))
    assert len(front.candidates) == front.total == 4131
    assert front.latency == {"device": "host", "threads": 1, "conditions": {"processor": "fake"}}
    arch = space.arch(depths=(2, 3, 4, 2, 3), resolution=192)
    found = next(c for c in front.candidates if c.arch == arch)
    assert found.predicted_ms == pytest.approx(sum(latency.entries[piece.key].ms for piece in space.pieces(arch)))
    asked = []
    pieces = Space.pieces
    monkeypatch.setattr(Space, "pieces", lambda self, arch: asked.append(arch) or pieces(self, arch))
    latency = LatencyTable(space, resolutions=tuple(resolutions), entries=latency.entries)
    again = search(space, accuracy=accuracy, latency=latency, budgets_ms=(6, 7, 8, 9))
    assert again.points == front.points
    # Sums of stages are kept: cutting every subnet into its pieces would take 4,131 calls and most of the time.
    assert len(asked) <= 17 * (5 * 2 + 1)


def test_fronts_record_the_caveats_of_tables_and_predictor(tmp_path):
    space = SPACES["compofa"]
    table = latency_from_lookup(space, TABLES, resolutions=SIDES)
    front = search(space, accuracy=AccuracyPredictor.published(space), latency=table, budgets_ms=(20,))
    front.save(tmp_path / "front.json")
    content = json.loads((tmp_path / "front.json").read_text())
    assert content["latency"]["conditions"]["caveat"] == "the rows describe networks of width 1.2; this space has 1.0"
    assert "width 1.2; other spaces are an extrapolation" in content["accuracy"]["caveat"]


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


def test_resolutions_that_look_alike_to_the_predictor():
    space = SPACES["compofa"]
    predictor = AccuracyPredictor.published(space)
    values = [predictor.predict(space.arch(depths=3, resolution=side)) for side in (160, 164, 168, 172, 176)]
    assert values[:4] == [values[0]] * 4 and values[4] != values[0]


@pytest.mark.parametrize("space", [families.proxyless_nas(), families.mobilenet_v3(width_mult=1.2)])
def test_predictor_of_another_space_is_refused(space):
    own = SPACES["compofa"]
    table = latency_from_lookup(own, TABLES, resolutions=SIDES)
    with pytest.raises(InputError, match=r"family only|of another space"):
        search(own, accuracy=AccuracyPredictor.published(space), latency=table, budgets_ms=(20,))


class Wider:
    """A predictor of one's own: wider and deeper is better."""

    def __init__(self, space):
        self.space = space

    def predict_all(self, archs):
        return 0.5 + (archs.depths.sum(1) + archs.expands.sum(1)) / 1000

    def to_json(self):
        return {"predictor": "sizes", "caveat": "made up"}


@pytest.mark.parametrize("name", ["compofa", "ofa"])
def test_a_predictor_of_ones_own_is_searched_with(name):
    space = SPACES[name]
    front = search(
        space, accuracy=Wider(space), latency=published(name)["latency"], budgets_ms=(1000,), resolutions=(160,)
    )
    assert front.best(1000).arch.depths == (4,) * 5 and {*front.best(1000).arch.expands} == {6}
    assert front.accuracy["predictor"] == "sizes" and front.predicted
    with pytest.raises(InputError, match="of another space"):
        search(SPACES["compofa-elastic"], accuracy=Wider(space), latency=published(name)["latency"], budgets_ms=(9,))


def with_balanced(*rows):
    """Tables of subnets (top-1 and balanced accuracy in thousandths, ms)."""
    inputs = few(*((top1, ms) for top1, _, ms in rows))
    for (name, record), (_, balanced, _) in zip(list(inputs["accuracy"].items()), rows):
        assert name == SPACE.id(record.arch)
        inputs["accuracy"].add(replace(record, balanced=balanced / 1000))
    return inputs


def test_the_objective_decides_what_is_best():
    inputs = with_balanced((700, 500, 1.0), (800, 400, 2.0), (750, 650, 3.0))
    by_top1, balanced = (search(SPACE, **inputs, budgets_ms=(5,), objective=name) for name in ("top1", "balanced"))
    assert [by_top1.best(5).top1, by_top1.best(5).balanced] == [0.8, None]
    assert (balanced.best(5).top1, balanced.best(5).balanced, balanced.best(5).score) == (0.75, 0.65, 0.65)
    assert [point.predicted_ms for point in balanced] == [1.0, 3.0]
    assert "balanced" in str(balanced) and "balanced" not in str(by_top1)


def test_objectives_that_cannot_be_had_are_refused():
    with pytest.raises(InputError, match=r"objective must be one of top1, balanced. Received: objective='f1'"):
        search(SPACE, **few((700, 1.0)), objective="f1")
    with pytest.raises(InputError, match=r"from before balanced accuracies were measured; delete it and measure again"):
        search(SPACE, **few((700, 1.0)), objective="balanced")


def test_figures_on_all_pictures_decide_between_the_points_of_the_front(tmp_path):
    """The first leads on the part that the table is of, the second on all of the pictures."""
    inputs = few((700, 1.0), (760, 2.0), (780, 3.0))
    inputs["accuracy"].images, inputs["accuracy"].available = 1000, 5000
    alone = search(SPACE, **inputs, budgets_ms=(1, 5))
    assert alone.best(5).top1 == 0.78 and len(alone.unconfirmed) == 3
    assert any("3 of 3 points were not measured on all of them" in line for line in alone.doubts)
    whole = AccuracyTable(SPACE, "digits", images=None)
    for point, top1 in zip(alone.points, (0.69, 0.75, 0.74)):
        whole.add(AccuracyRecord(point.arch, top1, 0.95, 5000, 0.7))
    front = search(SPACE, **inputs, budgets_ms=(1, 5), whole=whole)
    assert (front.best(5).top1, front.best(5).whole_score) == (0.76, 0.75)
    assert front.unconfirmed == () and [point.id for point in front] == [point.id for point in alone]
    assert "on all pictures" in str(front)
    front.save(tmp_path / "front.json")
    again = Front.load(tmp_path / "front.json")
    assert again.candidates == front.candidates and again.best(5) == front.best(5)
    content = json.loads((tmp_path / "front.json").read_text(encoding="utf-8"))
    assert content["schema_version"] == 2 and content["objective"] == "top1"
    assert content["figures"] == {"accuracy": "measured", "latency": "predicted", "optimism": "estimated"}
    assert (content["accuracy"]["role"], content["accuracy"]["device"]) == ("val", "host")
