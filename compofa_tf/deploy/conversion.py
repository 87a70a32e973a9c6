"""A Keras model as TFLite bytes."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compofa_tf.deploy import targets
from compofa_tf.deploy.lowering import lower
from compofa_tf.errors import InputError
from compofa_tf.nets.batches import image_batches, repeatable
from compofa_tf.normalization import Normalization
from compofa_tf.quiet import native_stderr_hidden


def convert(
    model: keras.Model,
    *,
    precision: str = "float32",
    calibrate_on: Any = None,
    profile: str = "mobile",
    lowered: bool = True,
    io: str | None = None,
    normalizations: tuple[Normalization, Normalization] | None = None,
) -> bytes:
    """Returns a model as TFLite bytes: batch 1, signature ``images`` -> ``logits``. Nothing is checked or written.

    The weights enter the converter as constants. Through ``from_keras_model`` they would go to a saved model and back
    as variables, which takes several times as long for the same graph.

    Args:
      model: Functional model with one image input of static size; any outputs.
      precision: One of ``targets.PRECISIONS``.
      calibrate_on: Needed for int8: normalised images ``[count, height, width, channels]``, or batches of them with or
        without labels: a list, a dataset, an iterator, or a function that returns one (``nets.batches.repeatable``).
      profile: What the model's space may contain, which decides how it is lowered (``targets.PROFILE_TARGETS``).
      lowered: False gives what the stock converter makes of the model, for comparisons.
      io: Data type of input and output, a key of ``targets.INPUTS``; None: int8 where all between is, else float32.
      normalizations: How pixels become what the model takes, and what the file is to take; None, or twice the same: the
        file takes what the model does. A quantized pixel is the pixel itself (scale 1; as uint8 zero point 0).

    Raises:
      InputError: If an argument does not fit or the model cannot be converted.
    """
    targets.check_names(precision, profile)
    row = targets.PRECISIONS[precision]
    shape = input_shape(model)
    if row.needs_images and calibrate_on is None:
        raise InputError(
            f"{precision} needs calibrate_on: some hundred normalised training images, evaluation preprocessing."
        )
    model = in_float32(model)
    module = _frozen(lower(model, target=targets.target_of(precision, profile)) if lowered else model, normalizations)
    concrete = module.infer.get_concrete_function(tf.TensorSpec((1, *shape), tf.float32, name="images"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    _configure(converter, row, io or ("int8" if row.integer else "float32"))
    if row.needs_images:
        calibrate_on = repeatable(calibrate_on)
        converter.representative_dataset = lambda: ([x] for x in _fed(images_of(calibrate_on, shape), normalizations))
    errors = _ExplainedErrors()
    content = b""
    with _quiet_python(), native_stderr_hidden(), errors:
        content = converter.convert()
    errors.reraise()
    return content


def in_float32(model: keras.Model) -> keras.Model:
    """Returns the model if it computes in float32 throughout, else a copy with the same weights that does.

    Models trained under ``mixed_float16`` compute in float16, of which LiteRT has few operations.
    """
    if all(layer.compute_dtype in (None, "float32") for layer in _layers(model)):
        return model

    def converted(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=converted, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _fed(
    images: Iterator[np.ndarray], normalizations: tuple[Normalization, Normalization] | None
) -> Iterator[np.ndarray]:
    """Yields what goes into the graph for normalised images.

    The first two pixels of all become black and white, so that the range of the input is that of pixels whatever the
    images, and a quantized pixel is a pixel.
    """
    for index, image in enumerate(images):
        if normalizations is not None:
            trained, taken = normalizations
            black, white = (np.asarray(taken.apply(np.full(3, pixel))) for pixel in (0, 255))
            image = np.clip(trained.change(image, to=taken), black, white)
            if not index:
                image[0, 0, 0], image[0, -1, -1] = black, white
        yield image


def _configure(converter: Any, precision: targets.Precision, io: str) -> None:
    converter.target_spec.supported_ops = [tf.lite.OpsSet[precision.operations]]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(io)
    if precision.optimize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision.weights:
        converter.target_spec.supported_types = [tf.as_dtype(weights) for weights in precision.weights]


def _frozen(model: keras.Model, normalizations: tuple[Normalization, Normalization] | None) -> tf.Module:
    trainable, others = (
        [tf.constant(weight.numpy()) for weight in weights]
        for weights in (model.trainable_variables, model.non_trainable_variables)
    )

    def infer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        if normalizations is not None and normalizations[0] != normalizations[1]:
            images = _normalized(images, *normalizations)
        outputs, _ = model.stateless_call(trainable, others, images, training=False)
        flat = keras.tree.flatten(outputs)
        return {"logits": flat[0]} if len(flat) == 1 else {f"output_{i}": x for i, x in enumerate(flat)}

    module = tf.Module()
    module.infer = tf.function(infer, autograph=False)
    return module


def _normalized(images: tf.Tensor, trained: Normalization, taken: Normalization) -> tf.Tensor:
    """``taken.change`` as one depthwise convolution, which is cheaper than a product and a sum over three channels."""
    scale, offset = taken.terms(trained)
    return tf.nn.depthwise_conv2d(images, scale.reshape(1, 1, 3, 1), [1, 1, 1, 1], "VALID") + offset


class _ExplainedErrors:
    """Keeps errors whose message says everything until what native code printed has been dropped.

    These are our own, and the converter's, whose class is private: an ``InputError`` that names the operations.
    """

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, InputError) or (kind is not None and kind.__name__ == "ConverterError"):
            self._error = error
        return self._error is not None

    def reraise(self) -> None:
        """Raises what was kept."""
        if self._error is None:
            return
        if isinstance(self._error, InputError):
            raise self._error
        text = str(self._error)
        found = ", ".join(sorted(set(re.findall(r"\btf\.\w+", text)))) or " ".join(text.split())[:200]
        message = f"LiteRT cannot run this model; replace the layers that make these: {found}."
        raise InputError(message) from self._error


@contextlib.contextmanager
def _quiet_python() -> Iterator[None]:
    """Hides the warnings and log lines that every conversion gives and no user can act on."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def input_shape(model: keras.Model) -> tuple[int, int, int]:
    """Returns ``(height, width, channels)`` of the model's input.

    Raises:
      InputError: If there are several inputs or the size is not static.
    """
    shapes = [tuple(x.shape) for x in getattr(model, "inputs", None) or ()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or None in shapes[0][1:]:
        raise InputError(
            "model must have one input [batch, height, width, channels] of known height and width. "
            f"Received: input shapes {shapes}"
        )
    height, width, channels = shapes[0][1:]
    return int(height), int(width), int(channels)


def images_of(source: Any, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Yields single float32 images ``[1, height, width, channels]`` of an array or of a dataset of batches.

    Raises:
      InputError: If an image has another shape or is not finite.
    """
    for batch in image_batches(source, batch_size=256, shape=shape, name="calibrate_on"):
        for index in range(len(batch)):
            yield batch[index : index + 1]
