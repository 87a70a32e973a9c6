"""One picture as Pillow sees it: what it is, whether TensorFlow reads it as it is, and else a form that it reads.

No TensorFlow. A picture is judged by its content, its name says nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 250_000_000
"""Larger pictures are refused: decoded they take three quarters of a gigabyte."""

ENLARGED = 1.5
"""How many times the wanted shorter side a picture may have before it is scaled down once and for all."""

_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
_JPEG = ("JPEG", "MPO")
_LARGE = 16_000_000
_TWELVE_BITS = 4095
_ONE_LARGE = threading.Lock()
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_END_OF_JPEG = b"\xff\xd9"
_MOST_MISSING = 0.02
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Finding:
    """What was found out about a picture.

    Attributes:
      format: Pillow's name of the format; empty where the picture cannot be used.
      width: Pixels, as stored.
      height: Pixels, as stored.
      orientation: EXIF orientation: 1, or 2 to 8 where a viewer turns or mirrors the picture.
      direct: Whether TensorFlow reads the stored form, and rightly.
      digest: Digest of the content, 32 hexadecimal digits; empty where nothing could be read.
      size: Bytes of the content.
      reason: Why it cannot be used, else empty.
    """

    format: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    direct: bool = False
    digest: str = ""
    size: int = 0
    reason: str = ""

    @property
    def is_jpeg(self) -> bool:
        """Whether a part of it can be decoded."""
        return self.format in _JPEG

    def upright_size(self, *, upright: bool) -> tuple[int, int]:
        """Width and height as it is looked at."""
        turned = upright and self.orientation in _TURNED
        return (self.height, self.width) if turned else (self.width, self.height)

    def used_as_it_is(self, *, side: int, upright: bool) -> bool:
        """Whether the stored form serves.

        Args:
          side: Shorter side in pixels that is enough.
          upright: Whether orientation is applied.
        """
        turned = upright and self.orientation != 1
        return self.direct and not turned and min(self.width, self.height) <= ENLARGED * side


@contextlib.contextmanager
def large_allowed() -> Iterator[None]:
    """Lets Pillow open pictures up to ``MOST_PIXELS`` in the block, in all threads; then its own limit holds again."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def examine(content: bytes) -> Finding:
    """Decodes a picture completely and says what it is, or why it cannot be used; never fails."""
    if not content:
        return Finding(reason="the file is empty or may not be read")
    known: dict[str, Any] = {
        "digest": hashlib.blake2b(content, digest_size=16).hexdigest(),
        "size": len(content),
    }
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            form, size, orientation = str(image.format), image.size, _orientation(image)
            if size[0] * size[1] > MOST_PIXELS:
                return Finding(reason=_too_large(*size), **known)
            _require_readable(image)
            whole = _decodes(image) and (form not in _JPEG or content.rstrip(b"\0").endswith(_END_OF_JPEG))
            narrow = image.mode.startswith("I") and np.asarray(image).max() <= _TWELVE_BITS
            if form == "TIFF":  # Pillow turns these itself
                size, orientation = image.size, 1
        if not whole and not _complete(content):
            return Finding(reason="the file is cut off", **known)
    except Exception as error:  # noqa: BLE001  Pillow raises many kinds for what is broken
        return Finding(reason=_reason(content, error), **known)
    return Finding(form, *size, orientation, whole and not narrow and _is_direct(content, form), **known)


def opened(content: bytes, *, upright: bool) -> Image.Image:
    """Returns a picture that ``examine`` found usable, decoded to RGB, as viewers show it or as it is stored."""
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        if image.format in _JPEG:
            image = Image.open(io.BytesIO(_ended(content)), formats=_FORMATS)
        orientation = _orientation(image) if image.format != "TIFF" else 1
        found = _scaled(image, image.size)
    return _upright(found, orientation) if upright and orientation != 1 else found


