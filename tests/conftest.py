from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports TensorFlow: quieter logs, no GPU, and figures without a display.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parents[1]


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
def reference(shared: Path) -> Path:
    """The folder of numbers computed with the original PyTorch code."""
    return shared / "reference"
