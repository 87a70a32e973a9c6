"""The published predictor and latency tables, and the searches that use them, against the original's numbers."""

from __future__ import annotations

import functools
import itertools
import json

import numpy as np
import pytest

from compofa_tf import families, files
from compofa_tf.cli import main
from compofa_tf.errors import InputError, NotCoveredError
from compofa_tf.latency.arrays import Latencies
from compofa_tf.latency.correction import Correction
from compofa_tf.latency.table import LatencyTable
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.published.lookup_tables import latency_from_lookup, published_lookup_tables, read_lookup_tables
from compofa_tf.searches.evolution import Evolution
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front
from compofa_tf.searches.genes import Genes
from compofa_tf.space.archs import Archs

SPACES = {
    "compofa": families.mobilenet_v3(),
    "compofa-elastic": families.mobilenet_v3(kernel="elastic"),
    "ofa": families.mobilenet_v3(coupling="independent", kernel="elastic"),
}
FIVE = (160, 176, 192, 208, 224)
BUDGETS = (15, 20, 25, 30)
TABLES = published_lookup_tables()


def arch_of(space, case):
    return space.arch(depths=case["d"], expands=case["e"], kernels=case["ks"], resolution=case["r"][0])


def published(name, resolutions=FIVE):
    space = SPACES[name]
    return {
        "accuracy": AccuracyPredictor.published(space),
        "latency": latency_from_lookup(space, TABLES, resolutions=resolutions),
    }


@pytest.fixture(scope="module")
def predictions(reference):
    return json.loads((reference / "search_predictions.json").read_text())


