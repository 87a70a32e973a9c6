"""Runs every layer, the supernet and the training step in several ways and compares them; for test_every_strategy.py.

A program of its own, because virtual devices are made before the first operation. ``strategies.py FILE [THING/WAY...]``
writes JSON, for each thing and each way the largest difference from the plain run, as a share of the largest value of
the array (at least of 1). What is named is left out.

The ways: ``one`` (``OneDeviceStrategy``), ``mirrored`` (``MirroredStrategy`` on two virtual CPUs, each replica with its
own half of the batch) and ``xla`` (``jit_compile=True``). Each half is also run plainly, for there batch norm has its
statistics from the half, too.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)
# The graph optimizer adds three numbers in an order of its own, which differs between graphs that say the same.
tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})

from layer_cases import NAMED, Case, batch, randomised, variables  # noqa: E402
from spaces import images, randomise, small_space  # noqa: E402
from tiny import tiny_space  # noqa: E402

from compofa_tf.nets.supernet import Supernet  # noqa: E402
from compofa_tf.recipes.settings import OptimizerSettings  # noqa: E402
from compofa_tf.space import Space  # noqa: E402
from compofa_tf.training.optimizer import Nesterov  # noqa: E402
from compofa_tf.training.step import TrainingStep  # noqa: E402

ONE = tf.distribute.OneDeviceStrategy("/cpu:0")
TWO = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
STRATEGIES = {"one": ONE, "mirrored": TWO}
STEPS = 3

Compute = Callable[[int], list[Any]]
"""Gets 0 or 1, the half of the batch, as an int or in a graph; returns tensors."""


def difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    pairs = list(zip(found, expected, strict=True))
    return max(float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for a, b in pairs if a.size)


def plain(compute: Compute, half: int) -> list[np.ndarray]:
    return [np.asarray(tensor) for tensor in tf.function(lambda: compute(half), autograph=False)()]


def compiled(compute: Compute, half: int) -> list[np.ndarray]:
    return [np.asarray(tensor) for tensor in tf.function(lambda: compute(half), autograph=False, jit_compile=True)()]


def distributed(strategy: tf.distribute.Strategy, compute: Compute) -> list[list[np.ndarray]]:
    """What each replica computes."""

    def replica() -> list[Any]:
        return compute(tf.distribute.get_replica_context().replica_id_in_sync_group)

    results = tf.function(lambda: strategy.run(replica), autograph=False)()
    each = [strategy.experimental_local_results(result) for result in results]
    return [[np.asarray(values[i]) for values in each] for i in range(strategy.num_replicas_in_sync)]


def compare(make: Callable[[], Compute], ways: Sequence[str]) -> dict[str, float]:
    """The difference between the plain run and other ways of running what ``make`` builds."""
    alone = make()
    expected = [plain(alone, half) for half in (0, 1)]
    found = {}
    for way in ways:
        if way == "xla":
            results = [compiled(alone, half) for half in (0, 1)]
        else:
            with STRATEGIES[way].scope():
                shared = make()
            results = distributed(STRATEGIES[way], shared)
        found[way] = max(map(difference, results, expected))
    return found


def half_of(values: np.ndarray, half: Any) -> tf.Tensor:
    return tf.reshape(tf.constant(values), [2, len(values) // 2, *values.shape[1:]])[half]


def layer(case: Case) -> Callable[[], Compute]:
    """Outputs and gradients of the largest and of the smallest size."""

    def make() -> Compute:
        made = randomised(case)[0]
        trained = [variable.value for variable in variables(made).values() if variable.trainable]
        inputs = [(batch(case, channels).numpy(), call) for channels, call in (case.sizes[0], case.sizes[-1])]

        def compute(half: Any) -> list[Any]:
            found = []
            for x, call in inputs:
                with tf.GradientTape() as tape:
                    y = made(half_of(x, half), **call)
                    loss = tf.reduce_sum(tf.sin(y))
                zero = tf.UnconnectedGradients.ZERO
                found += [y, *tape.gradient(loss, trained, unconnected_gradients=zero)]
            return found

        return compute

    return make


def supernet(space: Space, **options: Any) -> Callable[[], Compute]:
    """Logits of the largest and of the smallest subnet by code, as one graph serves all."""

    def make() -> Compute:
        net = Supernet(space)
        randomise(net)
        codes = [space.encode(arch) for arch in (space.largest(16), space.smallest(16))]
        inputs = images(16)
        return lambda half: [net(half_of(inputs, half), tf.constant(code), **options) for code in codes]

    return make


def training_step(kind: str) -> tuple[TrainingStep, dict[str, Any]]:
    """A training step of the tiny family, and the arguments of its first call."""
    space = tiny_space(classes=5)
    net, teacher = Supernet(space, seed=1), Supernet(space, seed=2)
    of_the_kind = {
        "distill": {"teacher": teacher},
        "labels": {},
        "teacher": {"arch": space.largest(16)},
    }
    step = TrainingStep(net, Nesterov(net, OptimizerSettings()), **of_the_kind[kind])
    codes = np.stack([space.encode(space.arch(depths=depths, resolution=16)) for depths in ((1, 2), (2, 1))])
    labels = np.arange(8, dtype=np.int32) % 5
    return step, {"images": images(16, count=8), "labels": labels, "codes": codes, "rate": 0.1, "kd": 0.5}


def state(step: TrainingStep, losses: list[Any]) -> list[np.ndarray]:
    """What a step leaves behind: losses, weights, momentum."""
    arrays = [*step.net.get_state().values(), *(v.numpy() for v in step.optimizer.velocities.values())]
    return [np.stack([np.asarray(loss) for loss in losses]), *arrays]


def numbers(inputs: dict[str, Any]) -> tuple[tf.Tensor, ...]:
    seed = tf.constant([0, 0], tf.int64)
    return tf.constant(inputs["codes"]), tf.constant(inputs["rate"]), tf.constant(inputs["kd"]), seed


def by_hand(kind: str) -> list[np.ndarray]:
    """The gradients of both halves, averaged, and one update: three steps without a strategy."""
    step, inputs = training_step(kind)
    codes, rate, kd, seed = numbers(inputs)

    @tf.function(autograph=False)
    def run() -> tf.Tensor:
        halves = [
            step.gradients(half_of(inputs["images"], half), half_of(inputs["labels"], half), codes, kd, seed)
            for half in (0, 1)
        ]
        gradients = [first * 0.5 + second * 0.5 for first, second in zip(*(found for _, found in halves))]
        step.optimizer.apply(gradients, rate)
        return halves[0][0] * 0.5 + halves[1][0] * 0.5

    return state(step, [run() for _ in range(STEPS)])


def mirrored_step(kind: str) -> list[np.ndarray]:
    with TWO.scope():
        step, inputs = training_step(kind)
    codes, rate, kd, seed = numbers(inputs)

    def replica() -> tf.Tensor:
        half = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = (half_of(inputs[name], half) for name in ("images", "labels"))
        return step.replica_step(*mine, codes, rate, kd, seed)

    run = tf.function(lambda: TWO.reduce("SUM", TWO.run(replica), axis=None), autograph=False)
    return state(step, [run() for _ in range(STEPS)])


def whole_step(kind: str, strategy: Any = None) -> list[np.ndarray]:
    """Three steps as a user calls them, on the whole batch."""
    with (strategy or tf.distribute.get_strategy()).scope():
        step, inputs = training_step(kind)
        arguments = (inputs["images"], inputs["labels"], inputs["codes"], inputs["rate"], inputs["kd"])
        return state(step, [step(*arguments) for _ in range(STEPS)])


def compiled_step(kind: str) -> list[np.ndarray]:
    step, inputs = training_step(kind)
    run = tf.function(step.replica_step, autograph=False, jit_compile=True)
    arguments = (tf.constant(inputs["images"]), tf.constant(inputs["labels"]), *numbers(inputs))
    return state(step, [run(*arguments) for _ in range(STEPS)])


def compare_step(kind: str, ways: Sequence[str]) -> dict[str, float]:
    whole = whole_step(kind)
    runs = {
        "one": lambda: difference(whole_step(kind, ONE), whole),
        "mirrored": lambda: difference(mirrored_step(kind), by_hand(kind)),
        "xla": lambda: difference(compiled_step(kind), whole),
    }
    return {way: runs[way]() for way in ways}


TINY, RESIDUAL = tiny_space(classes=5), small_space("residual")
THINGS: dict[str, Callable[[Sequence[str]], dict[str, float]]] = {
    **{f"layer {name}": functools.partial(compare, layer(case)) for name, case in NAMED.items()},
    "supernet tiny": functools.partial(compare, supernet(TINY)),
    "supernet tiny training": functools.partial(compare, supernet(TINY, training=True)),
    "supernet residual training": functools.partial(compare, supernet(RESIDUAL, training=True)),
    **{f"step {kind}": functools.partial(compare_step, kind) for kind in ("distill", "labels", "teacher")},
}


def main(file: str, *left_out: str) -> None:
    found = {}
    for name, thing in THINGS.items():
        start = time.process_time()
        found[name] = thing([way for way in (*STRATEGIES, "xla") if f"{name}/{way}" not in left_out])
        print(name, found[name], f"{time.process_time() - start:.1f} s", flush=True)
    Path(file).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
