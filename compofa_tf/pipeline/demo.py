"""The whole way on a small data set: train, measure, search, quantize, report. TensorFlow is loaded on the way."""

from __future__ import annotations

import time
from pathlib import Path

from compofa_tf import recipes
from compofa_tf._lazy import later
from compofa_tf.pipeline.measuring import measure_accuracy, measure_latency
from compofa_tf.pipeline.run import Run
from compofa_tf.pipeline.searching import find_front
from compofa_tf.progress import duration, say
from compofa_tf.quiet import import_tensorflow_quietly
from compofa_tf.reports.page import report

_SMALLEST = (
    "teacher.epochs=3",
    "train.epochs=1",
    "data.resolutions=24",
    "accuracy.resolutions=24",
    "accuracy.calibration_images=128",
    "latency.validate=2",
    "latency.repeats=1",
)


def run_demo(path: Path, *, smallest: bool = False) -> Path:
    """Runs every command on the packaged digits and returns the report.

    Args:
      path: Work directory. A demo that was interrupted there goes on where it stopped.
      smallest: The shortest form of every command, with a sample of subnets: it checks an installation.
    """
    recipe = recipes.get("demo").override(_SMALLEST if smallest else ())
    started = time.monotonic()
    _step(1, "Train one network that contains 243")
    import_tensorflow_quietly()
    run: Run = later(__name__, "pipeline.training").train_family(recipe, path=path)
    _step(2, "Measure the accuracy of its subnets")
    measure_accuracy(run, sample=24 if smallest else None)
    _step(3, "Measure this machine")
    measure_latency(run)
    _step(4, "Search")
    front = find_front(run, overwrite=True)
    for budget_ms, best in front.chosen.items():
        say(f"within {budget_ms:g} ms: {best.id}, predicted {best.predicted_ms:.3g} ms, top-1 {best.top1:.2%}")
    _step(5, "Quantize, execute and measure the chosen models")
    exporting = later(__name__, "pipeline.exporting")
    artifacts = exporting.export_models(run, overwrite=True)
    missed = exporting.over_budget(artifacts, run)
    if missed:
        say(missed)
    page = report(path)
    say(f"\nDone in {duration(time.monotonic() - started)}: {len(artifacts)} models in {run.models}")
    say(f"Wrote {page}, open it in a browser. The same with images of your own, one folder per class in PATH:")
    say("Next: compofa train --recipe small --data folder:PATH")
    return page


def _step(number: int, text: str) -> None:
    say(f"\n[{number}/5] {text}")
