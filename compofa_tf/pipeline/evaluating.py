"""Evaluating a subnet of a run, or a model of any origin, on the validation images of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compofa_tf.accuracy.evaluation import Accuracy, judged, logits_of
from compofa_tf.accuracy.models import open_model
from compofa_tf.accuracy.per_class import PerClass
from compofa_tf.pipeline.run import Run
from compofa_tf.space import Arch


def evaluate(run: Run, model: Arch | Path, *, images: int | None = None) -> tuple[Accuracy, PerClass]:
    """Returns the accuracy of a subnet, calibrated first (``Run.calibrated``), or of a file, and its confusions.

    Args:
      run: A run with a finished training, whose data it is evaluated on.
      model: The subnet, resolution included, or a ``.keras`` or ``.tflite`` file, evaluated at the size of its input.
      images: Validation images; all when absent.

    Raises:
      InputError: If there is no such file, it is no classifier, or it has another number of classes than the data.
    """
    if isinstance(model, Path):
        opened = open_model(model)
        run.data.require_labels("Evaluation")
        opened.require_outputs(run.data.classes, what=str(model))
        batches = logits_of(opened, _validation(run, opened.resolution, images))
    else:
        dataset = _validation(run, model.resolution, images)
        batches = logits_of(run.calibrated(model), dataset, arch=model)
    accuracy, per_class, _ = judged(run.data.labels, batches)
    return accuracy, per_class


def _validation(run: Run, resolution: int, images: int | None) -> Any:
    batch_size = run.recipe.accuracy.batch_size
    return run.data.eval(resolution=resolution, batch_size=batch_size, limit=images)
