"""Exact search against brute force, the published optimum, and bad input."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from compofa_tf import families, files
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.errors import InputError, NotCoveredError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.searches.budgets import check_budgets, pareto, round_up
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Candidate, Front, default_budgets
from compofa_tf.space import Space

SPACE = families.mobilenet_v3(classes=10, input_size=32)


@dataclass
class FakeLatency:
    """A latency table as the search sees one."""

    space: object
    ms: dict = field(default_factory=dict)
    precision: str = "int8"
    device: str = "host"
    threads: int = 1
    conditions: dict = field(default_factory=dict)

    def predict(self, arch):
        if arch not in self.ms:
            raise NotCoveredError(f"No piece was measured for resolution {arch.resolution}.")
        return self.ms[arch]


def tables(rows, *, space=SPACE, resolutions=(), count=1000):
    """Tables from ``(arch, correct, ms)`` rows."""
    accuracy = AccuracyTable(space, data="digits", resolutions=resolutions, recipe_hash="feed")
    latency = FakeLatency(space)
    for arch, correct, ms in rows:
        accuracy.add(AccuracyRecord(arch, correct / count, 1.0, count))
        latency.ms[arch] = ms
    return {"accuracy": accuracy, "latency": latency}


def random_rows(seed, *, resolutions=(24, 32), coarse=False):
    """Every member with random values; coarse ones make many ties."""
    rng = np.random.default_rng(seed)
    for arch in SPACE.enumerate(resolutions=resolutions):
        ms = float(rng.integers(5, 25)) if coarse else float(rng.uniform(0.5, 9.0))
        yield arch, int(rng.integers(500, 520) if coarse else rng.integers(300, 900)), ms


def few(*values):
    """Front inputs with the given (correct of 1000, ms), one member each, in the order of the enumeration."""
    return tables((arch, *value) for arch, value in zip(SPACE.enumerate(resolutions=(32,)), values))


def ids(candidates):
    return [candidate.id for candidate in candidates]


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


def test_pareto_of_ties_duplicates_and_one():
    latency = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    accuracy = np.array([0.5, 0.5, 0.4, 0.5, 0.6, 0.6, 0.7])
    assert pareto(latency, accuracy).tolist() == [True, True, False, False, True, False, True]
    assert pareto(np.array([1.0]), np.array([0.0])).tolist() == [True]


def test_ties_are_broken_by_latency_then_by_id():
    front = search(SPACE, **few((700, 3.0), (700, 2.0), (700, 2.0), (600, 1.0)), budgets_ms=(5,))
    assert front.best(5).id == "r32-d22223"
    assert ids(front) == ["r32-d22232", "r32-d22223", "r32-d22224"]
    assert ids(front.alternatives(5)) == ["r32-d22224", "r32-d22232"]
    assert ids(front.alternatives(5, count=1)) == ["r32-d22224"]


def test_budget_is_inclusive():
    front = search(SPACE, **few((600, 1.0), (700, 2.0)), budgets_ms=(2,))
    assert front.best(2.0).top1 == 0.7 and front.best(math.nextafter(2.0, 0)).top1 == 0.6


def test_impossible_budget_names_the_fastest_and_what_is_possible():
    inputs = few((600, 3.4123), (700, 5.0))
    with pytest.raises(InputError) as caught:
        search(SPACE, **inputs, budgets_ms=(10, 3))
    assert str(caught.value) == (
        "No member of the family is that fast: the fastest, r32-d22222, is predicted at 3.412 ms (int8); use a budget "
        "of at least 3.42 ms. Received: budget_ms=3"
    )
    assert search(SPACE, **inputs, budgets_ms=(3.42,)).best(3.42).id == "r32-d22222"


@pytest.mark.parametrize("budget", [0, -1, math.nan, math.inf, True, "20", None])
def test_budgets_must_be_positive_numbers(budget):
    with pytest.raises(InputError, match="positive number of milliseconds"):
        search(SPACE, **few((600, 1.0)), budgets_ms=(5, budget))
    with pytest.raises(InputError, match="positive number of milliseconds"):
        search(SPACE, **few((600, 1.0))).best(budget)


@pytest.mark.parametrize("budgets", [20, "20"])
def test_budgets_must_be_a_list(budgets):
    with pytest.raises(InputError, match="list of numbers"):
        search(SPACE, **few((600, 1.0)), budgets_ms=budgets)


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


# Default budgets


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("coarse", [False, True])
def test_default_budgets_choose_different_members(seed, coarse):
    front = search(SPACE, **tables(random_rows(seed, coarse=coarse)))
    distinct = len({point.predicted_ms for point in front})
    assert len(front.budgets) == min(3, distinct)
    assert len({c.id for c in front.chosen.values()}) == len(front.budgets)
    assert min(front.budgets) >= front.points[0].predicted_ms
    assert front.best(front.budgets[-1]).top1 == front.points[-1].top1


def test_default_budgets_are_readable_and_documented():
    values = [(500 + i, 2.0 * 8 ** (i / 60)) for i in range(61)]
    front = search(SPACE, **few(*values))
    # 2 * 8^(1/6) = 2.83, 2 * 8^(7/12) = 6.73, 16; each with 5 % on top, rounded up to two digits.
    assert front.budgets == (3.0, 7.1, 17.0)
    assert default_budgets(front, count=1) == (6.0,)
    assert len(default_budgets(front, count=10)) == 10


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(600, 1.234)], (1.3,)),
        ([(600, 1.0), (700, 1.0001)], (1.0, 1.1)),
        ([(600, 1.0), (601, 1.001), (602, 1.002)], (1.0, 1.001, 1.1)),
        ([(600, 1.0), (601, 9.8), (602, 9.9)], (1.6, 9.8, 11.0)),
    ],
)
def test_default_budgets_of_small_and_dense_fronts(values, expected):
    front = search(SPACE, **few(*values))
    assert front.budgets == expected
    assert len({c.id for c in front.chosen.values()}) == len(values)


@pytest.mark.parametrize(
    ("value", "digits", "expected"), [(0.0312, 2, 0.032), (3.4123, 3, 3.42), (5.0, 1, 5.0), (99.1, 1, 100)]
)
def test_round_up(value, digits, expected):
    assert round_up(value, digits=digits) == expected


def test_check_budgets_sorts_and_drops_repetitions():
    assert check_budgets((5, 2.5, np.float32(5), np.int64(7))) == (2.5, 5.0, 7.0)


# The file


@pytest.fixture
def saved(tmp_path):
    front = search(SPACE, **tables(random_rows(3)), budgets_ms=(2, 4, 8))
    path = tmp_path / "runs" / "front.json"
    front.save(path)
    return front, path


def test_saved_front_comes_back_equal(saved):
    front, path = saved
    again = Front.load(path, space=SPACE)
    assert again.candidates == front.candidates and again.points == front.points and again.chosen == front.chosen
    assert again.budgets == front.budgets and again.to_json() == front.to_json() and again.recipe_hash == "feed"
    assert again.alternatives(4) == front.alternatives(4)


def test_file_labels_what_is_predicted(saved):
    front, path = saved
    content = files.read_json(path, kind="front")
    point = content["points"][0]
    assert set(point["latency"]) == {"predicted_ms"}
    assert point["accuracy"]["low"] < point["accuracy"]["top1"] < point["accuracy"]["high"]
    assert content["budgets_ms"] == [2, 4, 8] and content["precision"] == "int8"
    choice = content["chosen"][1]
    assert choice["id"] == front.best(4).id and choice["alternatives"] == ids(front.alternatives(4))[:8]


def test_search_and_file_are_deterministic(tmp_path):
    texts = []
    for shuffle in (False, True):
        rows = list(random_rows(5, coarse=True))
        if shuffle:
            np.random.default_rng(0).shuffle(rows)
        content = search(SPACE, **tables(rows), budgets_ms=(6, 9)).to_json()
        texts.append(json.dumps(content))
    assert texts[0] == texts[1]


def edited(change):
    def spoil(text):
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[:-200], "truncated"),
        (lambda text: text.replace('"front"', '"artifact"', 1), "not a front"),
        (edited(lambda c: c.pop("family")), "lacks 'family'"),
        (edited(lambda c: c["family"]["top1"].pop()), "differ in length"),
        (edited(lambda c: c["chosen"][0].update(id="r32-d22222")), "do not follow"),
        (edited(lambda c: c["points"].pop()), "do not follow"),
        (edited(lambda c: c["family"]["id"].__setitem__(0, "r32-d99999")), "cannot be used"),
        (edited(lambda c: c["budgets_ms"].append(0.001)), "cannot be used: No member"),
    ],
)
def test_damaged_front_is_refused(saved, spoil, message):
    _, path = saved
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError, match=message) as caught:
        Front.load(path)
    assert str(path) in str(caught.value)


def test_front_of_another_space_is_refused(saved):
    with pytest.raises(InputError, match="another space"):
        Front.load(saved[1], space=families.mobilenet_v3(classes=11, input_size=32))


def test_save_refuses_to_overwrite(saved):
    front, path = saved
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        front.save(path, overwrite=False)
    assert path.read_bytes() == before


# The published search


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
    """Four budgets over all members at 17 resolutions."""
    resolutions = range(160, 228, 4)
    space = families.mobilenet_v3()
    rng = np.random.default_rng(0)
    accuracy = AccuracyTable(space, data="fake", resolutions=tuple(resolutions))
    latency = LatencyTable(space, resolutions=tuple(resolutions), conditions={"processor": "fake"})
    for arch in space.enumerate(resolutions=resolutions):
        accuracy._insert(space.id(arch), AccuracyRecord(arch, float(rng.uniform(0.5, 0.8)), 1.0, 1000))
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
    # Sums of stages are kept: cutting every member into its pieces would take 4,131 calls and most of the time.
    assert len(asked) <= 17 * (5 * 2 + 1)


def test_candidate_json_has_interval():
    content = Candidate("r32-d22222", SPACE.smallest(32), 0.5, 100, 1.5).to_json()
    assert content["accuracy"]["low"] == pytest.approx(0.4038, abs=1e-4)
