"""How long a ``.tflite`` file takes on this machine: a record with its conditions. No TensorFlow."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf.deploy import flatbuffer
from compofa_tf.errors import InputError
from compofa_tf.latency.timings import TURN_RUNS, latency_of

SPREAD_BOUND = 0.25
"""Largest (90th percentile - median) / median of a machine that counts as quiet."""

_ATTEMPTS = 3
_TIMEOUT_S = 900.0


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


def check_device(device: str) -> None:
    """Raises ``InputError`` unless the device is ``"host"``."""
    if device != "host":
        raise InputError(
            f"only device 'host' (this machine) can be measured; phones and boards come in a later release. "
            f"Received: device={device!r}"
        )


def conditions() -> dict[str, Any]:
    """Returns the fields of a row that describe this machine and moment."""
    return {
        "delegate": "XNNPACK",
        "device": "host",
        "processor": processor(),
        "runtime_version": importlib.metadata.version("ai-edge-litert"),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """Returns the name of this machine's processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, "") or platform.processor() or platform.machine()


def time_model(path: str | os.PathLike[str], *, threads: int = 1, runs: int = 100, warmup: int = 10) -> dict[str, Any]:
    """Times one model once; see ``time_models``."""
    return time_models([path], threads=threads, runs=runs, warmup=warmup, rounds=1)[0]


def time_models(
    paths: Sequence[str | os.PathLike[str]],
    *,
    threads: int = 1,
    runs: int = 100,
    warmup: int = 10,
    rounds: int = 1,
) -> list[dict[str, Any]]:
    """Times several models in turns in one process.

    Args:
      paths: ``.tflite`` files; all are held in memory at a time.
      threads: CPU threads, at least 1.
      runs: Inferences of a model per round.
      warmup: Inferences of a model before its first round.
      rounds: Rounds over all the models.

    Returns:
      For each model ``ms`` (see ``BenchmarkRow``), ``median_ms``, ``p90_ms``, ``min_ms``, ``mean_ms`` and ``spread``
      over ``runs`` inferences in all, ``fully_accelerated``; with several rounds also ``round_medians_ms``.

    Raises:
      InputError: If a number is out of range, a file is missing, or the runtime fails; the message ends with its last
        line.
    """
    for name, value, least in (
        ("threads", threads, 1),
        ("runs", runs, 1),
        ("warmup", warmup, 0),
        ("rounds", rounds, 1),
    ):
        if value < least:
            raise InputError(f"{name} must be at least {least}. Received: {name}={value}")
    names = [os.fspath(path) for path in paths]
    for name in names:
        if not Path(name).is_file():
            raise InputError(f"{name} does not exist; give the path of a .tflite file.")
    request = {"models": names, "threads": threads, "runs": runs, "warmup": warmup, "rounds": rounds}
    return [_summary(record) for record in _stopwatch(request)]


def _stopwatch(request: dict[str, Any]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "compofa_tf.latency.stopwatch", json.dumps(request)]
    root = str(Path(__file__).parents[2])  # the child must find this very package, installed or not
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"Measuring {', '.join(request['models'])} took longer than {_TIMEOUT_S:.0f} s.") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"it ended with code {done.returncode}"
        raise InputError(f"LiteRT cannot run {', '.join(request['models'])}: {reason}")
    records: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return records


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    rounds = record["rounds_ms"]
    times = np.concatenate(rounds)
    median, p90 = (float(value) for value in np.percentile(times, [50, 90]))
    turns = rounds if len(rounds) > 1 else np.array_split(times, -(-len(times) // TURN_RUNS))
    summary = {
        "ms": latency_of([float(np.median(turn)) for turn in turns]),
        "median_ms": median,
        "p90_ms": p90,
        "min_ms": float(times.min()),
        "mean_ms": float(times.mean()),
        "spread": (p90 - median) / median,
        "runs": len(times),
        "fully_accelerated": record["fully_accelerated"],
    }
    if len(rounds) > 1:
        summary["round_medians_ms"] = [float(np.median(one)) for one in rounds]
    return summary
