"""Encoded images of one data set, and the check that the training decoder can read every one of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.workdir import WorkDir

MEMORY_LIMIT_BYTES = 1 << 30
"""Images are held in memory up to this total size, decoded if they are all of one size, else encoded."""

_DECODE_BATCH = 256
_UNREADABLE = (0, 0, False)


@dataclass(frozen=True, eq=False)
class Listing:
    """What a source found, before any image was decoded.

    Attributes:
      name: Short name of the data set.
      classes: Class names; a label is a position in it.
      items: One path (``str``) or encoded image (``bytes``) per image.
      names: One printable name per image, for messages.
      labels: int32 ``[n]``.
      val: bool ``[n]``, which images are validation images; None if the source has no split of its own.
    """

    name: str
    classes: tuple[str, ...]
    items: Sequence[str] | Sequence[bytes]
    names: Sequence[str]
    labels: np.ndarray
    val: np.ndarray | None = None


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
      skipped: (name, reason) of every image that cannot be decoded.
    """

    contents: tf.Tensor
    in_memory: bool
    pixels: tf.Tensor | None
    labels: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    jpeg: np.ndarray
    skipped: tuple[tuple[str, str], ...]


def printable(path: str | os.PathLike[str]) -> str:
    """Returns a path as text that any terminal and file can take; bytes that are not UTF-8 become escape sequences."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one image to uint8 ``[height, width, 3]``.

    JPEG (CMYK too), PNG (palette, 16 bits: the high byte), BMP, GIF and WebP; grey becomes RGB, alpha is dropped, of an
    animation the first picture is taken. EXIF orientation is not applied, as in ``keras.utils``.
    """
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def prepare(listing: Listing, *, cache: bool = True, workdir: Path | None = None) -> Images:
    """Reads and decodes every image once, to know its size and which ones cannot be used.

    Args:
      listing: What the source found.
      cache: Whether encoded images may be kept in memory, up to ``MEMORY_LIMIT_BYTES``.
      workdir: Where the findings about files are kept, so that unchanged files are not decoded again.

    Returns:
      All images of the listing, unreadable ones with height 0 and named in ``skipped``.
    """
    count = len(listing.items)
    found: list[tuple[int, int, bool]] = [_UNREADABLE] * count
    reasons: dict[int, str] = {}
    paths = count > 0 and isinstance(listing.items[0], str)
    stamps, total = _stamps(listing.items) if paths else ([], 0)
    in_memory = not paths or (cache and total <= MEMORY_LIMIT_BYTES)
    contents = _contents(listing.items, in_memory)
    index = WorkDir(workdir).data_index_file if paths and workdir is not None else None
    known = _read_index(index) if index is not None else {}
    keys = [_key(path) for path in listing.items] if index is not None else []
    todo = []
    for i, stamp in enumerate(stamps):
        entry = known.get(keys[i]) if keys else None
        if entry is None or entry[:2] != stamp:
            todo.append(i)
        elif entry[2]:
            found[i] = (entry[2], entry[3], bool(entry[4]))
        else:
            reasons[i] = str(entry[5])
    _probe(contents, in_memory, todo if paths else list(range(count)), found, reasons)
    if index is not None and todo:
        entries = {key: [*stamps[i], *found[i], *([reasons[i]] if i in reasons else [])] for i, key in enumerate(keys)}
        files.write_json(index, {"files": entries}, kind="data_index")
    sizes = np.asarray(found, np.int32).reshape(-1, 3)
    pixels = _pixels(contents, sizes[:, :2]) if in_memory and cache else None
    return Images(
        contents=contents if pixels is None else tf.constant([], tf.string),
        in_memory=in_memory,
        pixels=pixels,
        labels=listing.labels,
        heights=sizes[:, 0],
        widths=sizes[:, 1],
        jpeg=sizes[:, 2].astype(bool),
        skipped=tuple((listing.names[i], reasons[i]) for i in sorted(reasons)),
    )


