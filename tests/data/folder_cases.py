"""Data folders as people really have them, and what is to be understood of each.

Every picture of class k has one colour, ``COLOURS[k]``, and a lighter left edge, so that a wrong label, a wrong decoder
or a wrong turn shows at once.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((200, 30, 40), (40, 160, 60), (50, 70, 210))
FLOWERS = ("daisy", "rose", "tulip")
PETS = ("cat", "dog")
COMPOSED = unicodedata.normalize("NFC", "café")


@dataclasses.dataclass(frozen=True)
class Case:
    """A folder and what is in it.

    Attributes:
      make: Writes the folder.
      classes: Class names in order.
      counts: Pictures for training and validation together, and for the test.
      val: Pictures for validation, where the folder names them.
      ignored: Files that are named as passed over.
    """

    make: Callable[[Path], None]
    classes: tuple[str, ...]
    counts: tuple[int, int]
    val: int | None = None
    ignored: int = 0


def coloured(k: int, i: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    """A picture of class k; each has a content of its own."""
    rng = np.random.default_rng([k, i])
    pixels = np.asarray(COLOURS[k]) + rng.integers(-6, 7, (size[1], size[0], 3))
    pixels[:, : size[0] // 8] += 40
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def fill(folder: Path, k: int, count: int, *, first: int = 0, ending: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        coloured(k, i).save(folder / f"p{i:03}{ending}", quality=92)


def classes(folder: Path, count: int, *, names: tuple[str, ...] = FLOWERS, first: int = 0) -> None:
    for k, name in enumerate(names):
        fill(folder / name, k, count, first=first)


def training_testing(root: Path) -> None:
    classes(root / "Training", 10)
    classes(root / "Testing", 3, first=100)


def doubled(root: Path) -> None:
    classes(root / "seg_train" / "seg_train", 10)
    classes(root / "seg_test" / "seg_test", 3, first=100)
    fill(root / "seg_pred" / "seg_pred", 0, 4, first=200)


def three_splits(root: Path) -> None:
    classes(root / "train", 10)
    classes(root / "valid", 3, first=100)
    classes(root / "test", 4, first=200)
    (root / "README.dataset.txt").write_text("made by an annotation tool\n")


def wrapped(root: Path) -> None:
    classes(root / "archive" / "flowers", 10)


def train_beside_a_table(root: Path) -> None:
    classes(root / "train", 10)
    (root / "labels.csv").write_text("file,label\n")


def unlabelled_test(root: Path) -> None:
    classes(root / "train", 10)
    fill(root / "test" / "test", 0, 4, first=100)


def thumbnails(root: Path) -> None:
    for k, name in enumerate(PETS):
        fill(root / name, k, 8)
        for i in range(8):
            folder = root / name / "@eaDir" / f"p{i:03}.jpg"
            folder.mkdir(parents=True)
            for size in ("SM", "M", "XL"):
                coloured(k, i, (24, 24)).save(folder / f"SYNOPHOTO_THUMB_{size}.jpg")
    fill(root / "__MACOSX" / "cat", 0, 2)


def odd_names(root: Path) -> None:
    for k, name in enumerate(PETS):
        folder = root / name
        fill(folder, k, 6)
        fill(folder, k, 2, first=10, ending=".JPG")
        for i, ending in ((20, ".jfif"), (21, ""), (22, ".jpe"), (23, ".jpg?w=640")):
            stream = io.BytesIO()
            coloured(k, i).save(stream, "JPEG", quality=92)
            (folder / f"p{i:03}{ending}").write_bytes(stream.getvalue())
        coloured(k, 30).save(folder / "really_webp.jpg", "WEBP", quality=95)
        (folder / "p000.json").write_text("{}")
        (folder / "notes.txt").write_text("bought in May\n")
        (folder / "._p000.jpg").write_bytes(b"\x00\x05\x16\x07" + bytes(60))


def links(root: Path) -> None:
    store = root.parent / f"{root.name}_store"
    for k, name in enumerate(PETS):
        fill(store / name, k, 6)
        fill(root / name, k, 4, first=10)
        (root / name / "more").symlink_to(os.path.relpath(store / name, root / name), target_is_directory=True)
        (root / name / "again").symlink_to(store / name, target_is_directory=True)
        (root / name / "loop").symlink_to(".", target_is_directory=True)
        (root / name / "up").symlink_to(root.parent, target_is_directory=True)
        (root / name / "same.jpg").symlink_to("p010.jpg")
    # As git-annex and DVC do it: contents in a hidden folder, links where people look.
    fill(root / ".store", 0, 1, first=50)
    (root / "cat" / "annexed.jpg").symlink_to("../.store/p050.jpg")


def composed_names(root: Path) -> None:
    for split, count, form in (("train", 8, "NFC"), ("val", 3, "NFD")):
        fill(root / split / unicodedata.normalize(form, COMPOSED), 0, count, first=0 if split == "train" else 100)
        fill(root / split / "the", 1, count, first=0 if split == "train" else 100)


def formats(root: Path) -> None:
    fill(root / "plain", 0, 8)
    folder = root / "kinds"
    fill(folder, 1, 4)
    image = coloured(1, 50)
    palette = image.quantize(16)
    palette.save(folder / "palette.bmp")
    palette.save(folder / "palette.png")
    image.save(folder / "lzw.tif", compression="tiff_lzw")
    image.save(folder / "progressive.jpg", quality=92, progressive=True)
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    more = {"save_all": True, "append_images": [coloured(0, 51)], "duration": 100}
    image.save(folder / "animated.webp", quality=95, **more)
    image.save(folder / "animated.gif", **more)
    jpeg = (folder / "p000.jpg").read_bytes()
    (folder / "no_end_marker.jpg").write_bytes(jpeg[:-2])
    (folder / "trailing_bytes.jpg").write_bytes(jpeg + bytes(300))
    image.convert("RGBA").save(folder / "alpha.png")


def orientation(root: Path) -> None:
    """Eight pictures that are 64 wide, 40 high and lighter at the left when a viewer shows them."""
    fill(root / "plain", 0, 8)
    (root / "turned").mkdir(parents=True)
    turns = Image.Transpose
    stored = (
        *(None, turns.FLIP_LEFT_RIGHT, turns.ROTATE_180, turns.FLIP_TOP_BOTTOM),
        *(turns.TRANSPOSE, turns.ROTATE_90, turns.TRANSVERSE, turns.ROTATE_270),
    )
    for tag, turn in enumerate(stored, start=1):
        upright = coloured(2, 60 + tag, (64, 40))
        exif = Image.Exif()
        exif[0x0112] = tag
        image = upright if turn is None else upright.transpose(turn)
        image.save(root / "turned" / f"orientation{tag}.jpg", quality=95, exif=exif)


def copies(root: Path) -> None:
    for k, name in enumerate(PETS):
        fill(root / "train" / name, k, 12)
        fill(root / "val" / name, k, 4, first=100)
        shutil.copy(root / "train" / name / "p003.jpg", root / "val" / name / "copy_of_p003.jpg")
    shutil.copy(root / "train" / "cat" / "p005.jpg", root / "train" / "dog" / "p005_again.jpg")


def uneven(root: Path) -> None:
    for k, (name, count) in enumerate((("common", 60), ("rare", 12), ("scarce", 5))):
        fill(root / "train" / name, k, count)
        fill(root / "val" / name, k, count, first=1000)


CASES = {
    "training and testing": Case(training_testing, FLOWERS, (30, 9)),
    "doubled folders with a prefix": Case(doubled, FLOWERS, (30, 9), ignored=4),
    "three splits": Case(three_splits, FLOWERS, (39, 12), val=9, ignored=1),
    "wrapped in single folders": Case(wrapped, FLOWERS, (30, 0)),
    "train alone beside a table": Case(train_beside_a_table, FLOWERS, (30, 0), ignored=1),
    "a test without labels": Case(unlabelled_test, FLOWERS, (30, 0), ignored=4),
    "thumbnails of a network storage": Case(thumbnails, PETS, (16, 0), ignored=50),
    "odd names of files": Case(odd_names, PETS, (26, 0), ignored=4),
    "links, loops and doubles": Case(links, PETS, (21, 0)),
    "composed names": Case(composed_names, (COMPOSED, "the"), (22, 0), val=6),
    "formats": Case(formats, ("kinds", "plain"), (22, 0)),
    "orientation": Case(orientation, ("plain", "turned"), (16, 0)),
    "copies": Case(copies, PETS, (35, 0), val=10),
    "uneven": Case(uneven, ("common", "rare", "scarce"), (154, 0), val=77),
}
