"""The parts of the evolution: who is kept, who has children, what a local search looks at, what a front records."""

from __future__ import annotations

import json

import numpy as np
import pytest
from spaces import small_space

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import latencies_of
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.published.lookup_tables import latency_from_lookup, published_lookup_tables
from compofa_tf.searches import evolution, refining
from compofa_tf.searches.evolution import Evolution, evolve
from compofa_tf.searches.exact import search
from compofa_tf.searches.genes import Genes
from compofa_tf.searches.population import Population
from compofa_tf.space.archs import Archs

SPACES = {
    "compofa": families.mobilenet_v3(),
    "compofa-elastic": families.mobilenet_v3(kernel="elastic"),
    "ofa": families.mobilenet_v3(coupling="independent", kernel="elastic"),
}
SIDES = (160, 192, 224)
TABLES = published_lookup_tables()


def predictors(name):
    space = SPACES[name]
    table = latency_from_lookup(space, TABLES, resolutions=SIDES)
    return AccuracyPredictor.published(space), latencies_of(table, SIDES)


def variation(name, seed=0):
    return Genes(SPACES[name], SIDES, np.random.default_rng(seed))


def ids(name, members):
    return [SPACES[name].id(members.arch(SPACES[name], index)) for index in range(len(members))]


# The population


def test_published_shares_are_the_defaults():
    settings = Evolution()
    assert (settings.parents, settings.mutated, settings.probability) == (0.25, 0.5, 0.1)


def test_budgets_share_what_they_evaluate():
    members = variation("ofa").draw(3)
    found = Population((15.0, 30.0), 4)
    found.add(members, np.array([0.7, 0.8, 0.9]), np.array([10.0, 20.0, 40.0]))
    assert ids("ofa", found.best(15, 9)) == ids("ofa", members[[0]])
    assert ids("ofa", found.best(30, 9)) == ids("ofa", members[[1, 0]])
    assert len(found.evaluated_members) == 2 and found.evaluated == 3


def test_known_members_and_repetitions_are_not_evaluated_again():
    members = variation("ofa").draw(6)
    found = Population((15.0,), 9)
    assert found.unknown(members).tolist() == list(range(6))
    found.add(members[:3], np.full(3, 0.5), np.full(3, 9.0))
    assert found.unknown(members[np.array([4, 1, 3, 4, 3, 0])]).tolist() == [0, 2]


def test_population_prefers_members_of_several_kinds_and_is_full_all_the_same():
    draw = variation("ofa")
    crowd, other = draw.draw(400), draw.draw(400)
    crowd, other = crowd[crowd.resolutions == 160][:30], other[other.resolutions == 224][:5]
    alike = Archs(crowd.depths * 0 + 2, crowd.expands, crowd.kernels, crowd.resolutions)
    found = Population((50.0,), 20)
    found.add(Archs.joined([alike, other]), np.linspace(0.9, 0.5, 35), np.full(35, 20.0))
    assert found.accuracy.tolist() == sorted(found.accuracy, reverse=True) and len(found.accuracy) == 20
    best = found.best(50, 20)
    assert best.resolutions.tolist() == [160] * evolution._ALIKE + [224] * 5 + [160] * 5


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


# Children


@pytest.mark.parametrize("name", ["compofa", "ofa"])
def test_mutation_replaces_a_tenth_of_the_choices(name):
    draw = variation(name)
    parents = draw.draw(20_000)
    children = draw.mutate(parents, 0.1)
    changed = (children.depths != parents.depths).mean(), (children.resolutions != parents.resolutions).mean()
    # A new value is the old one in a third of the cases; five standard deviations of the resolutions are 0.009.
    assert changed == pytest.approx((0.1 * 2 / 3, 0.1 * 2 / 3), abs=0.009)


def test_children_keep_the_budget_that_their_parents_are_of():
    accuracy, latency = predictors("ofa")
    draw, found = variation("ofa"), Population((18.0, 30.0), 40)
    members = draw.draw(2000)
    ms = latency.predict_all(members)
    found.add(members[ms <= 30], accuracy.predict_all(members[ms <= 30]).astype(np.float64), ms[ms <= 30])
    children = evolution._children(found, draw, Evolution(population=40), latency)
    ms = latency.predict_all(children)
    # 20 mutated and 20 crossed over of each budget, less those for which no attempt kept it.
    assert 70 < len(children) <= 80 and ms.max() <= 30 and (ms <= 18).sum() >= 35


# The local search


@pytest.mark.parametrize("name", SPACES)
def test_neighbours_are_members_and_hold_every_change_of_one_choice(name):
    space, draw, (accuracy, latency) = SPACES[name], variation(name), predictors(name)
    member = Archs.of(space, [space.arch(depths=3, resolution=192, **free(name))])
    budget_ms = float(latency.predict_all(member)[0]) + 0.5
    found = refining.neighbours(member, budget_ms, draw, accuracy, latency)
    names = ids(name, found)
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
    member = Archs.of(space, [space.arch(depths=3, resolution=192, kernels=5, expands=4)])
    budget_ms = float(latency.predict_all(member)[0])
    found = refining.neighbours(member, budget_ms, draw, accuracy, latency)
    fits = latency.predict_all(found) <= budget_ms
    differing = (found.kernels != member.kernels).sum(1) + (found.expands != member.expands).sum(1)
    assert (fits & (differing > 2)).sum() >= 50
    assert accuracy.predict_all(found[fits]).max() > accuracy.predict_all(member)[0]


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


