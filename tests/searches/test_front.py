"""What a front answers, prints and saves."""

from __future__ import annotations

import json
import math

import pytest
from evolution_inputs import SPACES, published
from search_inputs import SPACE, few, ids, random_rows, tables

from compofa_tf import families, files
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.searches.candidate import Candidate
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front, default_budgets


def test_ties_are_broken_by_latency_then_by_id():
    front = search(SPACE, **few((700, 3.0), (700, 2.0), (700, 2.0), (600, 1.0)), budgets_ms=(5,))
    assert front.best(5).id == "r32-d22223"
    assert ids(front) == ["r32-d22232", "r32-d22223", "r32-d22224"]
    assert ids(front.alternatives(5)) == ["r32-d22224", "r32-d22232"]
    assert ids(front.alternatives(5, count=1)) == ["r32-d22224"]


def test_a_front_is_printed_as_a_table():
    front = search(SPACE, **few((600, 1.0), (700, 2.0), (800, 30.0), (650, 3.0)), budgets_ms=(2, 2.5, 40))
    assert str(front).splitlines() == [
        "mobilenet_v3 on host, int8: 3 points from 4 of 243 candidates",
        "id          top-1   95 % interval  predicted ms  best within",
        "r32-d22222  60.0%  56.9% to 63.0%         1.000",
        "r32-d22223  70.0%  67.1% to 72.8%         2.000  2 ms, 2.5 ms",
        "r32-d22224  80.0%  77.4% to 82.4%         30.00  40 ms",
    ]
    assert "\n" not in repr(front) and "3 points from 4 of 243" in repr(front)


def test_a_printed_front_of_predictions_says_so():
    front = search(SPACES["compofa"], **published("compofa"), budgets_ms=(20,))
    head, titles, *rows = str(front).splitlines()
    assert head == f"mobilenet_v3 on note10, float32: {len(front)} points from all 729 candidates"
    assert titles.split() == ["id", "predicted", "top-1", "predicted", "ms", "best", "within"]
    assert len(rows) == len(front) and [row for row in rows if row.endswith("20 ms")] == [
        row for row in rows if row.startswith(front.best(20).id)
    ]


def test_budget_is_inclusive():
    front = search(SPACE, **few((600, 1.0), (700, 2.0)), budgets_ms=(2,))
    assert front.best(2.0).top1 == 0.7 and front.best(math.nextafter(2.0, 0)).top1 == 0.6


def test_impossible_budget_names_the_fastest_and_what_is_possible():
    inputs = few((600, 3.4123), (700, 5.0))
    with pytest.raises(InputError) as caught:
        search(SPACE, **inputs, budgets_ms=(10, 3))
    assert str(caught.value) == (
        "No subnet of the space is that fast: the fastest, r32-d22222, is predicted at 3.412 ms (int8); use a budget "
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


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("coarse", [False, True])
def test_default_budgets_choose_different_subnets(seed, coarse):
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
        (edited(lambda c: c["budgets_ms"].append(0.001)), "cannot be used: No subnet"),
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


def test_candidate_json_has_interval():
    content = Candidate("r32-d22222", SPACE.smallest(32), 0.5, 100, 1.5).to_json()
    assert content["accuracy"]["low"] == pytest.approx(0.4038, abs=1e-4)


def test_a_table_that_took_all_pictures_there_were_leaves_no_doubt():
    """Asked for 10,000, found 1,000: an older file does not say so, but the counts do."""
    inputs = few((600, 1.0), (700, 2.0))
    inputs["accuracy"].images = 10_000
    assert search(SPACE, **inputs, budgets_ms=(5,)).unconfirmed == ()


def test_default_budgets_each_choose_another_subnet_by_the_figures_on_all_pictures():
    inputs = few((700, 1.0), (760, 2.0), (780, 3.0), (790, 4.0))
    inputs["accuracy"].images = 1000
    whole = AccuracyTable(SPACE, "digits")
    for record, top1 in zip(inputs["accuracy"].values(), (0.70, 0.75, 0.74, 0.73)):
        whole.add(AccuracyRecord(record.arch, top1, 0.95, 5000, 0.7))
    front = search(SPACE, **inputs, whole=whole)
    assert len(front.budgets) == 2 and len(set(front.chosen.values())) == 2
