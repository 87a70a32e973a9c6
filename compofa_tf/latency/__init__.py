"""Measuring how long networks take on a device, and predicting it from measured pieces.

Importing this package does not import TensorFlow; measuring a table builds and converts its pieces with TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compofa_tf._lazy import face

if TYPE_CHECKING:
    from compofa_tf.latency.benchmarking import BenchmarkRow as BenchmarkRow
    from compofa_tf.latency.benchmarking import benchmark as benchmark
    from compofa_tf.latency.table import LatencyTable as LatencyTable

__getattr__, __dir__, __all__ = face(__name__)
