"""Running a ``.tflite`` file with LiteRT. No TensorFlow."""

from __future__ import annotations

import os

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter

from compofa_tf.deploy import flatbuffer, metadata
from compofa_tf.deploy.ends import Ends
from compofa_tf.deploy.flatbuffer import Contents
from compofa_tf.errors import InputError
from compofa_tf.normalization import Normalization
from compofa_tf.quiet import native_stderr_hidden


class Runner:
    """A ``.tflite`` image classifier as a function from normalised images to its scores, logits or probabilities.

    Integer models are fed by ``round(x / scale) + zero_point``, clipped to the data type's range, and their output is
    read back as ``(q - zero_point) * scale``; those that take pixels, or what was normalised otherwise than in
    training, are fed that. So it is the same function whatever the precision and the ends.

    Args:
      model: Path of a ``.tflite`` file with one input and one output (anything ``os.fspath`` takes), or its bytes.
      threads: CPU threads.
      contents: What ``flatbuffer.inspect`` found in it, where that is known already.
      normalizations: How pixels become what is given here, and what goes into the file; None: what the file says
        itself, and if it says nothing, both are the same.

    Attributes:
      contents: What ``flatbuffer.inspect`` found.
      scores: ``"logits"`` or ``"probabilities"``, as the file says; where it says nothing they are taken for logits.

    Raises:
      InputError: If the file is missing, damaged, needs operations that LiteRT does not have, or has several inputs or
        outputs.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        threads: int = 1,
        contents: Contents | None = None,
        normalizations: tuple[Normalization, Normalization] | None = None,
    ) -> None:
        name = "the given content" if isinstance(model, bytes) else os.fspath(model)
        self.contents = contents or flatbuffer.inspect(model)
        inputs, outputs = len(self.contents.inputs), len(self.contents.outputs)
        if (inputs, outputs) != (1, 1):
            raise InputError(f"{name} must have one input and one output. Received: {inputs} inputs, {outputs} outputs")
        if lacking := self.contents.custom_operations:
            raise InputError(f"{name} needs operations that LiteRT does not have. Received: {', '.join(lacking)}")
        self._content = model if isinstance(model, bytes) else _read(model)
        facts = metadata.carried(self._content)
        self.scores = Ends.of_record(facts).scores
        self._normalizations = normalizations or metadata.normalizations_of(facts)
        with native_stderr_hidden():
            self._interpreter = Interpreter(model_content=self._content, num_threads=threads)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """``(height, width, channels)`` of one image."""
        return tuple(int(side) for side in self._input["shape"][1:])

    @property
    def pixels(self) -> bool:
        """Whether it is known how the file normalises pixels that it takes."""
        return self._normalizations is not None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Classifies images one by one.

        Args:
          images: Float ``[count, height, width, 3]``, normalised as in training.

        Returns:
          Float32 scores ``[count, classes]``.

        Raises:
          InputError: If the images have another shape, or are not finite and would have to be quantized.
        """
        images = np.asarray(images, np.float32)
        if images.shape[1:] != self.input_shape:
            raise InputError(
                f"images must be [count, {', '.join(map(str, self.input_shape))}]. Received: shape={images.shape}"
            )
        if self._normalizations is not None:
            trained, taken = self._normalizations
            images = trained.change(images, to=taken)
        codes = quantize(images, *_parameters(self._input))
        outputs = [self._run(codes[index : index + 1]) for index in range(len(codes))]
        found = np.concatenate(outputs) if outputs else np.empty((0, *self._output["shape"][1:]), self._output["dtype"])
        return dequantize(found, *_parameters(self._output)[1:])

    def _run(self, image: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input["index"], image)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])


def fully_accelerated(content: bytes) -> bool:
    """Whether LiteRT's CPU back end (XNNPACK) takes every operation of a model."""
    with native_stderr_hidden():
        model = CompiledModel.from_buffer(content, hardware_accel=HardwareAccelerator.CPU)
        accelerated = bool(model.is_fully_accelerated())
        del model  # it reports its end, too
    return accelerated


def quantize(values: np.ndarray, dtype: np.dtype, scale: float, zero_point: int) -> np.ndarray:
    """Returns ``round(values / scale) + zero_point`` clipped to ``dtype``; floating-point types are only cast.

    Raises:
      InputError: If a value is not finite; no integer stands for that.
    """
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    if not np.isfinite(values).all():
        raise InputError("images must be finite to be quantized. Received: NaN or infinity")
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max).astype(dtype)


def dequantize(codes: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Returns ``(codes - zero_point) * scale`` as float32; floating-point codes are only cast."""
    if not np.issubdtype(codes.dtype, np.integer):
        return codes.astype(np.float32)
    return ((codes.astype(np.float32) - zero_point) * scale).astype(np.float32)


def _parameters(details: dict) -> tuple[np.dtype, float, int]:
    scale, zero_point = details["quantization"]
    return np.dtype(details["dtype"]), float(scale), int(zero_point)


def _read(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as content:
        return content.read()
