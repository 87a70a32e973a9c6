"""Images as they are given, an array or batches with or without labels, as batches of images alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from compofa_tf.errors import InputError


def image_batches(
    images: Any,
    *,
    batch_size: int,
    shape: tuple[int | None, int | None, int] = (None, None, 3),
    name: str = "Images",
) -> Iterator[np.ndarray]:
    """Yields float32 batches ``[batch, height, width, channels]``.

    Args:
      images: An array ``[count, height, width, channels]``, or batches of them (a list, a ``tf.data.Dataset``), each
        alone or the first of a tuple with labels.
      batch_size: Batch size for an array; batches are taken as they are.
      shape: Height, width and channels that the images must have; None for any.
      name: What errors call them.

    Raises:
      InputError: If images have another shape or are not finite.
    """
    batches: Iterable[Any] = images
    if isinstance(images, (np.ndarray, tf.Tensor)):
        batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    wanted = tf.TensorShape([None, *shape])
    for element in batches:
        batch = np.asarray(element[0] if isinstance(element, (tuple, list)) else element, np.float32)
        if not wanted.is_compatible_with(batch.shape):
            sizes = ", ".join(str(size or side) for size, side in zip(shape, ("height", "width", "channels")))
            raise InputError(f"{name} must be [count, {sizes}]. Received: shape={batch.shape}")
        if not np.isfinite(batch).all():
            raise InputError(f"{name} must be finite. Received: NaN or infinity")
        yield batch