def _key(path: Any) -> str:
    # Absolute: one work directory may see two data folders with files of the same names.
    return printable(os.path.abspath(path))


def _stamps(paths: Sequence[Any]) -> tuple[list[list[int]], int]:
    """Returns size in bytes and modification time in ns of each file, and the sum of the sizes."""
    stamps = []
    for path in paths:
        try:
            status = os.stat(path)
            stamps.append([status.st_size, status.st_mtime_ns])
        except OSError:
            stamps.append([0, 0])
    return stamps, sum(size for size, _ in stamps)


def _contents(items: Sequence[Any], in_memory: bool) -> tf.Tensor:
    if not in_memory:
        return tf.constant([os.fsencode(path) for path in items], tf.string)
    return tf.constant([item if isinstance(item, bytes) else _read(item) for item in items], tf.string)


def _read(path: str) -> bytes:
    # An unreadable file is an empty image here; the reason is asked for when the decoder refuses it.
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _read_index(path: Path) -> dict[str, list[Any]]:
    with contextlib.suppress(InputError):
        entries = files.read_json(path, kind="data_index").get("files")
        return entries if isinstance(entries, dict) else {}
    return {}


def _probe(
    contents: tf.Tensor,
    in_memory: bool,
    todo: list[int],
    found: list[tuple[int, int, bool]],
    reasons: dict[int, str],
) -> None:
    """Decodes the images ``todo``; fills in (height, width, is JPEG), or the reason why not."""

    def inspect(i: tf.Tensor) -> tf.Tensor:
        encoded = contents[i] if in_memory else tf.io.read_file(contents[i])
        shape = tf.shape(decode(encoded))
        return tf.stack([i, shape[0], shape[1], tf.cast(tf.io.is_jpeg(encoded), tf.int32)])

    # One bad image fails its batch, whose images are then taken one by one.
    for batch in (32, 1):
        if not todo:
            return
        dataset = tf.data.Dataset.from_tensor_slices(np.asarray(todo, np.int32)).batch(batch)
        dataset = dataset.map(
            lambda ids: tf.map_fn(inspect, ids, parallel_iterations=4),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=False,
        )
        for rows in dataset.ignore_errors().as_numpy_iterator():
            for i, height, width, is_jpeg in rows.tolist():
                found[i] = (height, width, bool(is_jpeg))
        todo = [i for i in todo if not found[i][0]]
    for i in todo:
        reasons[i] = _reason(contents[i], in_memory)


def _pixels(contents: tf.Tensor, sizes: np.ndarray) -> tf.Tensor | None:
    """Returns all images decoded, the undecodable ones black, if they are of one size and fit into memory."""
    good = np.flatnonzero(sizes[:, 0])
    if not len(good) or (sizes[good] != sizes[good[0]]).any():
        return None
    height, width = sizes[good[0]].tolist()
    if len(sizes) * height * width * 3 > MEMORY_LIMIT_BYTES:
        return None

    def decoded(i: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.ensure_shape(decode(contents[i]), [height, width, 3]), [0, 2, 1])

    dataset = tf.data.Dataset.from_tensor_slices(good).batch(_DECODE_BATCH)
    dataset = dataset.map(
        lambda ids: tf.map_fn(decoded, ids, fn_output_signature=tf.uint8, parallel_iterations=4),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    pixels = np.zeros((len(sizes), height, 3, width), np.uint8)
    for i, batch in enumerate(dataset.as_numpy_iterator()):
        pixels[good[i * _DECODE_BATCH : (i + 1) * _DECODE_BATCH]] = batch
    return tf.constant(pixels)


def _reason(content: tf.Tensor, in_memory: bool) -> str:
    try:
        encoded = content if in_memory else tf.io.read_file(content)
        if not len(encoded.numpy()):
            return "the file is empty or may not be read"
        decode(encoded)
    except tf.errors.OpError as error:
        return error.message.split("}}")[-1].split("[Op:")[0].strip().rstrip(".")
    return "it has no pixels"
