"""Pictures in another form than the user's files: upright, smaller, readable; made once and kept. No TensorFlow."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from compofa_tf import files
from compofa_tf.data import checking, pictures
from compofa_tf.data.listing import Listing
from compofa_tf.data.pictures import Finding
from compofa_tf.errors import InputError
from compofa_tf.progress import progress_bar
from compofa_tf.recipes.settings import DataSettings

MEMORY_LIMIT_BYTES = 1 << 30
"""Images are held in memory up to this total size, decoded if they are all of one size, else encoded."""

SIDE_PER_RESOLUTION = 2.0
"""Shorter side of a picture that was scaled down, in multiples of the largest resolution of the recipe."""

SMALLEST_SIDE = 128
"""Pixels that the shorter side keeps at least: the evaluation crops smaller pictures by another rule."""

_BYTES_PER_PIXEL = 0.5
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Usable:
    """Pictures in a form that TensorFlow reads.

    Attributes:
      items: A path or the encoded picture each.
      widths: int32 ``[n]``, pixels; 0 for a picture that cannot be used.
      heights: int32 ``[n]``, pixels.
      jpeg: bool ``[n]``; a JPEG can be decoded in part.
      findings: What is known of each; the reason is set where it could not be brought into another form.
    """

    items: Sequence[str | bytes]
    widths: np.ndarray
    heights: np.ndarray
    jpeg: np.ndarray
    findings: Sequence[Finding]


def wanted_side(settings: DataSettings) -> int:
    """Returns the shorter side in pixels that is enough for a recipe."""
    return max(SMALLEST_SIDE, round(SIDE_PER_RESOLUTION * max(settings.resolutions)))


def to_prepare(findings: Sequence[Finding], settings: DataSettings) -> list[int]:
    """Returns the positions of the pictures that are used in another form than they lie there."""
    side, upright = wanted_side(settings), settings.exif_orientation
    return [i for i, one in enumerate(findings) if not one.reason and not one.used_as_it_is(side=side, upright=upright)]


def expected_bytes(findings: Sequence[Finding], settings: DataSettings) -> int:
    """Returns about how many bytes the other forms of these pictures take."""
    side, total = wanted_side(settings), 0.0
    for finding in findings:
        shorter = min(finding.width, finding.height)
        scale = side / shorter if shorter > pictures.ENLARGED * side else 1.0
        total += finding.width * finding.height * scale**2 * _BYTES_PER_PIXEL
    return int(total)


def usable(
    listing: Listing,
    findings: Sequence[Finding],
    *,
    settings: DataSettings,
    folder: Path,
    log: Callable[[str], None] | None = None,
) -> Usable:
    """Returns the pictures of a listing in a form that TensorFlow reads, made where it is not there yet.

    Files are kept under ``folder``, by the content of the picture and the settings, so that later commands find them,
    each written whole or not at all. What lies in memory stays there.

    Args:
      listing: What the source found.
      findings: What the check found of each.
      settings: Resolutions, and whether orientation is applied.
      folder: Where files are kept.
      log: Gets a line where many or large files must be made.

    Raises:
      InputError: If a file cannot be written.
    """
    todo = to_prepare(findings, settings)
    items: list[str | bytes] = list(listing.items)
    known = list(findings)
    form = _Form(wanted_side(settings), settings.exif_orientation, folder if listing.in_files else None)
    missing = [i for i in todo if form.found(known[i]) is None]
    if missing and log is not None and listing.in_files:
        size = expected_bytes([known[i] for i in missing], settings)
        log(
            f"Preparing {len(missing)} pictures in {folder}, once: upright, shorter side at most "
            f"{pictures.ENLARGED * form.side:.0f} px, about {max(1, size >> 20)} MiB."
        )
    form.make([(items[i], known[i]) for i in missing])
    for i in todo:
        made = form.found(known[i])
        if made is None:
            known[i] = dataclasses.replace(known[i], reason="the file can no longer be read")
        else:
            items[i], known[i] = made
    good = np.asarray([not one.reason for one in known], bool)
    return Usable(
        items=items,
        widths=np.asarray([one.width for one in known], np.int32) * good,
        heights=np.asarray([one.height for one in known], np.int32) * good,
        jpeg=np.asarray([one.is_jpeg for one in known], bool) & good,
        findings=known,
    )


class _Form:
    """Pictures in one form, in a folder or in memory."""

    def __init__(self, side: int, upright: bool, folder: Path | None) -> None:
        self.side, self.upright = side, upright
        self._folder = None if folder is None else folder / f"{side}{'-upright' if upright else ''}"
        self._held: dict[str, bytes] = {}

    def found(self, finding: Finding) -> tuple[str | bytes, Finding] | None:
        """The picture in this form and what is known of it, if it is there."""
        item: str | bytes
        if self._folder is None:
            item = self._held.get(finding.digest, b"")
            source: io.BytesIO | str = io.BytesIO(item)
        else:
            item = source = str(self._file(self._folder, finding))
        try:
            with Image.open(source) as image:
                return item, dataclasses.replace(
                    finding,
                    format=str(image.format),
                    width=image.width,
                    height=image.height,
                    orientation=1,
                    direct=True,
                )
        except (OSError, SyntaxError):
            return None

    def make(self, todo: list[tuple[str | bytes, Finding]]) -> None:
        """Makes pictures; those that cannot be read any more are left out."""

        def one(task: tuple[str | bytes, Finding]) -> None:
            item, finding = task
            content = item if isinstance(item, bytes) else checking.read(item)
            try:
                made = pictures.prepare(content, side=self.side, upright=self.upright)
            except Exception:  # noqa: BLE001  broken meanwhile: Pillow raises many kinds; ``found`` will miss it
                return
            if self._folder is None:
                self._held[finding.digest] = made
                return
            with files.atomic_write(self._file(self._folder, finding)) as temporary:
                temporary.write_bytes(made)

        bar = progress_bar(total=len(todo), desc="preparing", unit="picture", shown=len(todo) > _AT_ONCE)
        try:
            with pictures.large_allowed(), ThreadPoolExecutor(os.cpu_count()) as pool, bar:
                for start in range(0, len(todo), _AT_ONCE):
                    batch = todo[start : start + _AT_ONCE]
                    list(pool.map(one, batch))
                    bar.update(len(batch))
        except OSError as error:
            raise InputError(f"Pictures cannot be prepared in {self._folder} ({error}); make room there.") from error

    @staticmethod
    def _file(folder: Path, finding: Finding) -> Path:
        # The name says no format: what is in the file does.
        return folder / finding.digest[:2] / finding.digest
