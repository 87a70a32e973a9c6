from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import compofa_tf

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "compofa_tf"
SOURCE_FOLDERS = ("compofa_tf", "tests", "benchmarks", "examples", "launch", "tflite", "docs")

HEAVY = ("tensorflow", "keras", "tf_keras", "tensorflow_datasets", "torch", "matplotlib")


def files(*suffixes: str) -> list[Path]:
    """Returns the repository's own files with one of these endings: no environments, builds or runs."""
    found = [path for path in ROOT.glob("*") if path.is_file()]
    for folder in SOURCE_FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted(path for path in found if path.suffix in suffixes and "__pycache__" not in path.parts)


def python(code: str) -> str:
    """Returns what the code prints in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_listing_the_public_names_imports_nothing_heavy():
    assert python(f"import sys, compofa_tf as ct; dir(ct); print([n for n in {HEAVY} if n in sys.modules])") == "[]"


def test_every_public_name_exists_and_stays_the_same():
    """Loading one must not put another in its place, as a module of the name of a function would."""
    code = """
import compofa_tf as ct
first = {name: getattr(ct, name) for name in ct.__all__}
print(*[name for name in ct.__all__ if getattr(ct, name) is not first[name]], callable(ct.search))
"""
    assert python(code) == "True"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        compofa_tf.serch  # noqa: B018


def test_the_version_stands_once():
    version = compofa_tf.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert importlib.metadata.version("compofa_tf") == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    literal = f'"{version}"'
    assert [path.name for path in files(".py") if literal in path.read_text(encoding="utf-8")] == ["_version.py"]


def test_the_tested_versions_lie_in_the_allowed_ranges():
    requirement = pytest.importorskip("packaging.requirements").Requirement
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [requirement(line) for line in lines if line and not line.startswith("#")]
    required = [requirement(text) for text in importlib.metadata.requires("compofa_tf")]
    checked = 0
    for wanted in (wanted for wanted in required if "torch" not in str(wanted.marker)):
        name = wanted.name.lower().replace("_", "-")
        tested = [pin for pin in pins if pin.name.lower().replace("_", "-") == name]
        assert tested, f"{wanted.name} has no tested version in constraints.txt"
        for pin in tested:
            version = str(pin.specifier).removeprefix("==")
            assert wanted.specifier.contains(version), f"{wanted} against the tested {version}"
            checked += 1
    assert checked >= 13


@pytest.mark.parametrize("folder", ["tflite", "launch"])
def test_kits_are_no_packages(folder):
    """A top-level package `tflite` would shadow the one of that name which reads flatbuffers."""
    assert (ROOT / folder / "README.md").is_file()
    assert not list((ROOT / folder).rglob("__init__.py"))


def test_no_source_file_exceeds_500_lines():
    long = {path.name: n for path in files(".py") if (n := len(path.read_text(encoding="utf-8").splitlines())) > 500}
    assert long == {}


@pytest.mark.parametrize("private", [r"keras[.]src", r"tensorflow[.]python"])
def test_no_private_api(private):
    found = [path.relative_to(ROOT) for path in files(".py", ".ipynb") if re.search(private, path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in files(".md")])
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    local = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    missing = [link for link in local if not ((ROOT / page).parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"])
def test_the_usual_files_are_there(name):
    assert (ROOT / name).stat().st_size > 200


@pytest.mark.needs("bash")
@pytest.mark.parametrize("script", [".ci/run", ".ci/release", ".ci/try", "launch/local.sh"])
def test_scripts_are_executable_and_parse(script):
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


@pytest.mark.needs("make")
@pytest.mark.parametrize("command", ["demo", "test"])
def test_make_refuses_other_pythons_and_leaves_nothing_behind(tmp_path, command):
    """`make` in a fresh copy, with a "python" that says it is 3.9."""
    (tmp_path / "compofa_tf").mkdir()
    for name in ("Makefile", "setup.py", "constraints.txt", "compofa_tf/_version.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    old = tmp_path / "old-python"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 9, 1); $2"\n')
    old.chmod(0o755)
    for choice, message in ((str(old), "needs Python 3.10 to 3.13.*= 3.9"), ("no-such-python", "There is no no-such")):
        done = subprocess.run(
            ["make", command, f"PYTHON={choice}"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode != 0
        assert re.search(message, done.stderr)
        assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("needed", "said"), [("", "SKIPPED"), ("no-such-program", "ERROR")])
def test_a_program_that_is_missing_is_named(tmp_path, needed, said):
    """Skipped, or a failure where the tier of checks says that it has the program."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    test = 'import pytest\n\n@pytest.mark.needs("no-such-program")\ndef test_it():\n    pass\n'
    (tmp_path / "test_it.py").write_text(test, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-o", "markers=needs", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COMPOFA_NEEDS": needed},
    )
    assert said in done.stdout and "needs the program no-such-program" in done.stdout
    assert done.returncode == bool(needed)


@pytest.mark.needs("bash", "git")
def test_a_release_is_refused_before_anything_is_checked(tmp_path):
    """A tree with changes; a version that the changelog still calls unreleased, or that another one precedes."""
    for name in (".ci/release", "CHANGELOG.md", "CITATION.cff", "compofa_tf/_version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def commit():
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "test"]):
            subprocess.run([*git, *words], cwd=tmp_path, check=True)

    def refused() -> str:
        done = subprocess.run([tmp_path / ".ci/release"], capture_output=True, text=True, timeout=300)
        assert done.returncode == 1
        return done.stderr

    changelog, version = tmp_path / "CHANGELOG.md", compofa_tf.__version__
    changelog.write_text(f"# Changelog\n\n## [{version}] - unreleased\n", encoding="utf-8")
    commit()
    assert f"must have a line '## [{version}] - YYYY-MM-DD'" in refused()
    changelog.write_text(f"# Changelog\n\n## [99.0.0] - 2026-01-02\n\n## [{version}] - 2026-01-01\n", encoding="utf-8")
    assert "the tree is not clean" in refused()
    commit()
    assert f"{version} must stand first" in refused()


@pytest.mark.slow
def test_sdist_and_wheel_hold_the_library_and_nothing_else(tmp_path):
    """The wheel is built from what the sdist holds, as whoever installs the sdist does."""
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source / "compofa_tf", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("tests", "tflite", "launch"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = "import setuptools.build_meta as b, sys; b.build_{}(sys.argv[1])"
    command = [sys.executable, "-c", build.format("sdist"), str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    command = [sys.executable, "-c", build.format("wheel"), str(tmp_path)]
    subprocess.run(command, cwd=unpacked, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(archive.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    files_of = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    ours = {name for name in files_of if "__pycache__" not in name}
    assert {name for name in names if ".dist-info/" not in name} == ours
    assert any(name.endswith("LICENSE") for name in names)
    assert "compofa = compofa_tf.cli.main:main" in entry_points
    assert not (unpacked / "tests").exists()
