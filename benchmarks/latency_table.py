"""How well a latency table predicts on this machine: whole MobileNetV3 subnets against their measured pieces.

    python benchmarks/latency_table.py --json latency_table.json

For each precision the 17 pieces of the compound space (stem, 5 stages x 3 depths, head) are measured, the correction
of their sum is fitted on a few whole subnets, and predictions are compared with measurements of others, chosen evenly
over the range of MACs from random subnets. Aim: mean absolute error at most 5 %, Spearman at least 0.99. The exit code
is 1 when a precision misses it.

With --workdir the tables are kept, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from compofa_tf.quiet import import_tensorflow_quietly

import_tensorflow_quietly()

import numpy as np  # noqa: E402

from compofa_tf import families, files  # noqa: E402
from compofa_tf.errors import InputError  # noqa: E402
from compofa_tf.latency.correction import Check, Validation, fit_correction  # noqa: E402
from compofa_tf.latency.table import LatencyTable  # noqa: E402
from compofa_tf.latency.timings import QUANTILE  # noqa: E402
from compofa_tf.statistics import spearman  # noqa: E402

LARGEST_ERROR_PERCENT = 5.0
LEAST_SPEARMAN = 0.99

STATISTICS = {"minimum": 0.0, "lower quartile": 0.25, "median": 0.5}
"""Quantiles of the turns' medians that could stand for the latency; the table uses one of them."""


def compare_statistics(table: LatencyTable) -> list[dict[str, Any]]:
    """Judges each statistic, and what the correction is worth, on the same turns."""
    rows = []
    for name, quantile in STATISTICS.items():
        ms = {key: float(np.quantile(t.turn_ms, quantile)) for key, t in {**table.entries, **table.subnets}.items()}
        pieces = {i: [piece.key for piece in table.space.pieces(table.space.parse(i))] for i in table.subnets}
        sums = {i: sum(ms[key] for key in keys) for i, keys in pieces.items()}
        fitted = fit_correction(*zip(*((sums[i], len(pieces[i]), ms[i]) for i in table.fitted)))
        others = [i for i in table.subnets if i not in table.fitted]
        for corrected in (False, True):
            predicted = [fitted.apply(sums[i], len(pieces[i])) if corrected else sums[i] for i in others]
            found = Validation(tuple(Check(i, p, ms[i]) for i, p in zip(others, predicted)))
            rows.append(
                {
                    "statistic": name,
                    "used": quantile == QUANTILE and corrected,
                    "correction": {"scale": fitted.scale, "overhead_ms": fitted.overhead_ms} if corrected else None,
                    "mean_absolute_error_percent": found.mean_absolute_error_percent,
                    "bias_percent": found.bias_percent,
                    "spearman": spearman(predicted, [ms[i] for i in others]),
                }
            )
    return rows


def measure(options: argparse.Namespace, precision: str, folder: Path) -> LatencyTable:
    return LatencyTable.measure(
        families.mobilenet_v3(width_mult=options.width, input_size=options.input_size),
        resolutions=options.resolutions,
        precision=precision,
        threads=options.threads,
        runs=options.runs,
        repeats=options.repeats,
        validate=options.validate,
        path=folder / f"latency-{precision}.json",
    )


def show(table: LatencyTable, rows: list[dict[str, Any]]) -> None:
    checked = table.validation
    if checked is None:
        return
    print(f"\n{table.precision}: subnet, predicted ms, measured ms, error")
    for check in sorted(checked.checks, key=lambda check: check.measured_ms):
        print(f"  {check.id:<14} {check.predicted_ms:8.3f} {check.measured_ms:8.3f} {check.error_percent:+6.2f} %")
    print(f"{checked}.")
    print(f"prediction = {table.correction.scale:.3f} x sum - (pieces - 1) x {table.correction.overhead_ms:.4f} ms")
    print("statistic of the turns, correction, mean absolute error, bias, Spearman")
    for row in rows:
        kind = "fitted" if row["correction"] else "none"
        mark = " *" if row["used"] else ""
        errors = f"{row['mean_absolute_error_percent']:6.2f} % {row['bias_percent']:+6.2f} %"
        print(f"  {row['statistic']:<15} {kind:<7} {errors} {row['spearman']:7.4f}{mark}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--workdir", type=Path, help="keep the tables here, and go on with those that are there")
    parser.add_argument("--precisions", nargs="+", default=["float32", "int8"], help="default: float32 int8")
    parser.add_argument("--width", type=float, default=1.0, help="width multiplier of the space (default: 1.0)")
    parser.add_argument("--input-size", type=int, default=224, help="224, 64 or 32: decides strides (default: 224)")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[224], help="sides in pixels (default: 224)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--runs", type=int, default=100, help="inferences per repeat (default: 100)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats (default: 3)")
    parser.add_argument("--validate", type=int, default=24, help="whole subnets to compare with (default: 24)")
    options = parser.parse_args()

    results, reached = [], True
    with tempfile.TemporaryDirectory() as temporary:
        for precision in options.precisions:
            table = measure(options, precision, options.workdir or Path(temporary))
            rows = compare_statistics(table)
            show(table, rows)
            content = table.to_json()
            del content["entries"], content["subnets"]
            results.append({**content, "statistics": rows})
            checked = table.validation
            reached &= checked is not None and checked.mean_absolute_error_percent <= LARGEST_ERROR_PERCENT
            reached &= checked is not None and (checked.spearman or 0.0) >= LEAST_SPEARMAN
    print("\n" + ", ".join(f"{key}: {value}" for key, value in results[0]["conditions"].items()))
    print(", ".join(f"{package} {version}" for package, version in files.versions().items()))
    aim = f"mean absolute error <= {LARGEST_ERROR_PERCENT:g} %, Spearman >= {LEAST_SPEARMAN:g}"
    print(f"{aim}: {'reached' if reached else 'MISSED'}")
    if options.json:
        files.write_json(options.json, {"aim": aim, "reached": reached, "tables": results}, kind="benchmark")
        print(f"Wrote {options.json}.")
    return 0 if reached else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
