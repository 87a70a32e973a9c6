"""What stands beside an exported model, each key read in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compofa_tf.reports.formats import ABSENT
from compofa_tf.reports.records import number, value


@dataclass(frozen=True)
class Sidecar:
    """The JSON file of an exported model. Whatever it lacks, or has in a form that cannot be, is ``None``.

    Attributes:
      content: The file, header included.
    """

    content: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the subnet; a dash where there is none."""
        return str(value(self.content, "arch", "id") or ABSENT)

    @property
    def file(self) -> str:
        """File name of the model; a dash where there is none."""
        return Path(str(value(self.content, "file") or ABSENT)).name

    @property
    def precision(self) -> str:
        """Precision of the model's arithmetic; a dash where there is none."""
        return str(value(self.content, "precision") or ABSENT)

    @property
    def budget_ms(self) -> float | None:
        """Latency budget that the subnet was chosen for."""
        return number(self.content, "budget_ms")

    @property
    def size_bytes(self) -> float | None:
        """Size of the file."""
        return number(self.content, "size_bytes")

    @property
    def macs(self) -> float | None:
        """Multiply-adds for one image."""
        return number(self.content, "macs")

    @property
    def sha256(self) -> str:
        """The first digits of the SHA-256 of the file; a dash where there is none."""
        return str(value(self.content, "sha256") or ABSENT)[:12]

    @property
    def top1(self) -> float | None:
        """Measured top-1 accuracy of the file, in [0, 1]."""
        return number(self.content, "accuracy", "top1")

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval of ``top1``."""
        return number(self.content, "accuracy", "low")

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval of ``top1``."""
        return number(self.content, "accuracy", "high")

    @property
    def images(self) -> float | None:
        """Images behind ``top1``."""
        return number(self.content, "accuracy", "count")

    @property
    def balanced(self) -> float | None:
        """Measured balanced accuracy of the file on the same images, in [0, 1]."""
        return number(self.content, "accuracy", "per_class", "balanced_accuracy")

    @property
    def recalls(self) -> list[tuple[str, float, float]] | None:
        """(class, recall, images) of the classes that have images, the lowest recall first.

        On the test images where there are some, else on those that chose.
        """
        recall, counts = (value(self._judged, "per_class", name) for name in ("recall", "counts"))
        if not isinstance(recall, dict):
            return None
        known = ((str(name), number(recall, name), number(counts, name)) for name in recall)
        return sorted(
            ((name, share, count or 0.0) for name, share, count in known if share is not None), key=lambda row: row[1]
        )

    @property
    def confusions(self) -> list[tuple[str, str, float]] | None:
        """(class, class that it was taken for, images) of the same images, the most frequent first."""
        rows = value(self._judged, "per_class", "confusions")
        if not isinstance(rows, list):
            return None
        listed = [row for row in rows if isinstance(row, list) and len(row) == 3]
        return [(str(a), str(b), float(count)) for a, b, count in listed if isinstance(count, (int, float))]

    @property
    def _judged(self) -> Any:
        """What was found on the pictures that judge, or else on those that chose."""
        on_test = value(self.content, "test_accuracy")
        return value(self.content, "accuracy") if on_test is None else on_test

    @property
    def test_top1(self) -> float | None:
        """Measured top-1 accuracy of the file on pictures that did not choose it, in [0, 1]."""
        return number(self.content, "test_accuracy", "top1")

    @property
    def test_low(self) -> float | None:
        """Lower end of the 95 % interval of ``test_top1``."""
        return number(self.content, "test_accuracy", "low")

    @property
    def test_high(self) -> float | None:
        """Upper end of the 95 % interval of ``test_top1``."""
        return number(self.content, "test_accuracy", "high")

    @property
    def test_images(self) -> float | None:
        """Images behind ``test_top1``."""
        return number(self.content, "test_accuracy", "count")

    @property
    def accuracy_not_measured(self) -> Any:
        """Why there is no ``top1``."""
        return value(self.content, "accuracy_not_measured")

    @property
    def float_top1(self) -> float | None:
        """Measured top-1 accuracy of the float subnet, in [0, 1]; on all images where that was measured."""
        on_all = number(self.content, "float_accuracy", "whole", "top1")
        return number(self.content, "float_accuracy", "top1") if on_all is None else on_all

    @property
    def float_images(self) -> float | None:
        """Images behind ``float_top1``."""
        on_all = number(self.content, "float_accuracy", "whole", "count")
        return number(self.content, "float_accuracy", "count") if on_all is None else on_all

    @property
    def predicted_top1(self) -> float | None:
        """Predicted top-1 accuracy of the float subnet, in [0, 1]."""
        return number(self.content, "float_accuracy", "predicted_top1")

    @property
    def predicted_ms(self) -> float | None:
        """Latency by the table of the precision."""
        return number(self.content, "latency", "predicted_ms")

    @property
    def benchmark(self) -> Any:
        """The row of the measurement, with its conditions."""
        return value(self.content, "latency", "measured")

    @property
    def measured_ms(self) -> float | None:
        """Measured latency of the file."""
        return number(self.benchmark, "ms")

    @property
    def p90_ms(self) -> float | None:
        """90th percentile of the measured latency."""
        return number(self.benchmark, "p90_ms")

    @property
    def device(self) -> Any:
        """Device that the latency was measured on."""
        return value(self.benchmark, "device")

    @property
    def difference_percent(self) -> float | None:
        """How much slower the file was than predicted, in percent."""
        if not self.predicted_ms or self.measured_ms is None:
            return None
        return 100 * (self.measured_ms / self.predicted_ms - 1)

    @property
    def accelerated(self) -> Any:
        """Whether no operation fell back to slower code: in the measurement, or else by the look of the file."""
        found = value(self.benchmark, "fully_accelerated")
        return value(self.content, "fully_accelerated") if found is None else found

    @property
    def agreement(self) -> tuple[float, float] | None:
        """Share of images that the Keras model puts into the same class, in [0, 1], and how many they are."""
        share, images = (number(self.content, "agreement", key) for key in ("top1_agreement", "images"))
        return None if share is None or images is None else (share, images)

    @property
    def order(self) -> tuple[float, str, str]:
        """Sorting key: the smallest budget first, then by subnet, then by precision."""
        return math.inf if self.budget_ms is None else self.budget_ms, self.id, self.precision
