"""docs/fidelity.md names a test for each statement: those tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| what")]


def named() -> list[tuple[str, str]]:
    """Files and test functions; ``::test`` alone belongs to the file that was named before it in the row."""
    found = []
    for row in ROWS:
        path = ""
        for file, test in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", row):
            path = file or path
            if path and (file or test):
                found.append((path, test))
    return sorted(set(found))


@pytest.mark.parametrize(("path", "test"), named(), ids="::".join)
def test_the_named_test_exists(path, test):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert not test or f"\ndef {test}(" in source


def test_every_statement_has_a_test():
    heads = (
        "| what",
        "| the paper and its code",
        "| the original does",
        "| computed in",
        "| float",
        "| the code itself",
    )
    bare = [row for row in ROWS if "`tests/" not in row and not row.startswith(heads) and "---" not in row]
    assert bare == [], bare


def test_every_chapter_has_rows():
    for chapter in ("Training", "Architecture", "Checkpoints", "Search"):
        body = TEXT.split(f"\n## {chapter}\n")[1].split("\n## ")[0]
        assert body.count("\n| ") >= 8, chapter
