"""Accuracy of many subnets, one after the other: those that begin alike share the work."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from compofa_tf.accuracy.table import MOST_MEASURED, AccuracyRecord, AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.nets.supernet import Supernet
from compofa_tf.progress import progress_bar, say
from compofa_tf.space import Arch, Space

if TYPE_CHECKING:
    from compofa_tf.data import Data

from compofa_tf.accuracy.evaluation import count_correct

_SAVE_EVERY_S = 20.0
_ACTIVATION_BYTES = 3 * 2**30


def measure_accuracy(
    net: Supernet,
    *,
    data: Data,
    archs: Iterable[Arch] | None = None,
    resolutions: Sequence[int] | None = None,
    images: int | None = None,
    calibration_images: int = 2048,
    batch_size: int = 250,
    path: str | os.PathLike[str] | None = None,
    recipe_hash: str | None = None,
    progress: bool = True,
) -> AccuracyTable:
    """Measures the members of a family one after the other; see ``AccuracyTable.measure``.

    Archs that begin alike share the work: they are visited in the order of their codes, and the maps of the common
    first stages, for calibration as for evaluation, are kept and not computed again. The numbers are those of
    ``subnet.calibrate`` followed by ``evaluate``.
    """
    table = AccuracyTable.resume(
        path,
        space=net.space,
        data=data.name,
        images=images,
        calibration_images=calibration_images,
        resolutions=resolutions or (),
        recipe_hash=recipe_hash,
    )
    wanted = list(archs) if archs is not None else _all(net.space, resolutions)
    todo = table.missing(sorted(wanted, key=lambda arch: (arch.resolution, *net.space.encode(arch).tolist())))
    segments = _segments(net)
    saved = time.monotonic()
    with progress_bar(total=len(wanted), initial=len(wanted) - len(todo), desc="accuracy", shown=progress) as bar:
        for resolution, group in itertools.groupby(todo, key=lambda arch: arch.resolution):
            pipelines = {"resolution": resolution, "batch_size": batch_size}
            calibration = _calibration(data, calibration_images, **pipelines)
            family = _Family(net, segments, calibration, list(data.eval(**pipelines, limit=images)))
            for arch, counts in family.measure(list(group)):
                table.add(AccuracyRecord(arch, counts[0] / counts[2], counts[1] / counts[2], int(counts[2])))
                bar.update()
                if path is not None and time.monotonic() - saved > _SAVE_EVERY_S:
                    table.save(path)
                    saved = time.monotonic()
    if path is not None and (todo or not Path(path).exists()):
        table.save(path)
    if progress:
        say(f"Accuracy of {len(table)} of {table.total} subnets x resolutions on {data.name}.")
    return table


def _calibration(data: Data, count: int, **pipelines: int) -> list[tf.Tensor]:
    """The batches of calibration images; none for a count of 0, which leaves the stored statistics as they are."""
    return [batch for batch, _ in data.calibration(**pipelines, count=count)] if count else []


def _all(space: Space, resolutions: Sequence[int] | None) -> list[Arch]:
    if not resolutions:
        raise InputError("Which resolutions are to be measured? Give archs or resolutions.")
    if space.size > MOST_MEASURED:
        raise InputError(
            f"A space of {space.size} subnets cannot be measured outright; give some of them (--sample). "
            "Received: archs=None"
        )
    return list(space.enumerate(resolutions=resolutions))


@dataclass(frozen=True)
class _Segment:
    """The stem or a stage (the last one with the head) as compiled functions.

    Attributes:
      entries: Positions in the code that decide the segment.
      calibrate: ``(maps, code, rate) -> maps``, moves the stored statistics.
      infer: ``(maps, code) -> maps`` with the stored statistics.
    """

    entries: tuple[int, ...]
    calibrate: Any
    infer: Any


def _segments(net: Supernet) -> tuple[_Segment, ...]:
    space = net.space
    counts = [len(space.stem), *(len(stage.specs) for stage in space.stages)]
    counts[-1] += len(space.head)
    stem = space.stem[-1].out_channels if space.stem else 3  # type: ignore[union-attr]
    before = [None if stage.width_counts else stage.out_channels(None) for stage in space.stages[:-1]]
    channels = [3, stem, *before]
    elastic = [slot.name for slot in space.elastic_slots]
    segments, start = [], 0
    for count, width in zip(counts, channels):
        slots = slice(start, start + count)
        entries = tuple(elastic.index(slot.name) for slot in space.slots[slots] if slot.elastic)
        segments.append(_Segment(entries, *_functions(net, slots, width)))
        start += count
    return tuple(segments)


def _functions(net: Supernet, slots: slice, channels: int | None) -> tuple[Any, Any]:
    maps = tf.TensorSpec([None, None, None, channels], tf.float32)
    code = tf.TensorSpec([net.space.code_size], tf.int32)
    rate = tf.TensorSpec([], tf.float32)
    calibrate = tf.function(
        lambda x, code, rate: net.run_slots(x, code, slots, rate=rate), input_signature=(maps, code, rate)
    )
    return calibrate, tf.function(lambda x, code: net.run_slots(x, code, slots), input_signature=(maps, code))


@dataclass
class _Level:
    """Maps after a segment, and the choices that led there."""

    choices: tuple[int, ...]
    calibration: list[tf.Tensor]
    validation: list[tf.Tensor]


class _Family:
    """Calibrates and evaluates members at one resolution, keeping the maps of the stages that the next one shares."""

    def __init__(
        self,
        net: Supernet,
        segments: Sequence[_Segment],
        calibration: Sequence[tf.Tensor],
        evaluation: Sequence[tuple[tf.Tensor, tf.Tensor]],
    ) -> None:
        self.net, self.segments = net, segments
        self.calibration, self.evaluation = list(calibration), list(evaluation)

    def measure(self, archs: Sequence[Arch]) -> Iterator[tuple[Arch, np.ndarray]]:
        """Yields each arch with its counts (``count_correct``); archs that begin alike should follow each other."""
        totals = {arch: np.zeros(3, np.int64) for arch in archs}
        chunks = self._chunks(archs[0].resolution)
        for number, chunk in enumerate(chunks, start=1):
            for arch, counts in self._measure(archs, chunk):
                totals[arch] += counts
                if number == len(chunks):
                    yield arch, totals[arch]

    def _chunks(self, resolution: int) -> list[list[tuple[tf.Tensor, tf.Tensor]]]:
        """Splits the evaluation batches so that the maps kept for one chunk stay within a few GiB."""
        pieces = self.net.space.pieces(self.net.space.largest(resolution))
        per_image = 4 * sum(piece.height * piece.width * piece.channels for piece in pieces)
        per_chunk = max(1, int(_ACTIVATION_BYTES / per_image / max(1, len(self.evaluation[0][1]))))
        return [self.evaluation[i : i + per_chunk] for i in range(0, len(self.evaluation), per_chunk)]

    def _measure(
        self, archs: Sequence[Arch], chunk: Sequence[tuple[tf.Tensor, tf.Tensor]]
    ) -> Iterator[tuple[Arch, np.ndarray]]:
        levels = [_Level((), self.calibration, [images for images, _ in chunk])]
        for arch in archs:
            code = self.net.space.encode(arch)
            path = [tuple(code[list(segment.entries)].tolist()) for segment in self.segments]
            shared = 1
            while shared < len(levels) and levels[shared].choices == path[shared - 1]:
                shared += 1
            del levels[shared:]
            for depth in range(len(levels) - 1, len(path)):
                levels.append(self._advance(self.segments[depth], path[depth], tf.constant(code), levels[-1]))
            counts = [count_correct(np.asarray(z), np.asarray(y)) for z, (_, y) in zip(levels[-1].validation, chunk)]
            yield arch, np.sum(counts, axis=0)

    def _advance(self, segment: _Segment, choices: tuple[int, ...], code: tf.Tensor, before: _Level) -> _Level:
        seen = 0
        calibration = []
        for batch in before.calibration:
            count = int(batch.shape[0])
            seen += count
            calibration.append(segment.calibrate(batch, code, tf.constant(count / seen, tf.float32)))
        return _Level(choices, calibration, [segment.infer(batch, code) for batch in before.validation])
