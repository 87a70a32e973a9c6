"""Writes the tree of ``docs/architecture.md``, every module with the first line of its docstring: ``make tree``."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "compofa_tf"
PAGE = ROOT / "docs" / "architecture.md"
BLOCK = re.compile(r"(?<=^```text\n)compofa_tf/\n.*?(?=^```)", re.MULTILINE | re.DOTALL)


def tree() -> str:
    """Returns the tree, modules before folders, a face under the name of its folder."""
    return "\n".join(_folder(PACKAGE, 0)) + "\n"


def _folder(folder: Path, depth: int) -> list[str]:
    modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    folders = [path.parent for path in sorted(folder.glob("*/__init__.py"))]
    lines = [_line(f"{folder.name}/", folder / "__init__.py", depth)] if depth else ["compofa_tf/"]
    lines += [_line(path.name, path, depth + 1) for path in modules]
    for inner in folders:
        lines += _folder(inner, depth + 1)
    return lines


def _line(name: str, path: Path, depth: int) -> str:
    words = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return f"{'  ' * depth}{name}".ljust(28) + words.replace("``", "")


def main() -> None:
    """Replaces the tree in the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: tree(), page), encoding="utf-8")


if __name__ == "__main__":
    main()
