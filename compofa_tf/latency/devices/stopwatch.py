"""Timing models with LiteRT: a script that is run as a process of its own.

    python stopwatch.py '{"models": ["m.tflite"], "threads": 1, "runs": 5, "warmup": 10, "rounds": 20}'

The last line that it prints is a JSON list with ``turns_ms`` and ``fully_accelerated`` of each model. Copied to another
machine it runs there: it needs ``ai_edge_litert`` and NumPy, and nothing else of this package.

The same calls in the same loop as ``litert-benchmark``, which ships with ``ai_edge_litert``, but every single time is
given, unrounded (the tool rounds to 0.01 ms, a tenth of what a small network takes), and several models are timed in
turns, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.environment import Environment, EnvironmentOptions
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.options import CpuOptions, Options


class _Timed:
    """A compiled model with its buffers, fed with random numbers."""

    def __init__(self, path: str, environment: Environment, threads: int) -> None:
        options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=threads))
        self.model = CompiledModel.from_file(path, environment=environment, options=options)
        self.key = next(iter(self.model.get_signature_list()))
        details = self.model.get_input_tensor_details(self.key)
        self.inputs = {name: self.model.create_input_buffer_by_name(self.key, name) for name in details}
        outputs = self.model.get_output_tensor_details(self.key)
        self.outputs = {name: self.model.create_output_buffer_by_name(self.key, name) for name in outputs}
        rng = np.random.default_rng(0)
        for name, detail in details.items():
            values = rng.uniform(-1.0, 1.0, detail["shape"])
            dtype = np.dtype(detail["dtype"])
            if np.issubdtype(dtype, np.integer):
                values = np.rint(values * 127 + (128 if dtype == np.uint8 else 0))
            self.inputs[name].write(values.astype(dtype))

    def run(self, count: int) -> list[float]:
        """Returns the milliseconds of ``count`` inferences."""
        times_ms = []
        for _ in range(count):
            start = time.perf_counter()
            self.model.run_by_name(self.key, self.inputs, self.outputs)
            times_ms.append((time.perf_counter() - start) * 1e3)
        return times_ms


def measure(models: list[str], *, threads: int, runs: int, warmup: int, rounds: int) -> list[dict[str, Any]]:
    """Gives every model ``rounds`` turns of ``runs`` inferences, the first of them after ``warmup`` others."""
    environment = Environment.create(options=EnvironmentOptions())
    timed = [_Timed(path, environment, threads) for path in models]
    found: list[dict[str, Any]] = [
        {"fully_accelerated": bool(one.model.is_fully_accelerated()), "turns_ms": []} for one in timed
    ]
    for turn in range(rounds):
        for one, record in zip(timed, found, strict=True):
            one.run(warmup if turn == 0 else 1)  # the others' turns have emptied the caches
            record["turns_ms"].append(one.run(runs))
    return found


if __name__ == "__main__":
    print("\n" + json.dumps(measure(**json.loads(sys.argv[1]))))
