"""The lines of the house: who may import whom, what is loaded when, and where a thing lies.

Read are all import statements of the library, those in functions and under ``TYPE_CHECKING`` too, and the two tables of
``compofa_tf/_lazy.py``. The page for people is ``docs/architecture.md``.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from architecture_tree import BLOCK
from architecture_tree import tree as written_tree

import compofa_tf
from compofa_tf._lazy import FACES, LATER

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(compofa_tf.__file__).parent

LINES: dict[str, int] = {
    "cli": 9,
    "pipeline": 8,
    "reports": 7,
    "training": 6,
    "searches": 6,
    "accuracy": 5,
    "data": 4,
    "published": 4,
    "recipes": 3,
    "latency": 3,
    "deploy": 2,
    "nets": 2,
    "families": 1,
    "space": 1,
    "commands": 0,
    "errors": 0,
    "files": 0,
    "locks": 0,
    "progress": 0,
    "normalization": 0,
    "quiet": 0,
    "statistics": 0,
    "workdir": 0,
    "_lazy": 0,
    "_version": 0,
}
"""A folder or a module at the top, and its line: it imports from its own line and from lower ones."""

ABOVE_ITS_NEIGHBOURS = {"families"}
"""Folders that stand above the others of their line: ``space`` never imports ``families``."""

TENSORFLOW: dict[str, set[str]] = {
    "accuracy": {"evaluation", "measuring", "models"},
    "data": {"dataset", "images", "loading", "pipelines", "resizing", "tfds_images"},
    "deploy": {"conversion", "export", "lowering"},
    "latency": {"measuring"},
    "nets": {"batches", "elastic", "functions", "layers", "plain", "subnet", "supernet"},
    "pipeline": {"evaluating", "exporting", "extracting", "training"},
    "training": {"estimate", "loop", "losses", "networks", "optimizer", "step", "threads", "validation", "writers"},
}
"""Modules of a folder that load TensorFlow when they are imported; the face is ``""``. All others are light."""

HEAVY = (
    "tensorflow",
    "keras",
    "tf_keras",
    "tensorflow_datasets",
    "tensorflow_model_optimization",
    "torch",
    "matplotlib",
)

FOUND_IN = {"cli.main": "cli.", "families": "families.", "recipes": "recipes.library."}
"""Modules that import whatever lies in a folder: an arrow to each module there."""


def modules() -> dict[str, Path]:
    """Every module of the library by its dotted name below ``compofa_tf``; the face of the package is ``""``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
