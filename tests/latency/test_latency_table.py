"""Latency tables: prediction, validation, files and bad input, without TensorFlow."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from spaces import KINDS, small_space

from compofa_tf import families
from compofa_tf.errors import InputError, NotCoveredError
from compofa_tf.latency.correction import Check, Correction, Validation
from compofa_tf.latency.plan import MeasurementPlan
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.space import Arch

SPACE = families.mobilenet_v3(width_mult=0.25, classes=10, input_size=32)
DATE = "2026-11-22T12:00:00+00:00"


def timing(ms, **changes):
    values = {"turn_ms": (ms,) * 4, "p90_ms": 1.1 * ms, "min_ms": 0.9 * ms, "runs": 20}
    return Timing(**{**values, "fully_accelerated": True, "date": DATE, **changes})


def filled(space=SPACE, resolutions=(24, 32), **changes):
    """A table whose pieces take as many ms as their keys decide, 0.1 to 1.1."""
    table = LatencyTable(space, resolutions=resolutions, **changes)
    for key in MeasurementPlan.of(space, resolutions=resolutions).pieces:
        table.add(key, timing(0.1 + sum(key.encode()) % 997 / 997))
    return table


def plain_sum(table, arch):
    return sum(table.entries[piece.key].ms for piece in table.space.pieces(arch))


@pytest.mark.parametrize(("kernel", "coupling"), KINDS)
def test_prediction_is_the_corrected_sum(kernel, coupling):
    space = small_space(kernel, coupling)
    table = filled(space, (16, 32), correction=Correction(1.2, 0.01))
    for arch in itertools.islice(space.enumerate(resolutions=(16, 32)), 400):
        expected = 1.2 * plain_sum(table, arch) - (len(space.pieces(arch)) - 1) * 0.01
        assert table.predict(arch) == pytest.approx(expected, rel=1e-12)


def test_prediction_follows_new_measurements():
    table, arch = filled(), SPACE.smallest(32)
    before = table.predict(arch)
    stem = SPACE.pieces(arch)[0].key
    table.add(stem, timing(50.0, turn_ms=(50.0,) * 400, runs=2000))
    assert table.predict(arch) == pytest.approx(plain_sum(table, arch)) and table.predict(arch) > before + 40


def test_missing_resolution_is_refused():
    table = filled(resolutions=(24,))
    assert table.covers(SPACE.smallest(24)) and not table.covers(SPACE.smallest(32))
    with pytest.raises(NotCoveredError, match=r"r32-d22222 in int8 on host.*measured resolutions: 24\.$"):
        table.predict(SPACE.smallest(32))


def test_missing_piece_names_it_and_the_nearest():
    table, arch = filled(), SPACE.smallest(32)
    missing, near = (SPACE.pieces(SPACE.smallest(side))[2].key for side in (32, 24))
    del table.entries[missing]
    with pytest.raises(KeyError) as caught:
        table.predict(arch)
    assert f"piece {missing} is missing; nearest measured pieces: {near}" in str(caught.value)
    assert table.covers(SPACE.arch(depths=(2, 3, 2, 2, 2), resolution=32))
    with pytest.raises(NotCoveredError, match="none"):
        LatencyTable(SPACE, resolutions=(32,)).predict(arch)


def test_subnets_of_other_spaces_are_refused():
    table = filled()
    table.predict(SPACE.smallest(32))
    foreign = small_space().smallest(32)
    for arch in (foreign, Arch((2,) * 5, (9,) * 20, (3,) * 20, 32), Arch((2,) * 5, (3,) * 20, (3,) * 19, 32)):
        with pytest.raises(InputError, match="no such subnet"):
            table.predict(arch)


def test_validation_is_of_subnets_that_were_not_fitted_on():
    table = filled(correction=Correction(1.0, 0.0))
    archs = [SPACE.sample(np.random.default_rng(seed), resolution=32) for seed in range(5)]
    errors = (50.0, -2.0, 4.0, 0.0, 2.0)
    for arch, error in zip(archs, errors):
        table.add(SPACE.id(arch), timing(table.predict(arch) / (1 + error / 100)), subnet=True)
    table.fitted = (SPACE.id(archs[0]),)
    assert sorted(c.error_percent for c in table.validation.checks) == pytest.approx([-2, 0, 2, 4])
    assert table.validation.mean_absolute_error_percent == pytest.approx(2)
    assert table.validation.worst_error_percent == pytest.approx(4)
    assert table.validation.bias_percent == pytest.approx(1)
    assert "4 whole subnets measured: mean absolute error 2.00 %, worst 4.00 %, bias +1.00 %" in str(table.validation)
    assert filled().validation is None
    assert Validation((Check("a", 1, 1), Check("b", 2, 2))).spearman is None


def checked_table():
    table = filled(conditions={"processor": "abacus"}, recipe_hash="feed", correction=Correction(1.1, 0.02))
    for arch in (SPACE.smallest(24), SPACE.largest(32), SPACE.arch(depths=3, resolution=24)):
        table.add(SPACE.id(arch), timing(table.predict(arch) * 1.01), subnet=True)
    table.fitted = (SPACE.id(SPACE.smallest(24)),)
    return table


def test_a_file_gives_the_same_table(tmp_path):
    table = checked_table()
    table.save(tmp_path / "t.json")
    again = LatencyTable.load(tmp_path / "t.json", space=SPACE)
    assert again.to_json() == table.to_json() and again.recipe_hash == "feed"
    assert again.predict(SPACE.largest(32)) == table.predict(SPACE.largest(32))
    content = json.loads((tmp_path / "t.json").read_text())
    assert content["kind"] == "latency_table" and content["validation"]["count"] == 2
    row = content["entries"][SPACE.pieces(SPACE.smallest(24))[0].key]
    assert row["measured"] is True and row["ms"] > 0 and row["noisy"] is False
    with pytest.raises(InputError, match="exists"):
        table.save(tmp_path / "t.json", overwrite=False)


def test_table_of_another_space(tmp_path):
    checked_table().save(tmp_path / "t.json")
    other = families.mobilenet_v3(width_mult=0.5, classes=10, input_size=32)
    with pytest.raises(InputError, match=r"t\.json.*of another space.*width_mult=0\.25.*instead of.*width_mult=0\.5"):
        LatencyTable.load(tmp_path / "t.json", space=other)


def test_truncated_missing_and_foreign_files(tmp_path):
    path = tmp_path / "t.json"
    with pytest.raises(InputError, match="does not exist"):
        LatencyTable.load(path)
    checked_table().save(path)
    path.write_text(path.read_text()[:-500])
    with pytest.raises(InputError, match="truncated"):
        LatencyTable.load(path)
    path.write_text('{"kind": "front"}')
    with pytest.raises(InputError, match="is not a latency table file"):
        LatencyTable.load(path)


def damage(content, where, value):
    *parents, last = where
    for name in parents:
        content = content[name]
    if value is KeyError:
        del content[last]
    else:
        content[last] = value


STEM = SPACE.pieces(SPACE.smallest(24))[0].key


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("entries", STEM, "turn_ms"), [1.0, -1.0], "positive, finite"),
        (("entries", STEM, "turn_ms"), [], "positive, finite"),
        (("entries", STEM, "min_ms"), math.nan, "positive, finite"),
        (("entries", STEM, "p90_ms"), 0, "positive, finite"),
        (("entries", STEM, "ms"), 1e-3, "was edited"),
        (("entries", STEM, "ms"), -1, "was edited"),
        (("entries", STEM, "runs"), 3, "a turn needs runs. Received: runs=3 in 4 turns"),
        (("entries", STEM, "date"), KeyError, "lacks 'date'; it is damaged"),
        (("entries",), KeyError, "lacks 'entries'; it is damaged"),
        (("entries",), [1], "cannot be used"),
        (("correction", "scale"), -1.0, "positive scale"),
        (("correction", "overhead_ms"), math.inf, "finite overhead"),
        (("correction", "fitted_on"), ["r32-d99999"], "No subnet of this space has that name"),
        (("space",), {"family": "nothing", "settings": {}}, "cannot be used"),
    ],
)
def test_damaged_values_are_refused_in_one_sentence(tmp_path, where, value, message):
    path = tmp_path / "t.json"
    checked_table().save(path)
    content = json.loads(path.read_text())
    damage(content, where, value)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        LatencyTable.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_reading_a_table_does_not_import_tensorflow(tmp_path):
    checked_table().save(tmp_path / "t.json")
    code = (
        "import sys; from compofa_tf import LatencyTable; table = LatencyTable.load(sys.argv[1]); "
        "assert table.predict(table.space.smallest(24)) > 0 and table.validation; "
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'TensorFlow was imported'"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "t.json")], check=True)
