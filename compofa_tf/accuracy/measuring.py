"""Accuracy of many subnets, one after the other: those that begin alike share the work."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from compofa_tf.accuracy.evaluation import ranks_of
from compofa_tf.data.dataset import Data
from compofa_tf.nets.supernet import Supernet
from compofa_tf.space import Arch

_ACTIVATION_BYTES = 3 * 2**30

_Batch = tuple[tf.Tensor, tf.Tensor]


def measure(
    net: Supernet,
    archs: Iterable[Arch],
    data: Data,
    *,
    images: int | None = None,
    calibration_images: int = 2048,
    batch_size: int = 250,
) -> Iterator[tuple[Arch, np.ndarray]]:
    """Calibrates and evaluates subnets of a trained supernet on the validation images, one after the other.

    They are visited in the order of their codes, so that those that begin alike follow each other: the maps of the
    common first stages, for calibration as for evaluation, are kept and not computed again. The numbers are those of
    ``subnet.calibrate`` followed by ``evaluate``.

    Args:
      net: The supernet; its stored batch-norm statistics are overwritten.
      archs: The subnets.
      data: The data set.
      images: Validation images per subnet; all when absent.
      calibration_images: Training images for the batch-norm statistics of each subnet; 0 uses the stored ones.
      batch_size: Images per step.

    Yields:
      Each subnet, those of the lowest resolution first, with uint8 ``[images]``: at which place the label of each image
      came (``ranks_of``), in the order of ``Data.eval``.
    """
    segments = _segments(net)
    in_order = sorted(set(archs), key=lambda arch: (arch.resolution, *net.space.encode(arch).tolist()))
    for resolution, group in itertools.groupby(in_order, key=lambda arch: arch.resolution):
        pipelines = {"resolution": resolution, "batch_size": batch_size}
        calibration = data.calibration(**pipelines, count=calibration_images) if calibration_images else ()
        measurer = _Measurer(
            net, segments, [batch for batch, _ in calibration], list(data.eval(**pipelines, limit=images))
        )
        yield from measurer.measure(list(group))


@dataclass(frozen=True)
class _Segment:
    """The stem, a stage or the head as compiled functions.

    Attributes:
      entries: The entries of a code that decide it.
      calibrate: ``(maps, code, rate) -> maps``, moves the stored statistics.
      infer: ``(maps, code) -> maps`` with the stored statistics.
    """

    entries: slice
    calibrate: Any
    infer: Any


def _segments(net: Supernet) -> list[_Segment]:
    space = net.space
    elastic = np.cumsum([0, *(slot.elastic for slot in space.slots)]).tolist()
    return [
        _Segment(slice(elastic[slots.start], elastic[slots.stop]), *_functions(net, slots, channels))
        for slots, channels in zip(space.slot_spans, space.channels_into, strict=True)
        if slots.start < slots.stop
    ]


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


class _Measurer:
    """Measures subnets of one resolution; keeps the maps of the segments that the next subnet shares."""

    def __init__(
        self,
        net: Supernet,
        segments: Sequence[_Segment],
        calibration: Sequence[tf.Tensor],
        evaluation: Sequence[_Batch],
    ) -> None:
        self.net, self.segments = net, segments
        self.calibration, self.evaluation = list(calibration), list(evaluation)

    def measure(self, archs: Sequence[Arch]) -> Iterator[tuple[Arch, np.ndarray]]:
        """Yields each subnet with the places of the labels; those that begin alike should follow each other."""
        found: dict[Arch, list[np.ndarray]] = {arch: [] for arch in archs}
        chunks = self._chunks(archs[0].resolution)
        for number, chunk in enumerate(chunks, start=1):
            for arch, ranks in self._measure(archs, chunk):
                found[arch].append(ranks)
                if number == len(chunks):
                    yield arch, np.concatenate(found.pop(arch))

    def _chunks(self, resolution: int) -> list[list[_Batch]]:
        """Splits the evaluation batches so that the maps kept for one chunk stay within a few GiB."""
        pieces = self.net.space.pieces(self.net.space.largest(resolution))
        per_image = 4 * sum(piece.height * piece.width * piece.channels for piece in pieces)
        per_chunk = max(1, int(_ACTIVATION_BYTES / per_image / max(1, len(self.evaluation[0][1]))))
        return [self.evaluation[i : i + per_chunk] for i in range(0, len(self.evaluation), per_chunk)]

    def _measure(self, archs: Sequence[Arch], chunk: Sequence[_Batch]) -> Iterator[tuple[Arch, np.ndarray]]:
        levels = [_Level((), self.calibration, [images for images, _ in chunk])]
        for arch in archs:
            code = self.net.space.encode(arch)
            path = [tuple(code[segment.entries].tolist()) for segment in self.segments]
            shared = 1
            while shared < len(levels) and levels[shared].choices == path[shared - 1]:
                shared += 1
            del levels[shared:]
            for segment, choices in zip(self.segments[shared - 1 :], path[shared - 1 :]):
                levels.append(self._advance(segment, choices, tf.constant(code), levels[-1]))
            ranks = [ranks_of(np.asarray(z), np.asarray(y)) for z, (_, y) in zip(levels[-1].validation, chunk)]
            yield arch, np.concatenate(ranks)

    def _advance(self, segment: _Segment, choices: tuple[int, ...], code: tf.Tensor, before: _Level) -> _Level:
        seen = 0
        calibration = []
        for batch in before.calibration:
            count = int(batch.shape[0])
            seen += count
            calibration.append(segment.calibrate(batch, code, tf.constant(count / seen, tf.float32)))
        return _Level(choices, calibration, [segment.infer(batch, code) for batch in before.validation])
