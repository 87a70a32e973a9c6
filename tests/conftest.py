from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Before anything imports TensorFlow: quieter logs, no GPU, and figures without a display.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")
# What is found out about data sets of tests is forgotten with them.
_CACHE = tempfile.TemporaryDirectory(prefix="compofa_tf-cache-")
os.environ["COMPOFA_CACHE"] = _CACHE.name

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test of the marker ``needs`` by the name of the program that is missing.

    Where ``COMPOFA_NEEDS`` names the program, as a tier of checks does that installs it, the test fails instead.
    """
    for program in (name for marker in item.iter_markers("needs") for name in marker.args):
        if shutil.which(program) is None:
            missing = pytest.fail if program in os.environ.get("COMPOFA_NEEDS", "").split() else pytest.skip
            missing(f"needs the program {program}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference numbers and images that lies beside the repository, or where COMPOFA_SHARED says."""
    named = os.environ.get("COMPOFA_SHARED")
    if named and not Path(named).is_dir():
        pytest.fail(f"COMPOFA_SHARED must name an existing folder. Received: {named}", pytrace=False)
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the reference data: no folder {folder}, and COMPOFA_SHARED names no other")
    return folder


@pytest.fixture(scope="session")
def clients() -> Path:
    """The folder into which ``.ci/clients`` installed what exported files are opened in."""
    named = os.environ.get("COMPOFA_CLIENTS")
    if not named:
        pytest.skip("needs the clients: COMPOFA_CLIENTS names no folder with them (.ci/clients makes one)")
    return Path(named)


@pytest.fixture(scope="session")
def mediapipe(clients: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs Python with MediaPipe, in an environment of its own: its requirements are others than ours."""
    python = clients / "mediapipe" / "bin" / "python"
    return lambda *arguments: subprocess.run([str(python), *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="session")
def reference(shared: Path) -> Path:
    """The folder of numbers computed with the original PyTorch code."""
    return shared / "reference"
