"""Images as they are given, an array or batches with or without labels, as batches of images alone.

What people give to calibrate on: arrays, lists, datasets, generators, and functions that return an iterator, as the
TFLite converter takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from compofa_tf.errors import InputError
from compofa_tf.progress import say

MOST_UNCOUNTED = 2000
"""So many images are taken of what does not say how many it holds, for it may never end."""


def repeatable(images: Any, *, most: int = MOST_UNCOUNTED) -> Any:
    """Returns images in a form that can be gone through several times, always from the beginning, and that ends.

    Arrays, lists and datasets of known length are returned as they are. A function is called for each pass. An iterator
    is read once and kept. What does not say how many images it holds is cut at ``most``, and a line says so.

    Args:
      images: An array, batches of arrays with or without labels (a list, a ``tf.data.Dataset``, a generator), or a
        function without arguments that returns such batches.
      most: Images to take of what may never end.
    """
    if isinstance(images, tf.data.Dataset):
        counted = int(images.cardinality()) >= 0
        return images if counted else _Cut(images.__iter__, most)
    if isinstance(images, (np.ndarray, tf.Tensor, list, tuple)) or images is None:
        return images
    if callable(images):
        return _Cut(images, most)
    if hasattr(images, "__next__"):
        return list(_Cut(lambda: images, most))
    return images


class _Cut:
    """Batches of a function, up to a number of images."""

    def __init__(self, begin: Callable[[], Iterable[Any]], most: int) -> None:
        self._begin, self._most, self._said = begin, most, False

    def __iter__(self) -> Iterator[Any]:
        count = 0
        for element in self._begin():
            yield element
            count += len(_images_of(element))
            if count >= self._most:
                if not self._said:
                    say(f"Of the images to calibrate on the first {count} are used, for nobody knows whether they end.")
                self._said = True
                return


def _images_of(element: Any) -> Any:
    return element[0] if isinstance(element, (tuple, list)) else element


def image_batches(
    images: Any,
    *,
    batch_size: int,
    shape: tuple[int | None, int | None, int] = (None, None, 3),
    name: str = "Images",
) -> Iterator[np.ndarray]:
    """Yields float32 batches ``[batch, height, width, channels]``.

    Args:
      images: An array ``[count, height, width, channels]``, or batches of them (a list, a ``tf.data.Dataset``, an
        iterator or a function that returns one), each alone or the first of a tuple with labels.
      batch_size: Batch size for an array; batches are taken as they are.
      shape: Height, width and channels that the images must have; None for any.
      name: What errors call them.

    Raises:
      InputError: If images have another shape or are not finite.
    """
    images = repeatable(images)
    batches: Iterable[Any] = images
    if isinstance(images, (np.ndarray, tf.Tensor)):
        batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    wanted = tf.TensorShape([None, *shape])
    for element in batches:
        batch = np.asarray(_images_of(element), np.float32)
        if not wanted.is_compatible_with(batch.shape):
            sizes = ", ".join(str(size or side) for size, side in zip(shape, ("height", "width", "channels")))
            raise InputError(f"{name} must be [count, {sizes}]. Received: shape={batch.shape}")
        if not np.isfinite(batch).all():
            raise InputError(f"{name} must be finite. Received: NaN or infinity")
        yield batch