def prepare(content: bytes, *, side: int, upright: bool) -> bytes:
    """Returns a picture as TensorFlow reads it: a JPEG where it was one or is made smaller, else a PNG without loss.

    Args:
      content: The file, one that ``examine`` found usable.
      side: Shorter side in pixels that is enough; a picture with more than ``ENLARGED`` times it is scaled down to it.
      upright: Whether EXIF orientation is applied.
    """
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        is_jpeg, orientation = image.format in _JPEG, _orientation(image)
    if is_jpeg:
        content = _ended(content)  # after another end marker it is not looked at
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        scale = side / min(image.size)
        smaller = scale * ENLARGED < 1
        if is_jpeg and not smaller and (orientation == 1 or not upright):
            return content
        size = image.size
        if smaller:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            if is_jpeg:
                image.draft("RGB", size)
        with _room(image):
            found = _scaled(image, size)
        if upright and orientation != 1 and image.format != "TIFF":
            found = _upright(found, orientation)
    stream = io.BytesIO()
    if smaller or is_jpeg:
        found.save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling="4:2:0" if smaller else "4:4:4")
    else:
        found.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(_ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _require_readable(image: Image.Image) -> None:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, which no picture has")


def _decodes(image: Image.Image) -> bool:
    """Decodes all of it, a JPEG at an eighth of its size; False where a JPEG ends too early."""
    is_jpeg = image.format in _JPEG
    with _room(image):
        if is_jpeg:
            image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
        try:
            image.load()
        except OSError as error:
            if is_jpeg and "truncated" in str(error):
                return False
            raise
    return True


def _complete(content: bytes) -> bool:
    """Whether nothing but the end marker is missing from a JPEG.

    What follows the last pixel is not looked at: with other bytes before the end the picture is the same.
    """
    pictures = []
    for more in (b"", bytes(range(0x40, 0x60)) * 8):
        with Image.open(io.BytesIO(_ended(content, more)), formats=_FORMATS) as image:
            if image.width * image.height > _LARGE:
                image.draft(image.mode, (image.width // 8, image.height // 8))
            with _room(image):
                pictures.append(np.asarray(image))
    differ = (pictures[0] != pictures[1]).reshape(len(pictures[0]), -1).any(axis=1)
    return bool(differ.mean() <= _MOST_MISSING)


def _ended(content: bytes, more: bytes = b"") -> bytes:
    """Returns a JPEG with an end marker behind what is there."""
    return content.rstrip(b"\xff") + more + _END_OF_JPEG


def _is_direct(content: bytes, form: str) -> bool:
    """Whether TensorFlow's decoder shows the same picture."""
    if form == "BMP":  # it takes palettes and runs for colours
        return content[28:34] == b"\x18\0\0\0\0\0"
    if form == "WEBP":  # it refuses animations: bit 2 of the extended header
        return not (content[12:16] == b"VP8X" and content[20] & 2)
    return form in (*_JPEG, "PNG")


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Returns an RGB picture of a size; transparency is dropped, of many frames or pages the first is taken."""
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        # Cameras store 12 bits in 16.
        spare = 0 if wide.max() <= 255 else 4 if wide.max() <= _TWELVE_BITS else 8
        image = Image.fromarray((wide >> spare).clip(0, 255).astype(np.uint8))
    if image.mode in ("1", "P", "PA", "LA"):
        image = image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return image.convert("RGB")


def _room(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    """Large pictures that must be decoded as a whole wait for each other."""
    in_parts = image.format in _JPEG and not image.info.get("progressive")
    return contextlib.nullcontext() if in_parts or image.width * image.height < _LARGE else _ONE_LARGE


def _too_large(width: int, height: int) -> str:
    return f"{width} x {height} pixels are more than {MOST_PIXELS // 10**6} megapixels; scale it down"


def _reason(content: bytes, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MOST_PIXELS // 10**6} megapixels; scale it down"
    if content[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
        return "HEIC pictures cannot be read; save it as JPEG"
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture of a known format"
    if "truncated" in str(error).lower():
        return "the file is cut off"
    text = " ".join(str(error).split()).rstrip(".")
    return text or f"it is damaged ({type(error).__name__})"
