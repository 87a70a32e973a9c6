"""Work directories made without training, for the stages after it."""

from __future__ import annotations

import zlib
from pathlib import Path

from compofa_tf import files, recipes
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.pipeline.run import Run
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.space import Space

LABELS = [str(digit) for digit in range(10)]
NORMALIZATION = {"name": "symmetric", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def small_recipe() -> Recipe:
    """The demo's recipe at one small resolution."""
    return recipes.get("demo").override(
        [
            "data.resolutions=24",
            "accuracy.resolutions=24",
            "accuracy.images=40",
            "accuracy.calibration_images=64",
            "accuracy.batch_size=64",
            "latency.repeats=1",
            "latency.runs=5",
            "latency.warmup=1",
            "latency.validate=0",
            "deploy.calibration_images=64",
        ]
    )


def described(folder: Path) -> Space:
    """Writes what training leaves behind except the weights; needs no TensorFlow."""
    recipe = small_recipe()
    space = recipe.space.build(classes=10)
    recipe.save(folder / "recipe.json")
    payload = {"space": space.to_json(), "labels": LABELS, "normalization": NORMALIZATION}
    payload["training_hash"] = recipe.training_hash
    files.write_json(folder / "supernet" / "supernet.json", payload, kind="supernet", recipe_hash=recipe.hash)
    return space


def with_tables(folder: Path) -> Space:
    """Adds made-up tables: larger pieces take longer, deeper subnets are more accurate."""
    space = described(folder)
    recipe = Recipe.load(folder)
    hashes = {"recipe_hash": recipe.hash, "training_hash": recipe.training_hash}
    accuracy = AccuracyTable(space, "digits", images=40, calibration_images=64, resolutions=(24,), **hashes)
    latency = LatencyTable(space, precision="int8", resolutions=(24,), recipe_hash=recipe.hash)
    for arch in space.enumerate(resolutions=(24,)):
        noise = zlib.crc32(space.id(arch).encode()) % 100 / 1e4
        accuracy.add(AccuracyRecord(arch, 0.5 + sum(arch.depths) / 50 + noise, 0.99, 1000))
        for piece in space.pieces(arch):
            ms = len(piece.units) * piece.channels * 1e-3
            timing = Timing((ms, ms), ms, ms, runs=10, fully_accelerated=True, date="2026-01-01T00:00:00+00:00")
            latency.entries.setdefault(piece.key, timing)
    accuracy.save(folder / "accuracy" / "val.json")
    latency.save(folder / "latency" / "host-int8-t1.json")
    return space


def with_made_up_latency(run: Run, names: list[str]) -> None:
    """Adds a latency table of the precision to search in that covers some subnets: larger pieces take longer."""
    precision = run.recipe.search.precision
    archs = [run.space.parse(name) for name in names]
    table = LatencyTable(run.space, precision=precision, resolutions=tuple(arch.resolution for arch in archs))
    for piece in (piece for arch in archs for piece in run.space.pieces(arch)):
        ms = len(piece.units) * piece.channels * 1e-3
        timing = Timing((ms, ms), ms, ms, runs=10, fully_accelerated=True, date="2026-01-01T00:00:00+00:00")
        table.entries.setdefault(piece.key, timing)
    table.save(run.latency_table_file(precision))


def with_weights(folder: Path) -> Space:
    """Adds untrained weights, so that everything after training runs on real digits."""
    from compofa_tf.nets.supernet import Supernet

    space = with_tables(folder)
    recipe = Recipe.load(folder)
    hashes = {"recipe_hash": recipe.hash, "training_hash": recipe.training_hash}
    Supernet(space, seed=1).save(folder / "supernet", labels=LABELS, normalization=NORMALIZATION, **hashes)
    return space
