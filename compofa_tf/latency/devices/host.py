"""What a latency was measured on. Only this machine, ``"host"``, in this release. No TensorFlow."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.latency.timings import TURN_RUNS, latency_of

DECISIVE = ("processor", "runtime_version", "delegate")
"""The parts of a description without which two measurements cannot be compared."""

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def describe(device: str = "host") -> dict[str, Any]:
    """Returns the conditions of a measurement that starts now.

    Args:
      device: ``"host"``, this machine.

    Returns:
      ``processor``, ``runtime_version``, ``delegate`` (together ``DECISIVE``), ``device``, ``cores`` (that this process
      may use), ``system``, ``load_average`` (of the last minute) and ``governor`` (of the clock rate), both None where
      the system does not tell, ``date``.

    Raises:
      InputError: If the device is another.
    """
    check_device(device)
    return {
        **conditions(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": load_average(),
        "governor": governor(),
    }


def cores() -> int:
    """Returns how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """Returns the mean number of processes that wanted to run in the last minute; None where the system has no such."""
    if not hasattr(os, "getloadavg"):
        return None
    with contextlib.suppress(OSError):
        return round(os.getloadavg()[0], 2)
    return None


def governor() -> str | None:
    """Returns the policy of the processor's clock, for example ``"performance"``; None where the system hides it."""
    with contextlib.suppress(OSError):
        return _GOVERNOR.read_text(encoding="utf-8").strip()
    return None


_TIMEOUT_S = 900.0


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
    command = [sys.executable, "-m", "compofa_tf.latency.devices.stopwatch", json.dumps(request)]
    root = str(Path(__file__).parents[3])  # the child must find this very package, installed or not
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
