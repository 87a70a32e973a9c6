"""The whole way on a small data set: train, measure, search, quantize, report."""

from __future__ import annotations

import time
from pathlib import Path

from compofa_tf import recipes
from compofa_tf.locks import locked
from compofa_tf.pipeline.run import Run, export_models, find_front, measure_accuracy, measure_latency, over_budget
from compofa_tf.progress import duration, say
from compofa_tf.quiet import import_tensorflow_quietly
from compofa_tf.recipes.recipe import Recipe
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


def run(path: Path, *, smallest: bool = False) -> Path:
    """Runs every stage on the packaged digits and returns the report.

    Args:
      path: Work directory. A demo that was interrupted there goes on where it stopped.
      smallest: The shortest form of every stage, with a sample of subnets: it checks an installation.
    """
    recipe: Recipe = recipes.get("demo").override(_SMALLEST if smallest else ())
    workdir = Run(path)
    started = time.monotonic()
    with locked(workdir.lock_file("training"), what="the training"):
        _stage(1, "Train one network that contains 243")
        import_tensorflow_quietly()
        from compofa_tf.training.loop import train

        train(recipe, workdir=path)
        _stage(2, "Measure the accuracy of its subnets")
        measure_accuracy(workdir, sample=24 if smallest else None)
        _stage(3, "Measure this machine")
        measure_latency(workdir)
        _stage(4, "Search")
        front = find_front(workdir)
        for budget_ms, best in front.chosen.items():
            say(f"within {budget_ms:g} ms: {best.id}, predicted {best.predicted_ms:.3g} ms, top-1 {best.top1:.2%}")
        _stage(5, "Quantize, execute and measure the chosen models")
        artifacts = export_models(workdir, overwrite=True)
        missed = over_budget(artifacts)
        if missed:
            say(missed)
        page = report(path)
    say(f"\nDone in {duration(time.monotonic() - started)}: {len(artifacts)} models in {workdir.models}")
    say(f"Wrote {page}: open it in a browser.")
    say("Next: compofa train --recipe small --data folder:PATH    (PATH holds one folder of images per class)")
    return page


def _stage(number: int, text: str) -> None:
    say(f"\n[{number}/5] {text}")
