"""Large photos: memory of the check and of training batches, speed, and what a smaller form does to the accuracy.

Each line is a process of its own, so that its peak of memory is its own; the digits that ship with the package are the
measure. With ``--run RUN`` (a trained family) and ``--pictures FOLDER`` (class folders of small pictures that it knows)
the accuracy of its largest subnet on photos made of them is compared: once with the photos as they are, once with the
smaller forms.

    python benchmarks/photos.py --json photos.json --run runs/cifar10 --pictures cifar10/val
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from compofa_tf.data import pictures
from compofa_tf.latency.devices.host import processor
from compofa_tf.recipes.settings import DataSettings

SETTINGS = DataSettings(resolutions=(128,), val_fraction=0.25)
PHOTO = (4000, 3000)
BATCH, STEPS = 64, 12
SIDE = 800
"""Of the photos whose accuracy is compared."""


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Writes photos of two classes: smooth shapes with the noise of a sensor."""
    for i in range(count):
        rng = np.random.default_rng(i)
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        noisy = np.asarray(coarse).astype(np.int16) + rng.integers(-6, 7, (size[1], size[0], 1), np.int16)
        path = folder / ("sea" if i % 2 else "wood") / f"IMG_{i:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, quality=92)


def enlarge(source: Path, target: Path, count: int) -> None:
    """Writes photos of 800 px made of small pictures, the first so many of each class."""
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (target / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:count]:
            with Image.open(path) as image:
                large = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            large.save(target / folder.name / path.name, "JPEG", quality=95)


def peak_mib() -> float:
    """Returns the most memory that this process held. What ``getrusage`` says includes the peak of who started it."""
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(kib) / 1024


def worker(kind: str, source: str, workdir: str) -> None:
    """Checks a set, or gives training batches of it; prints what it took as JSON."""
    began = time.perf_counter()
    found: dict[str, Any] = {}
    if kind == "check":
        from compofa_tf.data.survey import Survey

        Survey.of(source, SETTINGS, workdir=Path(workdir)).lines()
    else:
        from compofa_tf.data import load

        data = load(source, SETTINGS, workdir=workdir)
        found["load_s"] = time.perf_counter() - began
        resolutions = np.full(STEPS, 128, np.int32)
        times = [time.perf_counter()]
        for images, _ in data.train(batch_size=BATCH, steps=STEPS, resolutions=resolutions, seed=0):
            np.asarray(images)
            times.append(time.perf_counter())
        # The first batches wait for the graph.
        found["images_per_s"] = BATCH * (STEPS - 4) / (times[-1] - times[4])
    found["seconds"] = time.perf_counter() - began
    found["peak_mib"] = peak_mib()
    print(json.dumps(found))


def measured(*words: str) -> dict[str, Any]:
    """Runs a worker in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--worker", *words], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(photos: Path, path: Path, scratch: Path) -> dict[str, Any]:
    """Answers of the largest subnet of a run on photos as they are and on their smaller forms, picture by picture."""
    from compofa_tf.data import load
    from compofa_tf.nets.subnet import calibrate
    from compofa_tf.pipeline.run import Run

    run = Run(path)
    resolution = max(run.recipe.accuracy.resolutions)
    net, arch = run.net, run.space.largest(resolution)
    right = []
    for name, enlarged in (("smaller", pictures.ENLARGED), ("direct", math.inf)):
        settings = dataclasses.replace(run.recipe.data, val_fraction=0.8)
        with _enlarged(enlarged):
            data = load(f"folder:{photos}", settings, workdir=scratch / name).bound_to(run.labels)
        calibrate(net, arch, data.calibration(resolution=resolution, batch_size=100, count=400))
        answers = [
            np.argmax(net(images, arch), axis=1) == labels
            for images, labels in data.eval(resolution=resolution, batch_size=50).as_numpy_iterator()
        ]
        right.append(np.concatenate(answers))
    smaller, direct = right
    gained, lost = int((smaller & ~direct).sum()), int((~smaller & direct).sum())
    return {
        "pictures": len(smaller),
        "subnet": run.space.id(arch),
        "top1_smaller": float(smaller.mean()),
        "top1_direct": float(direct.mean()),
        "right_only_smaller": gained,
        "right_only_direct": lost,
        # Of a difference of paired answers, 95 %.
        "interval": 1.96 * math.sqrt(max(1, gained + lost)) / len(smaller),
    }


@contextlib.contextmanager
def _enlarged(factor: float) -> Any:
    before = pictures.ENLARGED
    pictures.ENLARGED = factor
    try:
        yield
    finally:
        pictures.ENLARGED = before


def main() -> None:
    """Measures, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=24, help="photos of 4000 x 3000; default: 24")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    rows: dict[str, Any] = {}
    result: dict[str, Any] = {"processor": processor(), "date": datetime.date.today().isoformat()}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        make_photos(scratch / "photos", options.photos, PHOTO)
        make_photos(scratch / "large", 2, (14_800, 10_200))
        make_photos(scratch / "large", 4, PHOTO)
        for i in range(2):
            Image.new("RGB", (20_000, 500), (30 * i, 90, 120)).save(scratch / "large" / "wood" / f"panorama{i}.jpg")
        sets = {
            "digits": "digits",
            f"{options.photos} photos of 12 megapixels": f"folder:{scratch / 'photos'}",
            "151 megapixels and 20000 x 500": f"folder:{scratch / 'large'}",
        }
        print(f"{'set':36} {'work':14} {'s':>7} {'peak MiB':>9} {'images/s':>9}")
        for label, source in sets.items():
            place = str(scratch / label.replace(" ", "_"))
            for work, kind in (("check", "check"), ("first training", "train"), ("later training", "train")):
                found = measured(kind, source, place)
                rows[f"{label}, {work}"] = found
                speed = f"{found['images_per_s']:9.0f}" if "images_per_s" in found else ""
                print(f"{label:36} {work:14} {found['seconds']:7.1f} {found['peak_mib']:9.0f} {speed}", flush=True)
        if options.pictures and options.run:
            enlarge(options.pictures, scratch / "enlarged", options.per_class)
            result["accuracy"] = found = compared(scratch / "enlarged", options.run, scratch)
            print(
                f"top-1 of {found['subnet']} on {found['pictures']} photos of {SIDE} px: "
                f"{found['top1_smaller']:.2%} smaller, {found['top1_direct']:.2%} direct; right only with one of them: "
                f"{found['right_only_smaller']} and {found['right_only_direct']}; a difference of "
                f"{found['interval']:.2%} would be noise"
            )
    if options.json:
        options.json.write_text(json.dumps({**result, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
