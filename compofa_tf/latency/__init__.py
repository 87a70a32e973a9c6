"""Measuring how long networks take on a device, and predicting it from measured pieces.

Importing this package does not import TensorFlow; measuring a table builds and converts its pieces with TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compofa_tf.latency.benchmarking import BenchmarkRow, benchmark
    from compofa_tf.latency.table import LatencyTable

_NAMES = {"BenchmarkRow": "benchmarking", "LatencyTable": "table", "benchmark": "benchmarking"}

__all__ = ["BenchmarkRow", "LatencyTable", "benchmark"]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use."""
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
