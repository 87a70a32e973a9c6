"""The kinds of sources, and what is found in one: its pictures, each checked. No TensorFlow but for ``tfds:NAME``."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from compofa_tf._lazy import later
from compofa_tf.data import checking
from compofa_tf.data.folders import list_folder, list_images
from compofa_tf.data.listing import TRAIN, VAL, Listing
from compofa_tf.data.pictures import Finding
from compofa_tf.data.tables import list_csv
from compofa_tf.errors import InputError, did_you_mean
from compofa_tf.recipes.settings import DataSettings

_NAMED_SKIPS = 3


@dataclass(frozen=True)
class Source:
    """A kind of source.

    Attributes:
      form: How a source of it is written: its key in ``SOURCES``, where it needs more followed by ``:`` and that, as
        ``PATH`` or ``FILE`` where it is a place on disk.
      listing: Lists the pictures, given what follows the colon, the data settings and the work directory, if any.
    """

    form: str
    listing: Callable[[str, DataSettings, Path | None], Listing]


def _digits(rest: str, settings: DataSettings, workdir: Path | None) -> Listing:
    with resources.as_file(resources.files("compofa_tf.data") / "digits.npz") as path, np.load(path) as stored:
        pixels, labels, val = stored["images"], stored["labels"], stored["val"]
    grey = np.round(pixels * (255 / 16)).astype(np.uint8)
    return Listing(
        name="digits",
        classes=tuple("0123456789"),
        items=[_png(image) for image in grey],
        names=[f"digits/{i}" for i in range(len(grey))],
        labels=labels.astype(np.int32),
        roles=np.where(val, VAL, TRAIN).astype(np.int8),
        has_val=True,
        reading="handwritten digits of 8 x 8 pixels, in the package",
    )


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _folder(rest: str, settings: DataSettings, workdir: Path | None) -> Listing:
    return list_folder(rest, layout=settings.layout, group_by=settings.group_by)


def _images(rest: str, settings: DataSettings, workdir: Path | None) -> Listing:
    return list_images(rest)


def _csv(rest: str, settings: DataSettings, workdir: Path | None) -> Listing:
    return list_csv(rest, group_by=settings.group_by)


def _tfds(rest: str, settings: DataSettings, workdir: Path | None) -> Listing:
    found: Listing = later(__name__, "data.tfds_images").list_tfds(rest, cache=settings.cache, workdir=workdir)
    return found


SOURCES: dict[str, Source] = {
    "digits": Source("digits", _digits),
    "folder": Source("folder:PATH", _folder),
    "csv": Source("csv:FILE", _csv),
    "images": Source("images:PATH", _images),
    "tfds": Source("tfds:NAME", _tfds),
}
"""Each kind of source by the word that stands before the colon; one is added by one row."""


def find(source: str, settings: DataSettings, *, workdir: Path | None = None) -> tuple[Listing, list[Finding]]:
    """Lists the pictures of a source and checks each.

    Args:
      source: ``"digits"`` (1,797 handwritten digits, in the package), ``"folder:PATH"`` (class folders, see
        ``list_folder``), ``"csv:FILE"`` (a table, see ``list_csv``), ``"images:PATH"`` (pictures without classes, see
        ``list_images``) or ``"tfds:NAME"`` (TensorFlow Datasets, see ``list_tfds``).
      settings: The data part of a recipe; its own ``source`` is not looked at.
      workdir: The work directory, where findings are kept.

    Returns:
      What the source found, and what the check found of each picture, in the same order.

    Raises:
      InputError: If the source is unknown, missing, or not a set of two or more classes with pictures in each.
    """
    kind, colon, rest = source.partition(":")
    found = SOURCES.get(kind)
    if found is None or not (rest if ":" in found.form else not colon):
        raise InputError(f"There is no such data source; {_hint(source)} Received: source={source!r}")
    listing = found.listing(rest, settings, workdir)
    return listing, checking.check(listing, home=workdir)


def _hint(source: str) -> str:
    *first, last = (f'"{row.form}"' for row in SOURCES.values())
    path = Path(source).expanduser()
    if source and path.is_dir():
        hint = f"for that folder write folder:{source}."
    elif source and path.is_file():
        hint = f"for that table write csv:{source}."
    else:
        hint = did_you_mean(source.partition(":")[0].lower(), SOURCES, count=1)
    return f"{hint} A source is {', '.join(first)} or {last}."


def require_few_bad(listing: Listing, findings: Sequence[Finding], limit: float) -> None:
    """Raises ``InputError`` that names some, if more than the share ``limit`` of the pictures cannot be used."""
    bad = skipped(listing, findings)
    if len(bad) <= limit * len(findings):
        return
    named = "; ".join(f"{name} ({reason})" for name, reason in bad[:_NAMED_SKIPS])
    more = f"; and {len(bad) - _NAMED_SKIPS} more" if len(bad) > _NAMED_SKIPS else ""
    raise InputError(
        f"{len(bad)} of {len(findings)} images ({len(bad) / len(findings):.1%}) cannot be decoded, more than the "
        f"{limit:.1%} that data.max_bad_share allows: {named}{more}; mend or remove them, or raise the limit."
    )


def skipped(listing: Listing, findings: Sequence[Finding]) -> tuple[tuple[str, str], ...]:
    """Returns (name, reason) of every picture that cannot be used."""
    return tuple((name, one.reason) for name, one in zip(listing.names, findings) if one.reason)
