"""Measuring the tables that a search reads: accuracies of subnets, latencies of their pieces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from compofa_tf import commands
from compofa_tf.accuracy.answers import beside
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.deploy.metadata import normalization_of
from compofa_tf.errors import InputError, at_least
from compofa_tf.latency.table import LatencyTable
from compofa_tf.pipeline.run import Run
from compofa_tf.pipeline.searching import searched, whole_of
from compofa_tf.progress import say
from compofa_tf.space import Arch, Space


def measure_accuracy(
    run: Run, *, limit: int | None = None, sample: int | None = None, images: int | None = None
) -> AccuracyTable:
    """Measures the accuracy table, or continues it.

    Args:
      run: A run with a finished training. Of an imported single subnet that one is measured, with the batch-norm
        statistics that it came with.
      limit: Only the first so many subnets, in the order of ``Space.enumerate``.
      sample: Only so many subnets drawn at random (seeded by the recipe), the largest and the smallest among them.
      images: Validation images per subnet instead of the recipe's.

    Raises:
      InputError: If the images have no classes, or another command measures accuracies there.
    """
    recipe, settings = run.recipe, run.recipe.accuracy
    archs = run.archs
    if archs is None:
        archs = choose_archs(run.space, settings.resolutions, limit=limit, sample=sample, seed=recipe.seed)
    with run.writing("accuracy"):
        if not run.data.labelled:
            raise InputError(
                f"{recipe.data.source} has no classes, so accuracy cannot be measured; run "
                f"`{commands.writer(commands.LATENCY).line(run)}` and search with --accuracy published where that fits."
            )
        return AccuracyTable.measure(
            run.net,
            data=run.data,
            archs=archs,
            resolutions=settings.resolutions,
            images=settings.images if images is None else images,
            calibration_images=run.calibration_images,
            batch_size=settings.batch_size,
            path=run.accuracy_file,
            recipe_hash=recipe.hash,
            training_hash=recipe.training_hash,
        )


def confirm(run: Run) -> AccuracyTable | None:
    """Measures the points of the front on all validation pictures, where the accuracy table is of a part of them.

    What was chosen on a part looks better on it than on all, and exported models are judged on all.

    Returns:
      The table of these points, or None: where there is no latency table yet, or nothing to add.
    """
    recipe, latency = run.recipe, run.latency_table_file(run.recipe.search.precision)
    if not (run.accuracy_file.exists() and latency.exists()):
        return None
    try:
        points = searched(run).unconfirmed
    except InputError:  # the search will say what is missing
        return None
    if not points:
        return None
    say(f"{len(points)} points of the front once more, on all validation pictures.")
    whole = run.whole_accuracy_file
    with run.writing("accuracy"):
        if whole.exists() and whole_of(run, AccuracyTable.load(run.accuracy_file)) is None:
            for stale in (whole, beside(whole)):  # of another training, or measured otherwise
                stale.unlink(missing_ok=True)
        return AccuracyTable.measure(
            run.net,
            data=run.data,
            archs=[point.arch for point in points],
            resolutions=recipe.accuracy.resolutions,
            calibration_images=run.calibration_images,
            batch_size=recipe.accuracy.batch_size,
            path=whole,
            recipe_hash=recipe.hash,
            training_hash=recipe.training_hash,
        )


def choose_archs(
    space: Space, resolutions: Sequence[int], *, limit: int | None, sample: int | None, seed: int
) -> list[Arch] | None:
    """Returns the subnets for a quick look, or None for all of them."""
    if limit is not None and sample is not None:
        raise InputError(f"Give --limit or --sample, not both. Received: limit={limit}, sample={sample}")
    at_least(1, **{name: value for name, value in (("limit", limit), ("sample", sample)) if value is not None})
    if limit is not None:
        return list(itertools.islice(space.enumerate(resolutions=resolutions), limit))
    if sample is None:
        return None
    rng = np.random.default_rng(seed)
    chosen = dict.fromkeys([space.largest(max(resolutions)), space.smallest(min(resolutions))])
    for _ in range(100 * sample):
        if len(chosen) >= min(sample, space.size * len(resolutions)):
            break
        chosen[space.sample(rng, resolutions=resolutions)] = None
    return list(chosen)[:sample]


def measure_latency(run: Run) -> list[LatencyTable]:
    """Measures the latency tables of the recipe's precisions, or continues them.

    Raises:
      InputError: If another command measures one of them.
    """
    return [_measured(run, precision) for precision in run.recipe.latency.precisions]


def _measured(run: Run, precision: str) -> LatencyTable:
    recipe, settings, path = run.recipe, run.recipe.latency, run.latency_table_file(precision)
    with run.writing(path.stem):
        return LatencyTable.measure(
            run.space,
            device=settings.device,
            resolutions=recipe.accuracy.resolutions,
            archs=run.archs,
            precision=precision,
            threads=settings.threads,
            runs=settings.runs,
            warmup=settings.warmup,
            repeats=settings.repeats,
            validate=settings.validate,
            path=path,
            recipe_hash=recipe.hash,
            ends=run.ends(precision),
            trained=normalization_of({"normalization": run.normalization}),
        )
