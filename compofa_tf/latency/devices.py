"""What a latency was measured on. Only this machine, ``"host"``, in this release. No TensorFlow."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

from compofa_tf.latency.benchmarking import check_device, conditions

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
