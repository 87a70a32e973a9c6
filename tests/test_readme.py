"""The README's Python blocks run as they stand, and its links and commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from compofa_tf.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(path for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in DOCUMENTS if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run(path, tmp_path):
    script = tmp_path / "quickstart.py"
    script.write_text("\n".join(blocks(path, "python")), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    if path.name == "README.md":
        assert "top-1" in done.stdout and "int8" in done.stdout


def commands():
    for path in DOCUMENTS:
        for block in blocks(path, "bash"):
            for line in block.splitlines():
                if line.startswith("compofa "):
                    yield pytest.param(line.partition("#")[0].split(), id=f"{path.name}: {line.split('#')[0].strip()}")


@pytest.mark.parametrize("words", commands())
def test_commands_of_the_documents_parse(words):
    if "-h" not in words and "--help" not in words:
        assert callable(main.parse(words).command)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target
