"""The published look-up tables as latency tables, and files of that form that cannot be used."""

from __future__ import annotations

import pytest
from published_tables import ROW, SPACES, TABLES, published, rows_as_yaml

from compofa_tf import families
from compofa_tf.errors import InputError, NotCoveredError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.published.lookup_tables import latency_from_lookup, read_lookup_tables


def test_published_tables_are_latency_tables(tmp_path):
    table = published("compofa")["latency"]
    table.save(tmp_path / "note10.json")
    again = LatencyTable.load(tmp_path / "note10.json", space=SPACES["compofa"])
    arch = SPACES["compofa"].largest(176)
    assert again.predict(arch) == table.predict(arch)
    assert "width 1.2" in again.conditions["caveat"]
    with pytest.raises(NotCoveredError, match="180"):
        table.predict(arch.at(180))


def test_read_tables_are_the_packaged_ones(reference):
    read = read_lookup_tables(reference / "latency_table@note10")
    assert read.keys() == TABLES.keys()
    for side, rows in read.items():
        assert {key: row["mean"] for key, row in rows.items()} == {k: r["mean"] for k, r in TABLES[side].items()}


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


@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e6])
def test_lookup_tables_in_another_unit(tmp_path, factor):
    """Seconds, microseconds, nanoseconds."""
    rows_as_yaml(tmp_path, factor)
    with pytest.raises(InputError, match=r"table for 160 px is not in ms|number of ms, from 0.0001"):
        latency_from_lookup(SPACES["compofa"], read_lookup_tables(tmp_path))
