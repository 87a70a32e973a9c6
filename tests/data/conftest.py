from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pictures import fill, picture

from compofa_tf.data import Data, load
from compofa_tf.recipes.settings import DataSettings

SETTINGS = DataSettings(min_scale=0.25)


@pytest.fixture(scope="session")
def digits() -> Data:
    return load("digits", SETTINGS)


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Data:
    """Two classes of images of different sizes, JPEG and PNG, smooth so that crops are comparable."""
    root = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("left", "right")):
        (root / name).mkdir()
        for i in range(6):
            picture(60 + 13 * i, 50 + 9 * i, seed=10 * label + i).save(root / name / f"{i}.{'jpg' if i % 2 else 'png'}")
    return load(f"folder:{root}", dataclasses.replace(SETTINGS, val_fraction=0.34))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes of eight images of one size."""
    for seed, name in enumerate(("cat", "ant", "Bee")):
        fill(tmp_path / "set" / name, 8, seed=100 * seed)
    return tmp_path / "set"