@pytest.mark.parametrize("name", SPACES)
def test_predictions_are_the_originals(name, predictions):
    space, cases = SPACES[name], predictions[name]
    archs = [arch_of(space, case) for case in cases]
    latency, predictor = published(name)["latency"], AccuracyPredictor.published(space)
    expected = [case["latency_ms"] for case in cases]
    np.testing.assert_allclose([latency.predict(arch) for arch in archs], expected, rtol=0, atol=1e-9)
    members = Archs.of(space, archs)
    np.testing.assert_allclose(Latencies(space, latency, FIVE).predict_all(members), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(predictor.predict_all(members), [case["accuracy"] for case in cases], rtol=0, atol=1e-6)
    assert predictor.predict(archs[3]) == pytest.approx(cases[3]["accuracy"], abs=1e-6)


def test_resolutions_between_those_of_the_predictor(predictions):
    space = SPACES["ofa"]
    cases = predictions["ofa_other_resolutions"]
    members = Archs.of(space, [arch_of(space, case) for case in cases])
    predicted = AccuracyPredictor.published(space).predict_all(members)
    np.testing.assert_allclose(predicted, [case["accuracy"] for case in cases], rtol=0, atol=1e-6)


def test_inputs_of_the_predictor(predictions):
    space, example = SPACES["ofa"], predictions["encoding_example"]
    members = Archs.of(space, [arch_of(space, example["arch"])])
    (row,) = AccuracyPredictor.published(space).encode(members)
    assert np.flatnonzero(row).tolist() == example["nonzero_indices"]


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
    members = Archs.all_of(space, sides)
    tables = published("compofa", sides)
    accuracy, latency = tables["accuracy"].predict_all(members), Latencies(space, tables["latency"], sides)
    by_content = {name: values for name, values in content.items() if values.size == len(members)}
    ours = {"accuracy": accuracy, "latency": latency.predict_all(members)}
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


# Without the reference data


@pytest.mark.parametrize("name", SPACES)
def test_members_as_arrays_are_the_members(name):
    space = SPACES[name]
    rng = np.random.default_rng(0)
    archs = [space.sample(rng, resolutions=FIVE) for _ in range(20)]
    members = Archs.of(space, archs)
    assert [members.arch(space, index) for index in range(20)] == archs
    assert len(set(members.keys().tolist())) == len(set(archs))


def test_all_members_come_in_the_order_of_the_enumeration():
    space = SPACES["compofa"]
    members = Archs.all_of(space, (160, 224))
    archs = list(space.enumerate(resolutions=(160, 224)))
    assert len(members) == len(archs)
    assert all(members.arch(space, index) == archs[index] for index in range(0, len(archs), 7))


@pytest.mark.parametrize("name", SPACES)
def test_latencies_of_many_are_those_of_one(name):
    space, latency = SPACES[name], published(name)["latency"]
    latency.correction = Correction(scale=0.9, overhead_ms=0.05)
    rng = np.random.default_rng(1)
    archs = [space.sample(rng, resolutions=FIVE) for _ in range(30)]
    found = Latencies(space, latency, FIVE).predict_all(Archs.of(space, archs))
    np.testing.assert_allclose(found, [latency.predict(arch) for arch in archs], rtol=1e-12)


def test_published_tables_are_latency_tables(tmp_path):
    table = published("compofa")["latency"]
    table.save(tmp_path / "note10.json")
    again = LatencyTable.load(tmp_path / "note10.json", space=SPACES["compofa"])
    arch = SPACES["compofa"].largest(176)
    assert again.predict(arch) == table.predict(arch)
    assert "width 1.2" in again.conditions["caveat"]
    with pytest.raises(NotCoveredError, match="180"):
        table.predict(arch.at(180))


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


# Evolution


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
def test_mutated_and_crossed_members_are_members(name):
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
    from compofa_tf.searches import evolution

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


# Bad input


def test_predictor_of_another_space_or_with_other_weights(tmp_path):
    good = dict(
        zip((f"{n}.{p}" for n, p in itertools.product("0246", ("weight", "bias"))), [np.zeros(1, np.float32)] * 8)
    )
    with pytest.raises(InputError, match="shapes"):
        AccuracyPredictor(SPACES["compofa"], good)
    with pytest.raises(InputError, match=r"0\.weight"):
        AccuracyPredictor(SPACES["compofa"], {})
    with pytest.raises(InputError, match="finite"):
        AccuracyPredictor(SPACES["compofa"], {**good, "0.weight": np.array([np.nan])})
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    for name, message in (("absent.npz", "does not exist"), ("cut.npz", "truncated")):
        with pytest.raises(InputError, match=message):
            AccuracyPredictor.load(tmp_path / name, space=SPACES["compofa"])
    tables = published("compofa")
    with pytest.raises(InputError, match="of another space"):
        search(SPACES["ofa"], accuracy=tables["accuracy"], latency=published("ofa")["latency"], budgets_ms=(20,))
    with pytest.raises(InputError, match="resolutions from 112"):
        tables["accuracy"].predict(SPACES["compofa"].largest(64))


ROW = "{mean: 1.0, std: 0.1, count: 3}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("- 1\n", "no rows"),
        (f"a: {ROW}\na: {ROW}\n", "stands there twice"),
        ("a: {std: 1.0}\n", "lacks mean or count"),
        ("a: {mean: -1.0, count: 3}\n", "positive number of ms"),
        ("a: {mean: .nan, count: 3}\n", "positive number of ms"),
        ("a: {mean: 1 ms, count: 3}\n", "positive number of ms"),
        ("a: {mean: 1.0, count: true}\n", "its count a whole number"),
        ("a: {mean: 1" + 400 * "0" + ", count: 3}\n", "positive number of ms"),
        ("a: {mean: 1" + 5000 * "0" + ", count: 3}\n", "plain YAML"),
        ("a: {mean: 2020-13-45, count: 3}\n", "plain YAML"),
        ("? [1, 2]\n: 3\n", "plain YAML"),
        (f"~: {ROW}\n", "named by a text"),
        (3000 * "[ ", "plain YAML"),
        ("a: {mean: 1.0", "plain YAML"),
        ("a: !!python/object/apply:os.mkdir [MARK]\n", "plain YAML"),
    ],
)
def test_damaged_lookup_tables(tmp_path, text, message):
    mark = tmp_path / "mark"
    (tmp_path / "160_lookup_table.yaml").write_text(text.replace("MARK", str(mark)))
    with pytest.raises(InputError, match=message):
        read_lookup_tables(tmp_path)
    assert not mark.exists()