FOLDERS = sorted({name.partition(".")[0] for name, path in MODULES.items() if name and path.parent != PACKAGE})
OUTSIDE = {"", "__main__"}
"""The face of the package and its program: above all lines."""


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def targets(node: ast.AST) -> list[tuple[str, str, str]]:
    """(module, name, name here) of everything of ours that a statement imports; no name where it is a module."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "compofa_tf":
        base = (node.module or "").partition(".")[2]
        found = []
        for alias in node.names:
            inner = f"{base}.{alias.name}".lstrip(".")
            offered = FACES.get(base, {}).get(alias.name, base).partition(":")[0]  # a face loads it at once
            target = (inner, "") if inner in MODULES else (offered, alias.name)
            found.append((*target, alias.asname or alias.name))
        return found
    if isinstance(node, ast.Import):
        names = [alias.name.partition(".") for alias in node.names]
        return [(inner, "", inner) for package, _, inner in names if package == "compofa_tf"]
    return []


def later_calls(name: str) -> list[ast.expr]:
    """The second arguments of ``later(__name__, ...)`` in a module."""
    return [
        node.args[1]
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "later"
    ]


@functools.cache
def arrows() -> dict[str, set[str]]:
    """Who imports whom, at once or later. The face of the package is left out: it may offer whatever there is."""
    graph = {}
    for name in set(MODULES) - OUTSIDE:
        found = {target for node in ast.walk(tree(name)) for target, _, _ in targets(node)}
        found |= {row.partition(":")[0] for row in FACES.get(name, {}).values()} | set(LATER.get(name, ()))
        found |= {module for module in MODULES if name in FOUND_IN and module.startswith(FOUND_IN[name])}
        graph[name] = found - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected components of more than one module (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph.get(name, ()):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            position = stack.index(name)
            component = frozenset(stack[position:])
            del stack[position:]
            if len(component) > 1:
                found.add(component)

    for name in graph:
        if name not in index:
            visit(name)
    return found


def line(name: str) -> tuple[int, bool]:
    """Where a module stands; the face of the package and its program are above all lines."""
    folder = name.partition(".")[0]
    return (10, True) if name in OUTSIDE else (LINES[folder], folder in ABOVE_ITS_NEIGHBOURS)


def test_every_folder_and_module_at_the_top_has_its_line():
    tops = {name.partition(".")[0] for name in MODULES} - OUTSIDE
    assert tops == set(LINES)


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {frozenset({"b", "c"})}


def test_there_is_no_circle():
    assert circles(arrows()) == set()


def test_there_is_no_circle_of_folders():
    """Folders of one line may import each other in one direction only."""
    graph: dict[str, set[str]] = {}
    for name, found in arrows().items():
        folder = name.partition(".")[0]
        graph.setdefault(folder, set()).update({target.partition(".")[0] for target in found} - {folder})
    assert circles(graph) == set()


def test_no_arrow_leads_upwards():
    assert [(name, to) for name, found in arrows().items() for to in found if line(to) > line(name)] == []


def is_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def for_types(name: str) -> list[ast.stmt]:
    """The statements under ``TYPE_CHECKING`` of a module."""
    return [node for block in tree(name).body if is_types_only(block) for node in ast.walk(block)]


def is_face(name: str) -> bool:
    return MODULES[name].name == "__init__.py"


def test_imports_stand_at_the_top():
    """Of our own modules; the faces of packages may name for type checkers what they load on first use."""
    found = set()
    for name in MODULES:
        top = set(tree(name).body) | set(for_types(name) if is_face(name) else ())
        if any(targets(node) for node in ast.walk(tree(name)) if node not in top):
            found.add(name)
    assert found == set()


def test_no_import_is_relative():
    nodes = [(name, node) for name in MODULES for node in ast.walk(tree(name))]
    assert [name for name, node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


def test_modules_are_imported_by_name_alone():
    """``importlib.import_module`` would be an arrow that this file cannot see."""
    found = set()
    for name in MODULES:
        called = {node.func for node in ast.walk(tree(name)) if isinstance(node, ast.Call)}
        names = {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in called}
        if names & {"import_module", "__import__"}:
            found.add(name)
    assert found == {"_lazy", *FOUND_IN}


@pytest.mark.parametrize("name", FACES)
def test_a_face_names_for_type_checkers_what_it_loads_on_first_use(name):
    found = {}
    for node in for_types(name):
        for module, attribute, here in targets(node):
            found[here] = f"{module}:{attribute}" if attribute else module
    assert found == FACES[name]


def test_the_face_of_the_families_names_families_for_type_checkers():
    from compofa_tf import families

    found = {here for node in for_types("families") for _, _, here in targets(node)}
    assert found <= set(families.names())


def test_the_table_of_what_is_loaded_later_is_exact():
    """A row for every call, and no row without one. Where a call takes its module from a table, rows need no call."""
    for name in sorted(MODULES):
        calls = later_calls(name)
        named = {call.value for call in calls if isinstance(call, ast.Constant)}
        rows = set(LATER.get(name, ()))
        assert named <= rows, name
        assert rows <= set(MODULES), name
        assert rows == named or len(named) < len(calls), (name, rows - named)
    assert set(LATER) <= set(MODULES)


def test_no_module_bears_the_name_of_a_public_function():
    """``compofa_tf.search`` would be the function or the module, as it happens."""
    functions = {name for face in FACES.values() for name, row in face.items() if ":" in row and name.islower()}
    assert {"benchmark", "evaluate", "extract", "report", "search", "train"} < functions
    assert {part for name in MODULES for part in name.split(".")} & functions == set()


def at_import(name: str) -> tuple[set[str], set[str]]:
    """Modules of ours and packages of others that importing a module imports, not looking further."""
    ours, others = set(), set()
    for node in tree(name).body:
        ours |= {target for target, _, _ in targets(node)}
        if isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            others.add((node.module or "").partition(".")[0])
    parts = name.split(".")
    return ours | {".".join(parts[:end]) for end in range(1, len(parts))}, others


def heavy_modules() -> set[str]:
    """The modules whose import leads to a heavy package."""
    found = {name for name in MODULES if at_import(name)[1] & set(HEAVY)}
    while more := {name for name in MODULES if at_import(name)[0] & found} - found:
        found |= more
    return found


def qualified(folder: str, module: str) -> str:
    return f"{folder}.{module}".rstrip(".")


def test_the_table_of_modules_that_load_tensorflow_is_exact():
    assert heavy_modules() == {qualified(folder, module) for folder, found in TENSORFLOW.items() for module in found}


ONE_BY_ONE = f"""
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    loaded = [name for name in {HEAVY} if name in sys.modules]
    if loaded:
        sys.exit(f"{{module}} loads {{', '.join(loaded)}}")
