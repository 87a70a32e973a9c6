"""How long a ``.tflite`` file takes on a device: a record with its conditions. No TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from compofa_tf.deploy import flatbuffer
from compofa_tf.latency.devices.device import Device, open_device
from compofa_tf.latency.timings import Times

MOST_RUN_SPREAD = 0.25
"""Largest ``Times.spread``, of single inferences, of a machine that counts as quiet."""

_ATTEMPTS = 3


@dataclass(frozen=True)
class BenchmarkRow:
    """A measured latency and the conditions it was measured under.

    Attributes:
      ms: The latency, by the statistic of latency tables, so that predicted and measured can be compared: the lower
        quartile of the medians of turns of five inferences.
      median_ms: Median over all inferences, of one image.
      p90_ms: 90th percentile.
      min_ms: Fastest inference.
      mean_ms: Mean.
      spread: ``(p90_ms - median_ms) / median_ms``.
      noisy: Whether the spread stayed above the bound in every attempt: the machine was busy.
      runs: Number of inferences.
      warmup_runs: Inferences before the first that counts.
      threads: CPU threads.
      delegate: What executes the graph, ``"XNNPACK"``.
      fully_accelerated: Whether the delegate took every operation.
      precision: A name of ``deploy.targets.PRECISIONS``, as found in the file.
      device: Name of the device, ``"host"``.
      processor: Name of its processor.
      runtime_version: Version of ``ai_edge_litert``.
      date: When it began, ISO 8601 with time zone.
    """

    ms: float
    median_ms: float
    p90_ms: float
    min_ms: float
    mean_ms: float
    spread: float
    noisy: bool
    runs: int
    warmup_runs: int
    threads: int
    delegate: str
    fully_accelerated: bool
    precision: str
    device: str
    processor: str
    runtime_version: str
    date: str

    def __str__(self) -> str:
        notes = "" if self.fully_accelerated else ", NOT fully accelerated"
        notes += f", busy machine (spread {self.spread:.0%})" if self.noisy else ""
        return (
            f"{self.ms:.3g} ms, median {self.median_ms:.3g} ms, 90th percentile {self.p90_ms:.3g} ms, "
            f"fastest {self.min_ms:.3g} ms ({self.precision}, {self.threads} thread(s), {self.runs} runs, "
            f"{self.delegate}, LiteRT "
            f"{self.runtime_version}, {self.processor}, {self.date}{notes})"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the row as plain JSON values; what a sidecar holds under ``latency.measured``."""
        return dataclasses.asdict(self)


def benchmark(
    model: str | os.PathLike[str],
    *,
    device: str | Device = "host",
    threads: int = 1,
    runs: int = 300,
    warmup: int = 30,
    spread_bound: float = MOST_RUN_SPREAD,
) -> BenchmarkRow:
    """Measures the latency of one ``.tflite`` file; on ``"host"`` with LiteRT's CPU back end, in a process of its own.

    When the times spread more than ``spread_bound`` the machine is busy: the measurement is repeated up to three times
    in all, the steadiest one counts, and the row says ``noisy`` if even that is above the bound.

    Args:
      model: Path of a ``.tflite`` file, or an ``Artifact``.
      device: ``"host"``, this machine, or a ``Device``.
      threads: CPU threads, at least 1.
      runs: Inferences to time.
      warmup: Inferences before them.
      spread_bound: See ``MOST_RUN_SPREAD``.

    Raises:
      InputError: If there is no such device, a number is out of range, the file is missing or damaged, or the runtime
        fails on it.
    """
    opened = open_device(device)
    precision = flatbuffer.inspect(model).precision
    conditions = opened.describe()
    tried: list[Times] = []
    for _ in range(_ATTEMPTS):
        tried += opened.time([model], threads=threads, runs=runs, warmup=warmup, rounds=1)
        if tried[-1].spread <= spread_bound:
            break
    steadiest = min(tried, key=lambda times: times.spread)
    return BenchmarkRow(
        ms=steadiest.ms,
        median_ms=steadiest.median_ms,
        p90_ms=steadiest.p90_ms,
        min_ms=steadiest.min_ms,
        mean_ms=steadiest.mean_ms,
        spread=steadiest.spread,
        noisy=steadiest.spread > spread_bound,
        runs=steadiest.runs,
        warmup_runs=warmup,
        threads=threads,
        fully_accelerated=steadiest.fully_accelerated,
        precision=precision,
        device=opened.name,
        **{name: conditions[name] for name in ("delegate", "processor", "runtime_version", "date")},
    )
