"""Our co-training step against the same step in PyTorch, alternating in one run.

One step: teacher forward, forward and backward of four subnets of MobileNetV3 w1.0 (243 subnets, 1000 classes),
gradients summed, one SGD update. Each measurement is a process of its own, so that neither framework's threads disturb
the other. PyTorch runs as it comes, in both memory formats, and again with an allocator that keeps large blocks, which
spares it the system's page faults (TensorFlow keeps them by itself). Needs the extra [torch].

    python benchmarks/train_step.py --resolution 128 --batch 16 --rounds 3 --json train_step.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from compofa_tf.latency.devices.host import processor

HERE = Path(__file__).resolve().parent
DEPTHS = ((2, 2, 2, 2, 2), (4, 4, 4, 4, 4), (2, 3, 4, 3, 2), (3, 4, 2, 4, 3))
KEPT_MEMORY = {
    "MALLOC_TOP_PAD_": str(256 * 2**20),
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),
}


def measure_ours(resolution: int, batch: int, threads: int, steps: int) -> dict[str, float]:
    """Times our step in this process: median and minimum seconds, compile time of the whole family."""
    import numpy as np
    import tensorflow as tf

    from compofa_tf import families
    from compofa_tf.nets.supernet import Supernet
    from compofa_tf.recipes.settings import OptimizerSettings
    from compofa_tf.training.optimizer import Nesterov
    from compofa_tf.training.step import TrainingStep
    from compofa_tf.training.threads import share_cores_for_training

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    share_cores_for_training(threads)
    space = families.mobilenet_v3()
    net, teacher = Supernet(space), Supernet(space, seed=1)
    step = TrainingStep(net, Nesterov(net, OptimizerSettings()), teacher=teacher)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.standard_normal((batch, resolution, resolution, 3), np.float32))
    labels = tf.constant(rng.integers(0, 1000, batch), tf.int32)
    codes = tf.constant(np.stack([space.encode(space.arch(depths=d, resolution=resolution)) for d in DEPTHS]))
    started = time.perf_counter()
    step(images, labels, codes, 1e-3, 1.0)
    compile_s = time.perf_counter() - started
    step(images, labels, codes, 1e-3, 1.0)
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        step(images, labels, codes, 1e-3, 1.0).numpy()
        times.append(time.perf_counter() - started)
    return {"step_s_median": statistics.median(times), "step_s_min": min(times), "compile_s": compile_s}


def measure_static(resolution: int, batch: int, threads: int) -> dict[str, float]:
    """Times the first call of a training step that was traced for one subnet only."""
    import numpy as np
    import tensorflow as tf

    from compofa_tf import families
    from compofa_tf.nets.supernet import Supernet
    from compofa_tf.recipes.settings import OptimizerSettings
    from compofa_tf.training.optimizer import Nesterov
    from compofa_tf.training.step import TrainingStep
    from compofa_tf.training.threads import share_cores_for_training

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    share_cores_for_training(threads)
    space = families.mobilenet_v3()
    net = Supernet(space)
    arch = space.arch(depths=DEPTHS[2], resolution=resolution)
    step = TrainingStep(net, Nesterov(net, OptimizerSettings()), arch=arch)
    images = np.zeros((batch, resolution, resolution, 3), np.float32)
    started = time.perf_counter()
    step(images, np.zeros(batch, np.int32), space.encode(arch)[None], 1e-3, 1.0)
    return {"compile_s": time.perf_counter() - started}


def _run(arguments: list[str], *, keep_memory: bool = False) -> dict[str, Any]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(KEPT_MEMORY if keep_memory else {})}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _ratio(ours: list[float], *peers: list[float]) -> float:
    """How many times as fast as the fastest peer we are: the median over rounds."""
    return statistics.median(min(theirs) / mine for mine, *theirs in zip(ours, *peers))


def main() -> None:
    """Alternates the contestants, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=("ours", "static"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = (options.resolution, options.batch, options.threads)
    if options.worker:
        worker = measure_ours(*sizes, options.steps) if options.worker == "ours" else measure_static(*sizes)
        print(json.dumps(worker))
        return

    common = [f"--{name}={getattr(options, name)}" for name in ("resolution", "batch", "threads", "steps")]
    torch_step = [str(HERE / "torch_step.py"), *common]
    contestants = {
        "compofa_tf": ([str(Path(__file__).resolve()), "--worker=ours", *common], False),
        "PyTorch": (torch_step, False),
        "PyTorch channels-last": ([*torch_step, "--channels-last"], False),
        "PyTorch, kept memory": (torch_step, True),
        "PyTorch channels-last, kept memory": ([*torch_step, "--channels-last"], True),
    }
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, (arguments, keep_memory) in contestants.items():
            results[name].append(_run(arguments, keep_memory=keep_memory))
    static = [_run([str(Path(__file__).resolve()), "--worker=static", *common])["compile_s"] for _ in range(2)]

    medians = {name: [round_["step_s_median"] for round_ in rounds] for name, rounds in results.items()}
    ours = medians["compofa_tf"]
    print(f"{'':36}{'s per step (median of rounds)':>32}{'range':>18}{'ours is faster by':>20}")
    for name, values in medians.items():
        ratio = statistics.median(theirs / mine for theirs, mine in zip(values, ours))
        print(f"{name:36}{statistics.median(values):32.3f}{min(values):10.3f}-{max(values):.3f}{ratio:19.2f}x")
    family_s = statistics.median(round_["compile_s"] for round_ in results["compofa_tf"])
    print(f"first call: whole family {family_s:.1f} s, one statically traced subnet {statistics.median(static):.1f} s")
    if options.json:
        report = {
            "date": datetime.date.today().isoformat(),
            "cpu": processor(),
            **{name: getattr(options, name) for name in ("resolution", "batch", "threads", "steps", "rounds")},
            "step_s": medians,
            "ratio_to_faster_default_peer": _ratio(ours, medians["PyTorch"], medians["PyTorch channels-last"]),
            "ratio_to_fastest_peer": _ratio(ours, *(times for name, times in medians.items() if name != "compofa_tf")),
            "compile_family_s": family_s,
            "compile_one_subnet_s": statistics.median(static),
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
