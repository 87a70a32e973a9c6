"""Measuring a latency table: pieces and whole subnets are built, converted as for export, and timed in turns."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from compofa_tf import files
from compofa_tf.deploy.conversion import convert
from compofa_tf.deploy.targets import check_names
from compofa_tf.latency.correction import fit_correction
from compofa_tf.latency.devices.host import conditions, time_models
from compofa_tf.latency.plan import MeasurementPlan
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import SPREAD_BOUND, TURN_RUNS, Timing
from compofa_tf.nets import plain
from compofa_tf.progress import duration, progress_bar, say
from compofa_tf.space import Arch, Space
from compofa_tf.space.pieces import Piece

_VISIT_RUNS = 50
"""Inferences of each model in one process; a new one has other memory and other neighbours."""

_EXTRA_SHARES = 3
"""A busy machine is given a third more inferences at a time."""

_RANDOM_IMAGES = 8

_PROBES = 3
"""Conversions by which the time of all of them is estimated, after a first one, which also starts TensorFlow."""

# What one process holds at a time: its models, and again their weights as the runtime repacks them.
_MOST_MODELS = 64
_MOST_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class _Item:
    """Something to convert and time: a piece by its key, or a whole subnet by its id."""

    name: str
    part: Piece | Arch

    @property
    def whole(self) -> bool:
        return isinstance(self.part, Arch)

    def known(self, table: LatencyTable) -> Timing | None:
        """What the table has of it."""
        return (table.subnets if self.whole else table.entries).get(self.name)

    def build(self, space: Space) -> keras.Model:
        if isinstance(self.part, Arch):
            return plain.build(space, self.part)
        return plain.build_piece(self.part, space=space)

    def effort(self, space: Space) -> int:
        """Time of its conversion relative to others: a constant (ten kernels, measured) and every kernel."""
        units = space.units(self.part) if isinstance(self.part, Arch) else self.part.units
        return 10 + sum(len(unit.parts) for unit in units)


def measure_latency(
    table: LatencyTable,
    plan: MeasurementPlan,
    *,
    path: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> None:
    """Measures what ``table`` lacks of ``plan``, fits its correction, and writes it to ``path`` on the way.

    Args:
      table: Empty or begun; changed in place.
      plan: What to measure.
      path: File for the table; models wait in ``<path>.parts/`` until the table is complete. None writes nothing.
      progress: Whether to show progress and the result.

    Raises:
      InputError: If the precision does not fit.
    """
    check_names(table.precision, table.space.profile)
    wholes = (*plan.fit, *plan.validate)
    items = [
        *(_Item(key, piece) for key, piece in plan.pieces.items()),
        *(_Item(table.space.id(arch), arch) for arch in wholes),
    ]
    due = [item for item in items if _runs(table, item) < table.runs]
    with _folder(path) as folder:
        if due:
            models = _convert_all(table, due, folder, progress)
            _time_all(table, models, path, progress)
        _finish(table, plan, path)
    if progress:
        _tell(table)


def _runs(table: LatencyTable, item: _Item) -> int:
    known = item.known(table)
    return known.runs if known else 0


# Converting


@contextlib.contextmanager
def _folder(path: str | os.PathLike[str] | None) -> Iterator[Path]:
    """A folder for converted models; beside ``path`` it survives an interruption, and nothing is converted twice."""
    if path is None:
        with tempfile.TemporaryDirectory(prefix="compofa-latency-") as name:
            yield Path(name)
        return
    folder = Path(f"{os.fspath(path)}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)


def _convert_all(table: LatencyTable, items: Sequence[_Item], folder: Path, progress: bool) -> dict[_Item, Path]:
    paths = {item: folder / _file_name(table, item) for item in items}
    todo = [item for item in items if not paths[item].exists()]
    starter, probes, rest = todo[:1], todo[1 : 1 + _PROBES], todo[1 + _PROBES :]
    for item in starter:
        _convert(table, item, paths[item])
    started = time.monotonic()
    for item in probes:
        _convert(table, item, paths[item])
    if progress:
        probed, left = (sum(item.effort(table.space) for item in some) for some in (probes, rest))
        seconds = (time.monotonic() - started) * left / probed if probed else 0.0
        pieces = sum(not item.whole for item in items)
        say(
            f"Latency of {pieces} pieces and {len(items) - pieces} whole subnets at "
            f"{', '.join(map(str, table.resolutions))} px, {table.precision}, {table.threads} thread(s): converting "
            f"{len(rest)} models takes about {duration(seconds)}, then all are timed."
        )
    with progress_bar(
        total=len(todo),
        initial=len(todo) - len(rest),
        desc=f"converting, {table.precision}",
        unit="model",
        shown=progress,
    ) as bar:
        for item in rest:
            _convert(table, item, paths[item])
            bar.update()
    return paths


def _file_name(table: LatencyTable, item: _Item) -> str:
    text = repr((item.name, table.precision, table.space.fingerprint, sorted(files.versions().items())))
    return hashlib.sha256(text.encode()).hexdigest()[:24] + ".tflite"


def _convert(table: LatencyTable, item: _Item, path: Path) -> None:
    model = item.build(table.space)
    images = np.random.default_rng(0).standard_normal((_RANDOM_IMAGES, *model.input_shape[1:]), np.float32)
    _settle(model, images)
    content = convert(model, precision=table.precision, calibrate_on=images, profile=table.space.profile)
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(content)
    if item.whole:
        del model
        gc.collect()  # a model is full of cycles; several large ones would wait for the collector


def _settle(model: keras.Model, images: np.ndarray) -> None:
    """Gives a model of random weights the batch-norm statistics of its input.

    With the initial ones activations fade from layer to layer; int8 scales then differ so much between the inputs of an
    operation that the runtime does not accelerate it, and the time is not that of a trained network.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)


