"""This machine, ``"host"``, with LiteRT's CPU back end. No TensorFlow."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compofa_tf.errors import InputError, at_least
from compofa_tf.latency.timings import Times

_STOPWATCH = Path(__file__).with_name("stopwatch.py")
_CPU_INFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True)
class Host:
    """This machine as a ``Device``: LiteRT with XNNPACK, in a process of its own.

    Attributes:
      name: ``"host"``.
      timeout_s: Seconds after which a call of ``time`` is given up.
    """

    name: str = "host"
    timeout_s: float = 900.0

    def describe(self) -> dict[str, Any]:
        """Returns the conditions of a measurement that starts now; see ``Device.describe``.

        Returns:
          Besides what every device says ``cores`` (that this process may use), ``system``, ``load_average`` (of the
          last minute) and ``governor`` (of the clock rate), the last two None where the system does not tell.
        """
        return {
            "delegate": "XNNPACK",
            "device": self.name,
            "processor": processor(),
            "runtime_version": importlib.metadata.version("ai-edge-litert"),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "cores": _cores(),
            "system": f"{platform.system()} {platform.machine()}",
            "load_average": _load_average(),
            "governor": _governor(),
        }

    def time(
        self,
        models: Sequence[str | os.PathLike[str]],
        *,
        threads: int = 1,
        runs: int = 100,
        warmup: int = 10,
        rounds: int = 1,
    ) -> list[Times]:
        """Times several models in turns in one process; see ``Device.time``.

        Raises:
          InputError: As there; the message of a runtime that fails ends with its last line.
        """
        at_least(1, threads=threads, runs=runs, rounds=rounds)
        at_least(0, warmup=warmup)
        names = [os.fspath(model) for model in models]
        for name in names:
            if not Path(name).is_file():
                raise InputError(f"{name} does not exist; give the path of a .tflite file.")
        request = {"models": names, "threads": threads, "runs": runs, "warmup": warmup, "rounds": rounds}
        return [
            Times.of(found["turns_ms"], fully_accelerated=found["fully_accelerated"])
            for found in self._stopwatch(request)
        ]

    def _stopwatch(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        names = ", ".join(request["models"])
        command = [sys.executable, os.fspath(_STOPWATCH), json.dumps(request)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=self.timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"Measuring {names} took longer than {self.timeout_s:g} s.") from None
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            reason = lines[-1] if lines else f"it ended with code {done.returncode}"
            raise InputError(f"LiteRT cannot run {names}: {reason}")
        records: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return records


def processor() -> str:
    """Returns the name of this machine's processor, as the system gives it."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, "") or platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load_average() -> float | None:
    """The mean number of processes that wanted to run in the last minute."""
    if not hasattr(os, "getloadavg"):
        return None
    with contextlib.suppress(OSError):
        return round(os.getloadavg()[0], 2)
    return None


def _governor() -> str | None:
    """The policy of the processor's clock, for example ``"performance"``."""
    with contextlib.suppress(OSError):
        return _GOVERNOR.read_text(encoding="utf-8").strip()
    return None
