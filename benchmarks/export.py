"""What activation lowering buys, and what the ends of a file cost: latency of MobileNetV3 nets on this machine.

    python benchmarks/export.py --json export.json

Rows: the largest MobileNetV3 w1.0 subnet at 224 px, and keras.applications.MobileNetV3Large, each as the stock
converter makes it (float32, int8, with int8 ends and logits), lowered (int8), and lowered between the ends that an
export offers; "imagenet": with a normalisation per channel inside, for clients that know only one for all channels.
Weights are random, with batch norm calibrated on random images: latency does not depend on their values, as long as
ranges are like those of a trained net. All files are timed in turns in one process; a row is the median of the rounds'
medians, the best round beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

from compofa_tf.quiet import import_tensorflow_quietly

import_tensorflow_quietly()

import keras  # noqa: E402
import numpy as np  # noqa: E402

import compofa_tf as ct  # noqa: E402
from compofa_tf import files  # noqa: E402
from compofa_tf.deploy import flatbuffer  # noqa: E402
from compofa_tf.deploy.conversion import convert  # noqa: E402
from compofa_tf.deploy.editing import with_softmax  # noqa: E402
from compofa_tf.deploy.ends import Ends  # noqa: E402
from compofa_tf.latency.devices.host import Host  # noqa: E402
from compofa_tf.nets import plain  # noqa: E402

IMAGENET = ct.data.Normalization.named("imagenet")


class Variant(NamedTuple):
    """How a network becomes a file."""

    name: str
    precision: str
    lowered: bool
    ends: Ends
    per_channel: bool = False


VARIANTS = (
    Variant("stock float32", "float32", False, Ends("float32", "logits")),
    Variant("stock int8", "int8", False, Ends("int8", "logits")),
    Variant("int8, logits", "int8", True, Ends("int8", "logits")),
    Variant("int8, probabilities", "int8", True, Ends("int8", "probabilities")),
    Variant("float32, probabilities", "int8", True, Ends("float32", "probabilities")),
    Variant("float32, imagenet", "int8", True, Ends("float32", "probabilities"), True),
    Variant("uint8, probabilities", "int8", True, Ends("uint8", "probabilities"), True),
)


def made(model: keras.Model, variant: Variant, images: np.ndarray) -> bytes:
    """Converts a network; the weights are random, so the images only set ranges."""
    trained = IMAGENET if variant.per_channel else ct.data.Normalization.named("symmetric")
    taken = variant.ends.taken(trained)
    content = convert(
        model,
        precision=variant.precision,
        calibrate_on=images[:8],
        lowered=variant.lowered,
        io=variant.ends.io,
        normalizations=(trained, taken) if variant.per_channel else None,
    )
    return with_softmax(content) if variant.ends.scores == "probabilities" else content


def calibrated(model: keras.Model, images: np.ndarray) -> keras.Model:
    """Gives every batch norm the statistics of the images."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


def count_macs(model: keras.Model) -> int:
    """Multiply-adds of one image, in convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            total += int(np.prod(layer.kernel.shape[:2])) * int(np.prod(layer.output.shape[1:]))
        elif isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            total += int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
    return total


def networks(size: int) -> dict[str, keras.Model]:
    space = ct.families.mobilenet_v3(width_mult=1.0)
    return {
        "MobileNetV3 w1.0, largest subnet": plain.build(space, space.largest(size)),
        "keras.applications.MobileNetV3Large": keras.applications.MobileNetV3Large(
            weights=None, input_shape=(size, size, 3), include_preprocessing=False, classifier_activation=None
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the table to this file")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels (default: 224)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--runs", type=int, default=50, help="inferences per round and file (default: 50)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds over all files (default: 10)")
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).uniform(-1, 1, (16, options.size, options.size, 3)).astype(np.float32)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model in networks(options.size).items():
            calibrated(model, images)
            for variant in VARIANTS:
                content = made(model, variant, images)
                path = Path(folder) / f"{len(rows)}.tflite"
                path.write_bytes(content)
                operations = flatbuffer.inspect(content).counts
                rows.append(
                    {"network": name, "variant": variant.name, "macs": count_macs(model), "operations": operations}
                )
        found = Host().time(
            [Path(folder) / f"{index}.tflite" for index in range(len(rows))],
            threads=options.threads,
            runs=options.runs,
            warmup=10,
            rounds=options.rounds,
        )
    for row, times in zip(rows, found, strict=True):
        row["median_ms"] = statistics.median(times.turn_ms)
        row["best_round_ms"] = min(times.turn_ms)
        row["us_per_million_macs"] = 1e3 * row["median_ms"] / (row["macs"] / 1e6)
        row |= {"fully_accelerated": times.fully_accelerated, "runs": times.runs, "round_medians_ms": times.turn_ms}
    conditions = {
        **Host().describe(),
        "threads": options.threads,
        "size": options.size,
        "rounds": options.rounds,
    }
    print_table(rows, conditions)
    if options.json:
        files.write_json(options.json, {"conditions": conditions, "rows": rows}, kind="benchmark")
        print(f"\nWrote {options.json}")


def print_table(rows: list[dict], conditions: dict) -> None:
    print(f"{'network':36} {'variant':23} {'M MACs':>7} {'ms':>7} {'best':>7} {'us/M MACs':>10}  accelerated")
    for row in rows:
        accelerated = "fully" if row["fully_accelerated"] else "NO"
        print(
            f"{row['network']:36} {row['variant']:23} {row['macs'] / 1e6:7.1f} {row['median_ms']:7.2f} "
            f"{row['best_round_ms']:7.2f} {row['us_per_million_macs']:10.1f}  {accelerated}"
        )
    print(
        f"\n{conditions['size']} px, batch 1, {conditions['threads']} thread(s), {conditions['processor']}, LiteRT "
        f"{conditions['runtime_version']} ({conditions['delegate']}), TensorFlow {files.versions()['tensorflow']}, "
        f"{conditions['date']}; median of {conditions['rounds']} rounds in turns"
    )


if __name__ == "__main__":
    main()