def test_lookup_tables_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_lookup_tables(tmp_path / "absent")
    with pytest.raises(InputError, match="no file like"):
        read_lookup_tables(tmp_path)
    (tmp_path / "160_lookup_table.yaml").write_text(f"a: {ROW}\n")
    (tmp_path / "0160_lookup_table.yaml").write_text(f"a: {ROW}\n")
    with pytest.raises(InputError, match="two tables of one resolution"):
        read_lookup_tables(tmp_path)
    (tmp_path / "0160_lookup_table.yaml").unlink()
    with pytest.raises(InputError, match="table for 160 px has no Conv-input"):
        latency_from_lookup(SPACES["compofa"], read_lookup_tables(tmp_path))
    with pytest.raises(InputError, match="resolution=128"):
        latency_from_lookup(SPACES["compofa"], TABLES, resolutions=(128,))
    with pytest.raises(InputError, match="published tables are for"):
        latency_from_lookup(families.mobilenet_v3(profile="edgetpu"), TABLES)


def rows_as_yaml(folder, factor=1.0, sides=(160,)):
    """The packaged tables as YAML files, their latencies in another unit."""
    import yaml

    for side in sides:
        rows = {key: {**row, "mean": row["mean"] * factor} for key, row in TABLES[side].items()}
        (folder / f"{side}_lookup_table.yaml").write_text(yaml.safe_dump(rows))


@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e6])
def test_lookup_tables_in_another_unit(tmp_path, factor):
    """Seconds, microseconds, nanoseconds."""
    rows_as_yaml(tmp_path, factor)
    with pytest.raises(InputError, match=r"table for 160 px is not in ms|number of ms, from 0.0001"):
        latency_from_lookup(SPACES["compofa"], read_lookup_tables(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [{"classes": 10}, {"width_mult": 0.5}, {"profile": "edgetpu"}, {"input_size": 64}, {"strides": (2, 1, 2, 2, 1, 2)}],
)
def test_the_predictor_refuses_spaces_that_it_was_not_made_for(changes):
    with pytest.raises(InputError, match="is for ImageNet's 1000 classes"):
        AccuracyPredictor.published(families.mobilenet_v3(**changes))
    with pytest.raises(InputError, match="mobilenet_v3 family only"):
        AccuracyPredictor.published(families.proxyless_nas())


# On a work directory, through the command line


def described(folder, name, *changes):
    """What an import leaves behind except the weights."""
    from compofa_tf.pipeline.importing import _recipe_of

    space = SPACES[name]
    recipe = _recipe_of(space).override([*changes, "search.precision=int8"])
    recipe.save(folder / "recipe.json")
    content = {"space": space.to_json(), "labels": [], "normalization": {}, "imported_from": "x.pth"}
    files.write_json(folder / "supernet" / "supernet.json", content, kind="supernet")
    return folder


def compofa(capsys, *words):
    code = main.run(main.parse(["compofa", *map(str, words)]))
    said = capsys.readouterr()
    return code, said.out if code == 0 else said.err


PUBLISHED = ("--accuracy", "published", "--latency", "published")


def test_a_compound_space_is_searched_exactly_from_published_sources(tmp_path, capsys):
    folder = described(tmp_path, "compofa")
    code, text = compofa(capsys, "search", "--workdir", folder, *PUBLISHED, "--budget-ms", "15,20")
    assert code == 0
    for part in ("Accuracies are predicted", "width 1.2", "not of this machine", "all 1,215", "predicted top-1"):
        assert part in text
    assert "r160-d23233" in text and "r192-d23233" in text
    content = json.loads((folder / "front.json").read_text())
    assert content["covered"] == {"predicted": 1215, "of": 1215} and content["recipe_hash"]
    code, text = compofa(capsys, "report", "--workdir", folder)
    page = (folder / "report.html").read_text()
    for part in (
        "All 1,215 candidates, accuracies predicted and not measured",
        "imported checkpoint x.pth",
        "width 1.2",
    ):
        assert part in page, part
    for part in ("no accuracy table", "no training curves", "no latency table", "180 epochs"):
        assert part not in page, part


def test_a_large_space_is_searched_by_evolution_with_a_seed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "compofa_tf.pipeline.searching.Evolution", functools.partial(Evolution, population=20, generations=5)
    )
    folder = described(tmp_path, "ofa", "accuracy.resolutions=160,192")
    words = ("search", "--workdir", folder, *PUBLISHED, "--overwrite")
    found = []
    for seed in (1, 1, 2):
        code, text = compofa(capsys, *words, "--budget-ms", "20,30", "--seed", seed)
        assert code == 0 and "evaluations in an evolution over" in text
        found.append(json.loads((folder / "front.json").read_text()))
    assert found[0]["points"] == found[1]["points"] != found[2]["points"]
    assert found[0]["accuracy"]["seed"] == 1
    assert found[0]["covered"]["of"] == 2 * SPACES["ofa"].size
    assert found[0]["covered"]["predicted"] > len(found[0]["family"]["id"])
    compofa(capsys, "report", "--workdir", folder)
    assert "evaluations in an evolution over" in (folder / "report.html").read_text()
    code, text = compofa(capsys, *words)
    assert code == 1 and "--budget-ms" in text


