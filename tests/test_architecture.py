"""The lines of the house: who may import whom, held against every import statement of the library.

Read are all of them, those in functions and under ``TYPE_CHECKING`` too. A folder imports from its own line or from
lower ones, and nowhere is there a circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import compofa_tf

PACKAGE = Path(compofa_tf.__file__).parent

CIRCLES: set[frozenset[str]] = {
    frozenset({"accuracy.measuring", "accuracy.table"}),
    frozenset({"latency.measuring", "latency.table"}),
}
"""Circles that are still to be dissolved."""


def modules() -> dict[str, Path]:
    """Every module of the library by its dotted name below ``compofa_tf``; the face of the package is ``""``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Yields the modules of ours that a file imports, each with its statement."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "compofa_tf":
            base = (node.module or "").partition(".")[2]
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                yield (inner if inner in MODULES else base), node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "compofa_tf":
                    yield alias.name.partition(".")[2], node


def arrows() -> dict[str, set[str]]:
    """Who imports whom. The face of the package loads its names on first use, so its own imports are no arrows."""
    return {name: {target for target, _ in imported(path)} - {name} for name, path in MODULES.items() if name}


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


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {frozenset({"b", "c"})}


def test_no_circles_but_those_that_are_named():
    assert circles(arrows()) == CIRCLES
