"""Searches of a work directory with published accuracies and latencies, through the command line."""

from __future__ import annotations

import functools
import json

import pytest
from published_tables import ROW, SPACES, rows_as_yaml

from compofa_tf import files
from compofa_tf.cli import main
from compofa_tf.pipeline.importing import recipe_for
from compofa_tf.searches.evolution import Evolution

PUBLISHED = ("--accuracy", "published", "--latency", "published")


def described(folder, name, *changes):
    """What an import leaves behind except the weights."""
    space = SPACES[name]
    recipe = recipe_for(space).override([*changes, "search.precision=int8"])
    recipe.save(folder / "recipe.json")
    content = {"space": space.to_json(), "labels": [], "normalization": {}, "imported_from": "x.pth"}
    files.write_json(folder / "supernet" / "supernet.json", content, kind="supernet")
    return folder


def compofa(capsys, *words):
    code = main.run(main.parse(["compofa", *map(str, words)]))
    said = capsys.readouterr()
    return code, said.out if code == 0 else said.err


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
        (("--accuracy", "published"), "run `compofa measure {folder} --latency` first"),
        (("--accuracy", "published", "--latency", "pixel"), "lookup:FOLDER"),
        (("--accuracy", "published", "--latency", "lookup:absent"), "cannot be read"),
    ],
)
def test_sources_that_are_not_there(tmp_path, capsys, words, message):
    folder = described(tmp_path, "compofa")
    code, text = compofa(capsys, "search", "--workdir", folder, *words)
    assert code == 1 and message.format(folder=folder) in text and text.count("\n") == 1
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
