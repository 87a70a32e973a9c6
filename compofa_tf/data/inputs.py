"""How a picture becomes the input of a network when nothing is random. No TensorFlow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from compofa_tf.data import pictures
from compofa_tf.errors import InputError
from compofa_tf.normalization import Normalization

THUMBNAIL = 64
"""Shorter side in pixels up to which the whole central square is kept."""

_CROP_FRACTION = 0.875


def eval_geometry(heights: np.ndarray, widths: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns how images are scaled and shifted for evaluation at ``resolution``.

    The usual ImageNet rule: the shorter side is resized to ``resolution / 0.875`` (rounded up) and the central square
    is taken. Images whose shorter side is at most ``THUMBNAIL`` pixels (CIFAR, digits) have no margin to give away:
    their shorter side is resized to ``resolution`` itself. The rule looks at the image alone, so that an image shows
    the same part of itself at every resolution.

    Args:
      heights: int ``[n]``, pixels.
      widths: int ``[n]``, pixels.
      resolution: Side of the result in pixels.

    Returns:
      float32 ``[n, 2]`` factors (vertical, horizontal), and float32 ``[n, 2]`` shifts in pixels of the result.
    """
    sizes = np.stack([heights, widths], axis=1).astype(np.int64)
    resized = _resized(sizes, resolution)
    return (resized / sizes).astype(np.float32), -np.round((resized - resolution) / 2).astype(np.float32)


def input_of(content: bytes, *, resolution: int, normalization: Normalization, upright: bool = True) -> np.ndarray:
    """Returns a picture as a network sees it in an evaluation, resized by Pillow.

    Args:
      content: The file.
      resolution: Side in pixels.
      normalization: How pixels become inputs.
      upright: Whether EXIF orientation is applied.

    Returns:
      float32 ``[resolution, resolution, 3]``.

    Raises:
      InputError: If it is no picture that can be used; says why.
    """
    found = pictures.examine(content)
    if found.reason:
        raise InputError(found.reason)
    image = pictures.opened(content, upright=upright)
    height, width = (int(side) for side in _resized(np.asarray([[image.height, image.width]]), resolution)[0])
    left, top = round((width - resolution) / 2), round((height - resolution) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    square = resized.crop((left, top, left + resolution, top + resolution))
    return np.asarray(normalization.apply(np.asarray(square)))


def described(resolution: int, *, upright: bool) -> dict[str, Any]:
    """Returns the rule of ``input_of`` for whoever writes it again elsewhere: JSON-serialisable, step by step.

    Args:
      resolution: Side in pixels.
      upright: Whether EXIF orientation is applied.
    """
    small, large = _resized(np.asarray([[THUMBNAIL, THUMBNAIL], [THUMBNAIL + 1, THUMBNAIL + 1]]), resolution)[:, 0]
    return {
        "exif_orientation": upright,
        "orientation": "as a viewer shows it (EXIF applied)" if upright else "as stored (EXIF ignored)",
        "channels": "red, green, blue; alpha dropped, grey repeated",
        "shorter_side": {f"of pictures up to {THUMBNAIL} px": int(small), "of larger pictures": int(large)},
        "longer_side": "in proportion, rounded down",
        "interpolation": "bilinear with antialiasing: a triangle as wide as two source pixels, or as two target pixels "
        "where it shrinks; centres at half pixels",
        "crop": f"the central {resolution} x {resolution} px; left = round((width - {resolution}) / 2), top likewise",
        "values": "(pixel / 255 - mean) / std per channel, pixel in [0, 255]: see normalization",
        "quantization": "where the input has a scale: round(value / scale) + zero_point, clipped to its type",
    }


def _resized(sizes: np.ndarray, resolution: int) -> np.ndarray:
    """Height and width after resizing, int64 ``[n, 2]``."""
    shorter = sizes.min(axis=1, keepdims=True)
    target = np.where(shorter > THUMBNAIL, math.ceil(resolution / _CROP_FRACTION), resolution)
    return sizes * target // shorter
