"""Tables of measured accuracies and made-up latencies for a small space."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compofa_tf import families
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.errors import NotCoveredError

SPACE = families.mobilenet_v3(classes=10, input_size=32)


@dataclass
class FakeLatency:
    """A latency table as the search sees one."""

    space: object
    ms: dict = field(default_factory=dict)
    precision: str = "int8"
    device: str = "host"
    threads: int = 1
    conditions: dict = field(default_factory=dict)

    def predict(self, arch):
        if arch not in self.ms:
            raise NotCoveredError(f"No piece was measured for resolution {arch.resolution}.")
        return self.ms[arch]


def tables(rows, *, space=SPACE, resolutions=(), count=1000):
    """Tables from ``(arch, correct, ms)`` rows."""
    accuracy = AccuracyTable(space, data="digits", resolutions=resolutions, recipe_hash="feed")
    latency = FakeLatency(space)
    for arch, correct, ms in rows:
        accuracy.add(AccuracyRecord(arch, correct / count, 1.0, count))
        latency.ms[arch] = ms
    return {"accuracy": accuracy, "latency": latency}


def random_rows(seed, *, resolutions=(24, 32), coarse=False):
    """Every subnet with random values; coarse ones make many ties."""
    rng = np.random.default_rng(seed)
    for arch in SPACE.enumerate(resolutions=resolutions):
        ms = float(rng.integers(5, 25)) if coarse else float(rng.uniform(0.5, 9.0))
        yield arch, int(rng.integers(500, 520) if coarse else rng.integers(300, 900)), ms


def few(*values):
    """Front inputs with the given (correct of 1000, ms), one subnet each, in the order of the enumeration."""
    return tables((arch, *value) for arch, value in zip(SPACE.enumerate(resolutions=(32,)), values))


def ids(candidates):
    return [candidate.id for candidate in candidates]
