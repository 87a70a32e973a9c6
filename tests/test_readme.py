"""The Python blocks of the documents run as they stand, and their links, commands and names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import compofa_tf as ct
from compofa_tf._lazy import FACES
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


PAGES = sorted([*DOCUMENTS, ROOT / "CONTRIBUTING.md", *ROOT.glob("*/README.md")])


def exists(module: Path) -> bool:
    return module.is_dir() or module.with_suffix(".py").is_file()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_and_modules_that_are_named_exist(path):
    """``compofa_tf/nets/layers.py``, ``tests/space/``, ``compofa_tf.errors.InputError``; ``NAME`` stands for any."""
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:compofa_tf|tests|benchmarks|launch)/[\w./-]*\w", text):
        assert (ROOT / name).exists() or "NAME" in name, name
    for name in re.findall(r"\bcompofa_tf(?:\.[a-z_]\w*)+", text):
        inner = name.split(".")[1:]
        package = ROOT / "compofa_tf"
        assert exists(package / inner[0]) or inner[0] in ct.__all__, name
        if (folder := package / inner[0]).is_dir() and len(inner) > 1:
            face = (folder / "__init__.py").read_text(encoding="utf-8")
            assert exists(folder / inner[1]) or inner[1] in face or inner[1] in FACES.get(inner[0], {}), name
