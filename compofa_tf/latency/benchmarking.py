"""How long a ``.tflite`` file takes on this machine: a record with its conditions. No TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from compofa_tf.deploy import flatbuffer
from compofa_tf.errors import InputError
from compofa_tf.latency.devices.host import check_device, conditions, time_model

SPREAD_BOUND = 0.25
"""Largest (90th percentile - median) / median of a machine that counts as quiet."""

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
      noisy: Whether the spread stayed above ``SPREAD_BOUND`` in every attempt: the machine was busy.
      runs: Number of inferences.
      warmup_runs: Inferences before the first that counts.
      threads: CPU threads.
      delegate: What executes the graph, ``"XNNPACK"``.
      fully_accelerated: Whether the delegate took every operation.
      precision: ``"float32"``, ``"float16"``, ``"dynamic"`` or ``"int8"``, as found in the file.
      device: ``"host"``.
      processor: Name of the processor.
      runtime_version: Version of ``ai_edge_litert``.
      date: When, ISO 8601 with time zone.
      measured: Always True; predictions are not rows.
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
    measured: bool = True

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

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> BenchmarkRow:
        """Reads what ``to_json`` gave.

        Raises:
          InputError: If a field is missing or unknown.
        """
        try:
            return cls(**content)
        except TypeError as error:
            raise InputError(f"this is not a benchmark row ({error}).") from None


def benchmark(
    model: str | os.PathLike[str],
    *,
    device: str = "host",
    threads: int = 1,
    runs: int = 300,
    warmup: int = 30,
    spread_bound: float = SPREAD_BOUND,
) -> BenchmarkRow:
    """Measures the latency of one ``.tflite`` file with LiteRT's CPU back end, in a process of its own.

    When the times spread more than ``spread_bound`` the machine is busy: the measurement is repeated up to three times
    in all, the steadiest one counts, and the row says ``noisy`` if even that is above the bound.

    Args:
      model: Path of a ``.tflite`` file, or an ``Artifact``.
      device: ``"host"``, this machine.
      threads: CPU threads, at least 1.
      runs: Inferences to time.
      warmup: Inferences before them.
      spread_bound: See ``SPREAD_BOUND``.

    Raises:
      InputError: If the device is another, a number is out of range, the file is missing or damaged, or the runtime
        fails on it.
    """
    check_device(device)
    precision = flatbuffer.inspect(model).precision
    best: dict[str, Any] | None = None
    for _ in range(_ATTEMPTS):
        found = time_model(model, threads=threads, runs=runs, warmup=warmup)
        if best is None or found["spread"] < best["spread"]:
            best = found
        if best["spread"] <= spread_bound:
            break
    best = best or {}
    return BenchmarkRow(
        **best,
        noisy=best["spread"] > spread_bound,
        warmup_runs=warmup,
        threads=threads,
        precision=precision,
        **conditions(),
    )
