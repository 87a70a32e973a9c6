"""Pictures for data sets in tests, and what comes out of their pipelines."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from compofa_tf.data import Data, load
from compofa_tf.errors import InputError
from compofa_tf.recipes.settings import DataSettings

SETTINGS = DataSettings(val_fraction=0.25, max_bad_share=0.5)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth, so that crops are comparable."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def noise(seed: int = 0, size: tuple[int, int] = (12, 10)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def fill(folder: Path, count: int, *, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i:03d}.jpg").write_bytes(encoded(noise(seed + i)))


def batches(ds: tf.data.Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x, y) for x, y in ds.as_numpy_iterator()]


def take(data: Data, **changes) -> list[tuple[np.ndarray, np.ndarray]]:
    arguments = {"batch_size": 16, "steps": 3, "resolutions": np.full(100, 12, np.int32), "seed": 0, **changes}
    return batches(data.train(**arguments))


def all_labels(dataset) -> np.ndarray:
    return np.concatenate([labels for _, labels in dataset.as_numpy_iterator()])


BAD = {
    "truncated.jpg": encoded(noise(size=(80, 80)))[:-900],
    "truncated.png": encoded(noise(), "PNG")[:-90],
    "header.jpg": encoded(noise())[:40],
    "empty.jpg": b"",
    "text.jpg": b"this is no picture at all",
    "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80),
    "numbers.tif": encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"),
}
"""What is no picture, or none that can be read."""


def load_folder(root: Path, **changes) -> Data:
    arguments = {name: changes.pop(name) for name in ("seed", "workdir") if name in changes}
    return load(f"folder:{root}", dataclasses.replace(SETTINGS, **changes), **arguments)


def refused(source: Path | str, match: str, **changes) -> str:
    with pytest.raises(InputError, match=match) as caught:
        load(source if isinstance(source, str) else f"folder:{source}", dataclasses.replace(SETTINGS, **changes))
    message = str(caught.value)
    assert "\n" not in message
    return message
