"""The pictures of one data set as the pipelines take them: encoded or decoded in memory, or on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from compofa_tf.data import store
from compofa_tf.data.checking import read, stamp
from compofa_tf.data.listing import Listing
from compofa_tf.data.store import Usable

_DECODE_BATCH = 256


@dataclass(frozen=True, eq=False)
class Images:
    """All images of a data set, in the form that the pipelines take them in.

    Attributes:
      contents: String tensor ``[n]``: encoded images, or paths; empty where ``pixels`` are held.
      in_memory: Whether ``contents`` holds encoded images.
      pixels: uint8 ``[n, height, 3, width]`` where all images are of one size and fit into memory decoded, else None.
      labels: int32 ``[n]``.
      heights: int32 ``[n]``, pixels; 0 for an image that cannot be decoded.
      widths: int32 ``[n]``, pixels.
      jpeg: bool ``[n]``; a JPEG can be decoded in part.
      names: A printable name each, for messages.
      stamps: (bytes, modification time) of the file of each when it was read last; empty where none is read again.
      broken: (name, reason) by position of the images that could be read once and cannot any more; it grows.
    """

    contents: tf.Tensor
    in_memory: bool
    pixels: tf.Tensor | None
    labels: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    jpeg: np.ndarray
    names: Sequence[str] = ()
    stamps: Sequence[tuple[int, int]] = ()
    broken: dict[int, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, usable: Usable, listing: Listing, *, cache: bool = True) -> Images:
        """Takes pictures that TensorFlow reads.

        Args:
          usable: The pictures.
          listing: What the source found, in the same order.
          cache: Whether they may be kept in memory, up to ``store.MEMORY_LIMIT_BYTES``.
        """
        items = usable.items
        in_files = len(items) > 0 and isinstance(items[0], str)
        in_memory = not in_files or (cache and _total_bytes(items) <= store.MEMORY_LIMIT_BYTES)
        contents = _contents(items, in_memory)
        pixels = _pixels(contents, usable.heights, usable.widths) if in_memory and cache else None
        return cls(
            contents=contents if pixels is None else tf.constant([], tf.string),
            in_memory=in_memory,
            pixels=pixels,
            labels=listing.labels,
            heights=usable.heights,
            widths=usable.widths,
            jpeg=usable.jpeg,
            names=listing.names,
            stamps=[] if in_memory else [stamp(str(item)) for item in items],
        )

    def look_again(self, ids: np.ndarray, *, every: bool = False) -> list[tuple[str, str]]:
        """Looks whether images can still be read, and puts those that cannot into ``broken``.

        Args:
          ids: int64, positions of images.
          every: Whether each is decoded; else those whose file has changed since it was read.

        Returns:
          (name, reason) of the images that broke since the last look.
        """
        found = []
        for i in (int(i) for i in np.unique(ids) if int(i) not in self.broken):
            changed = bool(self.stamps) and stamp(os.fsdecode(self.contents[i].numpy())) != tuple(self.stamps[i])
            if (changed or every) and (reason := self._reason(i)):
                self.broken[i] = (self.names[i] if self.names else f"image {i}", reason)
                found.append(self.broken[i])
        return found

    def _reason(self, position: int) -> str:
        """Why an image cannot be decoded now, or nothing."""
        if self.pixels is not None:
            return ""
        try:
            content = self.contents[position]
            shape = tuple(decode(content if self.in_memory else tf.io.read_file(content)).shape[:2])
        except tf.errors.NotFoundError:
            return "the file has vanished"
        except tf.errors.OpError:
            return "the file can no longer be decoded"
        known = (int(self.heights[position]), int(self.widths[position]))
        return "" if shape == known else "the picture has another size than before"


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one image to uint8 ``[height, width, 3]``.

    JPEG (CMYK too), PNG (palette, 16 bits: the high byte), BMP, GIF and WebP; grey becomes RGB, alpha is dropped, of an
    animation the first picture is taken. EXIF orientation is not applied here.
    """
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def _total_bytes(paths: Sequence[Any]) -> int:
    total = 0
    for path in paths:
        try:
            total += os.stat(path).st_size
        except OSError:
            continue  # unusable; the check has named it
    return total


def _contents(items: Sequence[Any], in_memory: bool) -> tf.Tensor:
    if not in_memory:
        return tf.constant([os.fsencode(path) for path in items], tf.string)
    return tf.constant([item if isinstance(item, bytes) else read(item) for item in items], tf.string)


def _pixels(contents: tf.Tensor, heights: np.ndarray, widths: np.ndarray) -> tf.Tensor | None:
    """Returns all images decoded, the unusable ones black, if they are of one size and fit into memory."""
    good = np.flatnonzero(heights)
    if not len(good) or (heights[good] != heights[good[0]]).any() or (widths[good] != widths[good[0]]).any():
        return None
    height, width = int(heights[good[0]]), int(widths[good[0]])
    if len(heights) * height * width * 3 > store.MEMORY_LIMIT_BYTES:
        return None

    def decoded(i: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.ensure_shape(decode(contents[i]), [height, width, 3]), [0, 2, 1])

    dataset = tf.data.Dataset.from_tensor_slices(good).batch(_DECODE_BATCH)
    dataset = dataset.map(
        lambda ids: tf.map_fn(decoded, ids, fn_output_signature=tf.uint8, parallel_iterations=4),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    pixels = np.zeros((len(heights), height, 3, width), np.uint8)
    try:
        for i, batch in enumerate(dataset.as_numpy_iterator()):
            pixels[good[i * _DECODE_BATCH : (i + 1) * _DECODE_BATCH]] = batch
    except tf.errors.OpError:
        return None  # one of them changed since it was checked; taken one by one it is found
    return tf.constant(pixels)
