"""Every kind of JSON file with a reader: round trip, and a plain message for whatever else lies at its path."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import compofa_tf
from compofa_tf import families, files, recipes
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.data.card import DataCard
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front

SPACE = families.mobilenet_v3(width_mult=0.25, input_size=32, classes=10)
ARCHS = (SPACE.smallest(32), SPACE.largest(32))

CARD = DataCard("folder:x", "/home", ("a", "b"), {"train": [2, 3], "val": [1, 1]}, "0123456789abcdef", "splits")

ELSEWHERE = {
    "artifact": "lies beside a .tflite file: test_artifact.py",
    "data_index": "a cache that is made anew: test_images.py",
    "evolution_state": "an interrupted search: test_published_searches.py",
    "keras_model": "written for people and other programs",
    "supernet": "lies beside its weights: test_supernet_files.py",
    "unpacked_images": "a cache that is made anew: test_tfds_images.py",
}


@dataclass(frozen=True)
class Case:
    """A kind of file: an object that is saved as one, and how it is saved and loaded."""

    make: Callable[[], Any]
    save: Callable[[Any, Path], None]
    load: Callable[[Path], Any]


def accuracy() -> AccuracyTable:
    table = AccuracyTable(SPACE, data="digits", resolutions=(32,), recipe_hash="abc")
    for arch, top1 in zip(ARCHS, (0.5, 0.9)):
        table.add(AccuracyRecord(arch, top1, 1.0, 100))
    return table


def latency() -> LatencyTable:
    table = LatencyTable(SPACE, resolutions=(32,), recipe_hash="abc")
    for key in {piece.key for arch in ARCHS for piece in SPACE.pieces(arch)}:
        table.add(key, Timing((float(len(key)), 200.0), 210.0, 1.0, 10, True, "2026-01-01T00:00:00+00:00"))
    return table


CASES = {
    "accuracy_table": Case(accuracy, lambda table, path: table.save(path), AccuracyTable.load),
    "data_card": Case(lambda: CARD, lambda card, path: card.save(path), DataCard.load),
    "front": Case(
        lambda: search(SPACE, accuracy=accuracy(), latency=latency(), budgets_ms=(10000,)),
        lambda front, path: front.save(path),
        Front.load,
    ),
    "latency_table": Case(latency, lambda table, path: table.save(path), LatencyTable.load),
    "recipe": Case(lambda: recipes.get("demo"), lambda recipe, path: recipe.save(path), Recipe.load),
}
EVERY = pytest.mark.parametrize("kind", CASES)


@pytest.fixture
def path(kind, tmp_path):
    path = tmp_path / "file.json"
    CASES[kind].save(CASES[kind].make(), path)
    return path


def kinds_in(source: str) -> set[str]:
    """The kinds that a module writes: ``write_json(..., kind="x")``, or ``kind=KIND`` with ``KIND = "x"`` above."""
    tree, found = ast.parse(source), set()
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        for given in node.keywords if name == "write_json" else ():
            if given.arg == "kind":
                value = given.value
                found.add(value.value if isinstance(value, ast.Constant) else constants.get(ast.unparse(value)))
    return found


def test_a_kind_is_found_however_its_call_is_broken_over_lines():
    source = 'KIND = "one"\nfiles.write_json(path, content, kind=KIND)\nwrite_json(\n    path,\n    kind="two",\n)\n'
    assert kinds_in(source) == {"one", "two"}
    assert kinds_in("files.write_json(path, kind=anything())") == {None}


def test_no_kind_is_missing_from_the_table():
    written = set()
    for source in Path(compofa_tf.__file__).parent.rglob("*.py"):
        written |= kinds_in(source.read_text(encoding="utf-8"))
    assert written == set(CASES) | set(ELSEWHERE)


@EVERY
def test_round_trip(kind, path, tmp_path):
    case = CASES[kind]
    case.save(case.load(path), tmp_path / "again.json")
    first, second = (json.loads((tmp_path / name).read_text("utf-8")) for name in ("file.json", "again.json"))
    assert first.pop("kind") == second.pop("kind") == kind
    for header in (first, second):
        assert header.pop("schema_version") == files.schema_version(kind)
        assert header.pop("created") and header.pop("versions")
    assert first == second


@EVERY
def test_truncated_files_are_refused(kind, path):
    whole = path.read_bytes().rstrip()
    for length in (0, 1, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"file\.json is not readable as JSON"):
            CASES[kind].load(path)


@EVERY
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "shopping_list"}, r"file\.json is not an? .*Received: kind='shopping_list'"),
        ({"schema_version": 99}, r"file\.json was written by a newer version .*Received: schema_version=99"),
    ],
)
def test_foreign_and_newer_files_are_refused(kind, path, change, message):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}))
    with pytest.raises(InputError, match=message):
        CASES[kind].load(path)


@EVERY
def test_a_missing_file_is_named(kind, tmp_path):
    with pytest.raises(InputError, match=r"none\.json does not exist"):
        CASES[kind].load(tmp_path / "none.json")


@EVERY
def test_a_file_without_one_of_its_parts_is_an_input_error(kind, path):
    """Whatever part is missing: never a KeyError, and nothing that pretends to be whole."""
    content = json.loads(path.read_text("utf-8"))
    for key in set(content) - {"created", "versions", "recipe_hash", "kind", "schema_version"}:
        path.write_text(json.dumps({name: value for name, value in content.items() if name != key}))
        with contextlib.suppress(InputError):
            CASES[kind].save(CASES[kind].load(path), path)
            assert json.loads(path.read_text("utf-8"))[key] == content[key], key