def test_own_lookup_tables_from_the_command_line(tmp_path, capsys):
    folder, tables = described(tmp_path / "run", "compofa"), tmp_path / "phone"
    tables.mkdir()
    rows_as_yaml(tables)
    words = ("search", "--workdir", folder, "--accuracy", "published", "--latency", f"lookup:{tables}")
    code, text = compofa(capsys, *words, "--budget-ms", "15")
    assert code == 0 and "r160-d23233" in text and f"look-up tables of {tables}" in text
    assert json.loads((folder / "front.json").read_text())["latency"]["device"] == "phone"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--latency", "published"), "--accuracy published"),
        (("--accuracy", "guessed"), "measured or published"),
        (("--accuracy", "published"), "compofa measure --latency"),
        (("--accuracy", "published", "--latency", "pixel"), "lookup:FOLDER"),
        (("--accuracy", "published", "--latency", "lookup:absent"), "cannot be read"),
    ],
)
def test_sources_that_are_not_there(tmp_path, capsys, words, message):
    folder = described(tmp_path, "compofa")
    code, text = compofa(capsys, "search", "--workdir", folder, *words)
    assert code == 1 and message in text and text.count("\n") == 1
    assert not (folder / "front.json").exists()


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: {mean: 1.0", "a: !!python/name:os.system {}\n", f"a: {ROW}\na: {ROW}\n"]
)
def test_damaged_tables_from_the_command_line_write_nothing(tmp_path, capsys, text):
    folder = described(tmp_path, "compofa")
    (tmp_path / "160_lookup_table.yaml").write_text(text)
    code, said = compofa(
        capsys, "search", "--workdir", folder, "--accuracy", "published", "--latency", f"lookup:{tmp_path}"
    )
    assert code == 1 and "160_lookup_table.yaml" in said
    assert not (folder / "front.json").exists()


def test_read_tables_are_the_packaged_ones(reference):
    read = read_lookup_tables(reference / "latency_table@note10")
    assert read.keys() == TABLES.keys()
    for side, rows in read.items():
        assert {key: row["mean"] for key, row in rows.items()} == {k: r["mean"] for k, r in TABLES[side].items()}