"""


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_all_other_modules_are_light(folder):
    """One interpreter for a folder: the first module that loads something heavy is named."""
    names = [name for name in MODULES if name != "__main__" and name.partition(".")[0] == folder]
    names = names if folder else [name for name in MODULES if name not in ("__main__", *FOLDERS) and "." not in name]
    light = [name for name in names if name not in {qualified(folder, module) for module in TENSORFLOW.get(folder, ())}]
    if light:
        words = [f"compofa_tf.{name}".rstrip(".") for name in light]
        done = subprocess.run(
            [sys.executable, "-c", ONE_BY_ONE, *words], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr


def test_no_module_is_longer_than_400_lines():
    assert {name for name, path in MODULES.items() if len(path.read_text("utf-8").splitlines()) > 400} == set()


TESTS = ROOT / "tests"
TESTS_OF_THE_WHOLE = {
    "architecture",
    "environment",
    "fidelity",
    "golden",
    "packaging",
    "public_api",
    "readme",
    "where_to_put",
}
GROUND = "ground"
"""The folder of tests of modules at the top."""
OF_NO_FOLDER = {"conformance", "golden", GROUND}


def test_folders_of_tests_are_those_of_the_library():
    found = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found == {*FOLDERS, *OF_NO_FOLDER}


def test_tests_lie_in_the_folder_of_what_they_test():
    """At the top are tests of the whole, on the ground tests of modules at the top."""
    assert {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")} == TESTS_OF_THE_WHOLE
    tops = {name for name in MODULES if "." not in name} - set(FOLDERS)
    assert {path.stem.removeprefix("test_") for path in (TESTS / GROUND).glob("test_*.py")} <= tops


def test_names_of_test_files_are_unique():
    """pytest imports them by name, and there are no packages of tests."""
    names = [
        path.name for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts and path.name != "conftest.py"
    ]
    assert sorted(names) == sorted(set(names))


PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_page_has_the_lines():
    rows = re.findall(r"^\| (\d) \| (.*?) \|", PAGE, flags=re.MULTILINE)
    found = {name.rstrip("/"): int(number) for number, cell in rows for name in re.findall(r"`([\w/]+)`", cell)}
    assert found == LINES


def test_the_page_has_the_tree():
    """Every module with the first line of its docstring, and none that there is not: ``make tree`` mends it."""
    found = BLOCK.search(PAGE)
    assert found is not None
    assert found.group().splitlines() == written_tree().splitlines()