def test_a_space_with_one_resolution_and_nothing_to_change_but_depths_is_searched():
    space = SPACES["compofa"]
    table = latency_from_lookup(space, TABLES, resolutions=(192,))
    inputs = {"accuracy": AccuracyPredictor.published(space), "latency": table, "budgets_ms": (20, 28)}
    evolved = search(space, **inputs, evolution=Evolution(population=20, generations=10))
    assert evolved.chosen == search(space, **inputs).chosen


# What the original gets wrong


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


# Families of elastic width


class Toy:
    """Accuracy and latency of any member, from a random number per choice; both grow with what is chosen."""

    def __init__(self, seed):
        self.seed = seed

    def predict_all(self, members):
        columns = [members.depths, members.expands, members.kernels, members.widths, members.resolutions[:, None] / 16]
        table = np.concatenate(columns, axis=1)
        factors = np.random.default_rng(self.seed).uniform(0.5, 1.5, table.shape[1])
        return table @ factors


@pytest.mark.parametrize("coupling", ["compound", "independent"])
def test_widths_are_drawn_mutated_crossed_and_changed_one_by_one(coupling):
    space = small_space("residual", coupling)
    draw = Genes(space, (16, 24), np.random.default_rng(0))
    parents = draw.draw(400)
    children = (draw.mutate(parents, 0.3), draw.cross(parents, parents[::-1]), draw.members(draw.genes(parents)))
    for members in (parents, *children):
        archs = [members.arch(space, index) for index in range(len(members))]
        assert all(arch in space for arch in archs)
        assert Archs.of(space, archs).keys().tolist() == members.keys().tolist()
    assert children[2].keys().tolist() == parents.keys().tolist()
    reached = {key for members in (parents, *children) for key in members.keys().tolist()}
    everyone = set(Archs.all_of(space, (16, 24)).keys().tolist())
    assert reached <= everyone and (reached == everyone or coupling == "independent")
    assert {*parents.widths.ravel()} == {0, 1}
    smallest = Archs.of(space, [space.smallest(16)])
    columns, _ = draw.changes(smallest, 1)
    # Three depths and the resolution; where they are free, the expand ratios of two blocks and four widths.
    assert len(columns) == (4 if coupling == "compound" else 10)


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


def test_latencies_of_elastic_widths_are_the_sums_of_their_pieces():
    space = small_space("residual", "independent")
    table, rng = LatencyTable(space, resolutions=(16, 24)), np.random.default_rng(0)
    for arch in space.enumerate(resolutions=(16, 24)):
        for piece in space.pieces(arch):
            timing = Timing((float(rng.uniform(1, 2)),), 1.0, 1.0, 1, True, "2026-11-22")
            table.entries.setdefault(piece.key, timing)
    members = Genes(space, (16, 24), rng).draw(50)
    archs = [members.arch(space, index) for index in range(50)]
    expected = [sum(table.entries[piece.key].ms for piece in space.pieces(arch)) for arch in archs]
    assert len(set(np.round(expected, 6))) > 20
    np.testing.assert_allclose(latencies_of(table, (16, 24)).predict_all(members), expected)


# The fastest member, and predictors of one's own


def published(name, resolutions=SIDES):
    space = SPACES[name]
    return {
        "accuracy": AccuracyPredictor.published(space),
        "latency": latency_from_lookup(space, TABLES, resolutions=resolutions),
    }


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


def test_fastest_member_of_a_space_of_whole_stages():
    tables = published("compofa")
    lookup = latencies_of(tables["latency"], (160, 192))
    everyone = Archs.all_of(SPACES["compofa"], (160, 192))
    fastest = lookup.predict_all(lookup.fastest())
    for side, ms in zip((160, 192), fastest):
        assert ms == lookup.predict_all(everyone[everyone.resolutions == side]).min()


class Wider:
    """A predictor of one's own: wider and deeper is better."""

    def __init__(self, space):
        self.space = space

    def predict_all(self, members):
        return 0.5 + (members.depths.sum(1) + members.expands.sum(1)) / 1000

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


def test_a_budget_below_the_smallest_member_of_a_family_with_elastic_widths():
    """Where wider stages are faster, members are tried before a budget is refused."""
    space = small_space("residual", "independent")
    everyone, smallest = Archs.all_of(space, (16,)), Archs.of(space, [space.smallest(16)])

    class Wide:
        def predict_all(self, members):
            return 20.0 - members.widths.sum(1) + members.depths.sum(1)

        def fastest(self):
            return None

    fastest = Wide().predict_all(everyone).min()
    assert fastest + 2 < Wide().predict_all(smallest).min()
    common = {"accuracy": Toy(1), "latency": Wide(), "resolutions": (16,), "settings": Evolution(generations=2)}
    found = evolve(space, budgets_ms=(fastest + 1,), **common)
    assert (found.latency <= fastest + 1).any()
    with pytest.raises(InputError, match=rf"the fastest of those tried, r16-\S+, is predicted at {fastest:.4g} ms"):
        evolve(space, budgets_ms=(fastest - 0.5,), **common)