# Timing


def _time_all(
    table: LatencyTable, models: dict[_Item, Path], path: str | os.PathLike[str] | None, progress: bool
) -> None:
    """Visits the models until each has ``table.runs``, and up to as many again while the machine is busy."""
    goal = table.runs
    done = sum(_runs(table, item) for item in models)
    with progress_bar(
        total=goal * len(models), initial=done, desc=f"timing, {table.precision}", unit="run", shown=progress
    ) as bar:
        while True:
            due = [item for item in models if _runs(table, item) < goal]
            if due:
                fewest = min(_runs(table, item) for item in due)
                for chunk in _chunks(due, models, seed=fewest):
                    _visit(table, chunk, models, runs=min(_VISIT_RUNS, goal - fewest))
                    if path is not None:
                        table.save(path)
                    bar.update(len(chunk) * min(_VISIT_RUNS, goal - fewest))
            elif goal < 2 * table.runs and any(_noisy(table, item) for item in models):
                # Turns can be compared only with those of the same time: if one is repeated, all are.
                goal = min(goal + -(-table.runs // _EXTRA_SHARES), 2 * table.runs)
                bar.total = goal * len(models)
                bar.set_postfix_str("machine busy, timing more")
            else:
                break


def _noisy(table: LatencyTable, item: _Item) -> bool:
    known = item.known(table)
    return known is not None and known.noisy


def _chunks(items: Sequence[_Item], models: dict[_Item, Path], *, seed: int) -> Iterator[list[_Item]]:
    """Deals the items out at random, so that over the visits each is timed beside many others."""
    chunk: list[_Item] = []
    size = 0
    for index in np.random.default_rng(seed).permutation(len(items)):
        weight = models[items[index]].stat().st_size
        if chunk and (len(chunk) >= _MOST_MODELS or size + weight > _MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(items[index])
        size += weight
    if chunk:
        yield chunk


def _visit(table: LatencyTable, chunk: Sequence[_Item], models: dict[_Item, Path], *, runs: int) -> None:
    date = conditions()["date"]
    found = time_models(
        [models[item] for item in chunk],
        threads=table.threads,
        runs=min(TURN_RUNS, runs),
        warmup=table.warmup,
        rounds=-(-runs // TURN_RUNS),
    )
    for item, row in zip(chunk, found, strict=True):
        timing = Timing(
            turn_ms=tuple(row.get("round_medians_ms") or [row["median_ms"]]),
            p90_ms=row["p90_ms"],
            min_ms=row["min_ms"],
            runs=row["runs"],
            fully_accelerated=row["fully_accelerated"],
            date=date,
        )
        table.add(item.name, timing, subnet=item.whole)


# Fitting and telling


def _finish(table: LatencyTable, plan: MeasurementPlan, path: str | os.PathLike[str] | None) -> None:
    if plan.fit:
        table.fitted = tuple(table.space.id(arch) for arch in plan.fit)
        sums, counts = zip(*(table.sum_of(arch) for arch in plan.fit))
        table.correction = fit_correction(sums, counts, [table.subnets[name].ms for name in table.fitted])
    if path is not None:
        table.save(path)


def _tell(table: LatencyTable) -> None:
    if table.noisy:
        say(
            f"The machine was busy: {len(table.noisy)} of {len(table.entries) + len(table.subnets)} latencies spread "
            f"by more than {SPREAD_BOUND:.0%} between turns and are marked as noisy. Measure again when it is quiet."
        )
    slow = [name for name, timing in table.entries.items() if not timing.fully_accelerated]
    if slow:
        say(f"Not fully accelerated by LiteRT: {len(slow)} of {len(table)} pieces, for example {slow[0]}.")
    if table.validation:
        say(f"Predictions, {table.precision}: {table.validation}.")
