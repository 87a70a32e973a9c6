"""Measuring what a plan names: pieces and whole subnets are built, converted as for export, and timed in turns."""

from __future__ import annotations

import contextlib
import datetime
import gc
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from compofa_tf import files
from compofa_tf.deploy.conversion import convert
from compofa_tf.deploy.editing import with_softmax
from compofa_tf.deploy.ends import Ends
from compofa_tf.deploy.targets import check_names
from compofa_tf.latency.devices.device import Device
from compofa_tf.latency.plan import MeasurementPlan, Procedure
from compofa_tf.latency.timings import TURN_RUNS, Timing
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


class Found(NamedTuple):
    """What one visit says of a piece, by its key, or of a whole subnet, by its id."""

    name: str
    timing: Timing
    whole: bool


def measure(
    plan: MeasurementPlan,
    procedure: Procedure,
    device: Device,
    *,
    known: Mapping[str, Timing],
    beside: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Iterator[list[Found]]:
    """Measures what is not known yet of a plan, visit by visit.

    While the machine is busy inferences are added, at most as many again.

    Args:
      plan: What to measure.
      procedure: How.
      device: On what.
      known: What was measured before, by key or id; what has all its runs is left out.
      beside: File that is going to hold the results. Converted models wait in ``<beside>.parts/`` until all is
        measured, so that nothing is converted twice after an interruption. None: in a temporary folder.
      progress: Whether to show progress.

    Yields:
      What was timed in one process, to be added to what was known.

    Raises:
      InputError: If the precision does not fit the family, or the device fails.
    """
    check_names(procedure.precision, plan.space.profile)
    items = [
        *(_Item(key, piece) for key, piece in plan.pieces.items()),
        *(_Item(plan.space.id(arch), arch) for arch in (*plan.fit, *plan.validate)),
    ]
    timings = {item.name: known[item.name] for item in items if item.name in known}
    due = [item for item in items if _runs(timings, item) < procedure.runs]
    with _folder(beside) as folder:
        if due:
            models = _convert_all(plan, procedure, due, folder, progress)
            yield from _time_all(procedure, device, models, timings, progress)


@dataclass(frozen=True)
class _Item:
    """Something to convert and time: a piece by its key, or a whole subnet by its id."""

    name: str
    content: Piece | Arch

    @property
    def whole(self) -> bool:
        return isinstance(self.content, Arch)

    def build(self, space: Space) -> keras.Model:
        if isinstance(self.content, Arch):
            return plain.build(space, self.content)
        return plain.build_piece(self.content, space=space)

    def effort(self, space: Space) -> int:
        """Time of its conversion relative to others: a constant (ten parts, measured) and every part."""
        units = space.units(self.content) if isinstance(self.content, Arch) else self.content.units
        return 10 + sum(len(unit.parts) for unit in units)


def _runs(timings: Mapping[str, Timing], item: _Item) -> int:
    return timings[item.name].runs if item.name in timings else 0


@contextlib.contextmanager
def _folder(beside: str | os.PathLike[str] | None) -> Iterator[Path]:
    if beside is None:
        with tempfile.TemporaryDirectory(prefix="compofa-latency-") as name:
            yield Path(name)
        return
    folder = Path(f"{os.fspath(beside)}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)  # not after an interruption


def _convert_all(
    plan: MeasurementPlan, procedure: Procedure, items: Sequence[_Item], folder: Path, progress: bool
) -> dict[_Item, Path]:
    """Converts what is not in the folder yet, and says how long that takes."""
    space, precision = plan.space, procedure.precision
    paths = {item: folder / _file_name(space, procedure, item) for item in items}
    todo = [item for item in items if not paths[item].exists()]
    starter, probes, rest = todo[:1], todo[1 : 1 + _PROBES], todo[1 + _PROBES :]
    for item in starter:
        _convert(space, procedure, item, paths[item])
    started = time.monotonic()
    for item in probes:
        _convert(space, procedure, item, paths[item])
    if progress:
        probed, left = (sum(item.effort(space) for item in some) for some in (probes, rest))
        seconds = (time.monotonic() - started) * left / probed if probed else 0.0
        pieces = sum(not item.whole for item in items)
        say(
            f"Latency of {pieces} pieces and {len(items) - pieces} whole subnets at "
            f"{', '.join(map(str, plan.resolutions))} px, {precision}, {procedure.threads} thread(s): converting "
            f"{len(rest)} models takes about {duration(seconds)}, then all are timed."
        )
    with progress_bar(
        total=len(todo), initial=len(todo) - len(rest), desc=f"converting, {precision}", unit="model", shown=progress
    ) as bar:
        for item in rest:
            _convert(space, procedure, item, paths[item])
            bar.update()
    return paths


def _file_name(space: Space, procedure: Procedure, item: _Item) -> str:
    made = (procedure.precision, procedure.ends, procedure.trained)
    text = repr((item.name, made, space.fingerprint, sorted(files.versions().items())))
    return hashlib.sha256(text.encode()).hexdigest()[:24] + ".tflite"


def _convert(space: Space, procedure: Procedure, item: _Item, path: Path) -> None:
    model = item.build(space)
    images = np.random.default_rng(0).standard_normal((_RANDOM_IMAGES, *model.input_shape[1:]), np.float32)
    _settle(model, images)
    given: dict[str, Any] = {"precision": procedure.precision, "calibrate_on": images, "profile": space.profile}
    if item.whole:
        ends, trained = procedure.ends or Ends.of(procedure.precision, space.profile), procedure.trained
        taken = None if trained is None else ends.taken(trained)
        between = None if trained is None or taken is None else (trained, taken)
        content = convert(model, **given, io=ends.io, normalizations=between)
        content = with_softmax(content) if ends.scores == "probabilities" else content
    else:
        content = convert(model, **given)
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


def _time_all(
    procedure: Procedure, device: Device, models: Mapping[_Item, Path], timings: dict[str, Timing], progress: bool
) -> Iterator[list[Found]]:
    """Visits the models until each has its runs, and up to as many again while the machine is busy."""
    goal = procedure.runs
    done = sum(_runs(timings, item) for item in models)
    with progress_bar(
        total=goal * len(models), initial=done, desc=f"timing, {procedure.precision}", unit="run", shown=progress
    ) as bar:
        while True:
            due = [item for item in models if _runs(timings, item) < goal]
            if due:
                fewest = min(_runs(timings, item) for item in due)
                runs = min(_VISIT_RUNS, goal - fewest)
                for chunk in _chunks(due, models, seed=fewest):
                    found = _visit(procedure, device, chunk, models, runs=runs)
                    for name, timing, _ in found:
                        timings[name] = timings[name].continued_by(timing) if name in timings else timing
                    yield found
                    bar.update(len(chunk) * runs)
            elif goal < 2 * procedure.runs and any(timings[item.name].noisy for item in models):
                # Turns can be compared only with those of the same time: if one is repeated, all are.
                goal = min(goal + -(-procedure.runs // _EXTRA_SHARES), 2 * procedure.runs)
                bar.total = goal * len(models)
                bar.set_postfix_str("machine busy, timing more")
            else:
                break


def _chunks(items: Sequence[_Item], models: Mapping[_Item, Path], *, seed: int) -> Iterator[list[_Item]]:
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


def _visit(
    procedure: Procedure, device: Device, chunk: Sequence[_Item], models: Mapping[_Item, Path], *, runs: int
) -> list[Found]:
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    found = device.time(
        [models[item] for item in chunk],
        threads=procedure.threads,
        runs=min(TURN_RUNS, runs),
        warmup=procedure.warmup,
        rounds=-(-runs // TURN_RUNS),
    )
    return [Found(item.name, Timing.of(times, date=date), item.whole) for item, times in zip(chunk, found)]
