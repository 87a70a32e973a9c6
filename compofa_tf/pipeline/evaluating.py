"""Evaluating a subnet of a run, or a model of any origin, on the validation images of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf.accuracy.evaluation import Accuracy, evaluate, logits_of
from compofa_tf.accuracy.models import open_model
from compofa_tf.accuracy.per_class import PerClass
from compofa_tf.pipeline.run import Run
from compofa_tf.space import Arch


def evaluate_subnet(run: Run, arch: Arch, *, images: int | None = None) -> Accuracy:
    """Returns the accuracy of a subnet, calibrated first (``Run.calibrated``).

    Args:
      run: A run with a finished training.
      arch: The subnet, resolution included.
      images: Validation images; all when absent.
    """
    dataset = _validation(run, arch.resolution, images)
    return evaluate(run.calibrated(arch), dataset, arch=arch)


def evaluate_file(run: Run, path: Path, *, images: int | None = None) -> Accuracy:
    """Returns the accuracy of a ``.keras`` or ``.tflite`` file, at the resolution of its input.

    Args:
      run: A run whose data it is evaluated on.
      path: The file.
      images: Validation images; all when absent.

    Raises:
      InputError: If there is no such file, it is no classifier, or it has another number of classes than the data.
    """
    model = open_model(path)
    data = run.data
    data.require_labels("Evaluation")
    model.require_outputs(data.classes, what=str(path))
    return evaluate(model, _validation(run, model.resolution, images))


def evaluate_per_class(run: Run, model: Arch | Path, *, images: int | None = None) -> PerClass:
    """Returns what a subnet, calibrated first, or a model file takes for what.

    Args:
      run: A run whose data it is evaluated on.
      model: The subnet, resolution included, or the file.
      images: Validation images; all when absent.

    Raises:
      InputError: As ``evaluate_file``.
    """
    if isinstance(model, Path):
        opened = open_model(model)
        opened.require_outputs(run.data.classes, what=str(model))
        batches = logits_of(opened, _validation(run, opened.resolution, images))
    else:
        dataset = _validation(run, model.resolution, images)
        batches = logits_of(run.calibrated(model), dataset, arch=model)
    true, predicted = zip(*((labels, logits.argmax(axis=-1)) for logits, labels in batches))
    return PerClass.of(run.data.labels, np.concatenate(true), np.concatenate(predicted))


def _validation(run: Run, resolution: int, images: int | None) -> Any:
    batch_size = run.recipe.accuracy.batch_size
    return run.data.eval(resolution=resolution, batch_size=batch_size, limit=images)
