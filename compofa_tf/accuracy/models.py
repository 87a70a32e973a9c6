"""A model of any origin as something that classifies images, and one sentence where it is none."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from compofa_tf.deploy.runtime import Runner
from compofa_tf.errors import InputError


@dataclass(frozen=True)
class Classifier:
    """A model that was opened.

    Attributes:
      predict: From normalised float32 images ``[batch, side, side, 3]`` to scores ``[batch, outputs]``.
      resolution: Side of its images in pixels.
      outputs: Number of its classes.
    """

    predict: Callable[[Any], Any]
    resolution: int
    outputs: int

    def require_outputs(self, classes: int, *, what: str) -> None:
        """Raises ``InputError`` unless there is an output for each of some classes."""
        if self.outputs != classes:
            raise InputError(
                f"{what} has {self.outputs} output(s), the data has {classes} classes; evaluate it on data with "
                "its own classes."
            )


def open_model(path: str | os.PathLike[str], *, threads: int = 1) -> Classifier:
    """Opens a ``.tflite`` or ``.keras`` file that classifies.

    Args:
      path: The file.
      threads: Threads of the LiteRT runtime, for a ``.tflite`` file.

    Raises:
      InputError: If it is missing, damaged, something else, or takes or gives what a classifier of normalised square
        colour pictures does not.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no such model. Received: model={path}")
    if path.is_dir():
        raise InputError(
            f"{path} is a folder; give a .tflite or .keras file (of a SavedModel make one with the TFLite converter)."
        )
    if path.suffix == ".tflite":
        return _of_runner(Runner(path, threads=threads), path)
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):  # which Keras calls "not found"
        raise InputError(f"{path} is neither a .tflite nor a readable .keras file (it is cut off, or something else).")
    try:
        model = keras.models.load_model(path)
    except Exception as error:
        first = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is neither a .tflite nor a readable .keras file ({first}).") from error
    return of_keras(model, what=str(path))


def of_keras(model: keras.Model, *, what: str) -> Classifier:
    """Returns a Keras model as a classifier; see ``open_model`` for the errors."""
    inputs, outputs = (
        [tuple(tensor.shape) for tensor in getattr(model, name, None) or ()] for name in ("inputs", "outputs")
    )
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"{what} must have one input and one output. Received: {len(inputs)} inputs, {len(outputs)} outputs"
        )
    _check_shapes(inputs[0][1:], outputs[0][1:], what)
    predict = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    return Classifier(predict, inputs[0][1], outputs[0][1])


def _of_runner(runner: Runner, path: Path) -> Classifier:
    tensor = runner.contents.inputs[0]
    if not tensor.dtype.upper().startswith("FLOAT") and not tensor.scales:
        raise InputError(
            f"{path} takes {tensor.dtype.lower()} without a scale, so that nobody knows what its numbers mean; convert "
            "it with a quantized or a float input."
        )
    if tensor.dtype == "UINT8" and tensor.scales == (1.0,) and not runner.pixels:
        raise InputError(
            f"{path} takes pixels as they are and does not say how it normalises them; give a file of "
            "`compofa export`, which carries that."
        )
    _check_shapes(runner.input_shape, tuple(runner.contents.outputs[0].shape[1:]), str(path))
    return Classifier(runner, runner.input_shape[0], int(runner.contents.outputs[0].shape[-1]))


def _check_shapes(image: tuple[int | None, ...], output: tuple[int | None, ...], what: str) -> None:
    if len(image) != 3 or None in image or image[0] != image[1] or image[2] != 3:
        raise InputError(f"{what} must take square colour images [batch, side, side, 3]. Received: {['batch', *image]}")
    if len(output) != 1 or output[0] is None or output[0] < 2:
        raise InputError(
            f"{what} must give a score per class, two at least, [batch, classes]. Received: {['batch', *output]}"
        )
