"""``load``: from the name of a source to ``Data``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import tensorflow as tf

from compofa_tf.data.dataset import Data
from compofa_tf.data.folders import list_folder, list_images
from compofa_tf.data.images import Images, Listing, prepare
from compofa_tf.data.normalization import Normalization
from compofa_tf.data.tfds_images import list_tfds
from compofa_tf.errors import InputError, did_you_mean
from compofa_tf.recipes.settings import DataSettings

_NAMED_SKIPS = 3


@dataclass(frozen=True)
class Source:
    """A kind of source.

    Attributes:
      form: How a source of it is written: its key in ``SOURCES``, where it needs more followed by ``:`` and that.
      listing: Lists the images, given what follows the colon, the data settings and the work directory, if any.
    """

    form: str
    listing: Callable[[str, DataSettings, Path | None], Listing]


SOURCES: dict[str, Source] = {
    "digits": Source("digits", lambda rest, settings, workdir: _list_digits()),
    "folder": Source("folder:PATH", lambda rest, settings, workdir: list_folder(rest)),
    "images": Source("images:PATH", lambda rest, settings, workdir: list_images(rest)),
    "tfds": Source("tfds:NAME", lambda rest, settings, workdir: list_tfds(rest, cache=settings.cache, workdir=workdir)),
}
"""Each kind of source by the word that stands before the colon; one is added by one row."""


def load(source: str, settings: DataSettings, *, seed: int = 0, workdir: str | Path | None = None) -> Data:
    """Loads a data set and checks that each of its images can be decoded.

    Args:
      source: ``"digits"`` (1,797 handwritten digits, in the package), ``"folder:PATH"`` (class folders of JPEG or PNG,
        see ``list_folder``), ``"images:PATH"`` (images without classes, see ``list_images``) or ``"tfds:NAME"``
        (TensorFlow Datasets, see ``list_tfds``).
      settings: The data part of a recipe; its own ``source`` is not looked at.
      seed: Decides the validation images of sources without a split of their own.
      workdir: Where ``data_index.json`` is kept, which spares a second run the check of unchanged files.

    Raises:
      InputError: If the source is unknown, missing, not a set of two or more classes with images in each, or if more
        than the share ``settings.max_bad_share`` of its images cannot be decoded.
    """
    workdir = None if workdir is None else Path(workdir)
    kind, colon, rest = source.partition(":")
    found = SOURCES.get(kind)
    if found is None or not (rest if ":" in found.form else not colon):
        raise InputError(f"There is no such data source; {_hint(source)} Received: source={source!r}")
    listing = found.listing(rest, settings, workdir)
    images = prepare(listing, cache=settings.cache, workdir=workdir)
    _require_few_bad(images, settings.max_bad_share)
    train_ids, val_ids = _split(listing, images, settings.val_fraction, seed)
    return Data(
        name=listing.name,
        labels=listing.classes,
        normalization=Normalization.named(settings.normalization),
        skipped=images.skipped,
        settings=settings,
        images=images,
        train_ids=train_ids,
        val_ids=val_ids,
    )


def _hint(source: str) -> str:
    *first, last = (f'"{row.form}"' for row in SOURCES.values())
    if source and Path(source).expanduser().is_dir():
        hint = f"for that folder write folder:{source}."
    else:
        hint = did_you_mean(source.partition(":")[0].lower(), SOURCES, count=1)
    return f"{hint} A source is {', '.join(first)} or {last}."


def _list_digits() -> Listing:
    with resources.as_file(resources.files("compofa_tf.data") / "digits.npz") as path, np.load(path) as stored:
        pixels, labels, val = stored["images"], stored["labels"], stored["val"]
    grey = np.round(pixels * (255 / 16)).astype(np.uint8)
    return Listing(
        name="digits",
        classes=tuple("0123456789"),
        items=[tf.io.encode_png(image[..., None]).numpy() for image in grey],
        names=[f"digits/{i}" for i in range(len(grey))],
        labels=labels.astype(np.int32),
        val=val,
    )


def _require_few_bad(images: Images, limit: float) -> None:
    bad, count = len(images.skipped), len(images.labels)
    if bad <= limit * count:
        return
    named = "; ".join(f"{name} ({reason})" for name, reason in images.skipped[:_NAMED_SKIPS])
    more = f"; and {bad - _NAMED_SKIPS} more" if bad > _NAMED_SKIPS else ""
    raise InputError(
        f"{bad} of {count} images ({bad / count:.1%}) cannot be decoded, more than the {limit:.1%} that "
        f"data.max_bad_share allows: {named}{more}; mend or remove them, or raise the limit."
    )


def _split(listing: Listing, images: Images, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of the readable training and validation images."""
    good = images.heights > 0
    val = listing.val
    if not listing.classes:
        if not good.any():
            raise InputError("There is no usable image.")
        return np.flatnonzero(good), np.zeros(0, np.int64)
    if val is None:
        val = np.zeros(len(good), bool)
        for label, name in enumerate(listing.classes):
            of_class = np.flatnonzero(good & (images.labels == label))
            if len(of_class) < 2:
                raise InputError(
                    f"Class {name!r} has {len(of_class)} usable image(s); training and validation need one each."
                )
            # By hash, so that an image keeps its side when others come or go.
            order = sorted(of_class, key=lambda i: _hash(f"{seed}/{listing.names[int(i)]}"))
            val[order[: min(max(1, round(len(of_class) * fraction)), len(of_class) - 1)]] = True
    for split, chosen in (("training", good & ~val), ("validation", good & val)):
        present = np.bincount(images.labels[chosen], minlength=len(listing.classes))
        if split == "training" and not present.all():
            raise InputError(
                f"Class {listing.classes[int(present.argmin())]!r} has no usable training image; add some."
            )
        if not chosen.any():
            raise InputError(f"There is no usable {split} image.")
    return np.flatnonzero(good & ~val), np.flatnonzero(good & val)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
