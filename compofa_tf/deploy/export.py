"""Writing a plain Keras model as a ``.tflite`` file that was checked by running it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compofa_tf import files
from compofa_tf.deploy import flatbuffer, targets
from compofa_tf.deploy.agreement import Agreement, compare
from compofa_tf.deploy.artifact import OWN_FIELDS, Artifact, sidecar_of
from compofa_tf.deploy.conversion import convert, images_of, in_float32, input_shape
from compofa_tf.deploy.flatbuffer import Contents, TensorInfo
from compofa_tf.deploy.runtime import Runner, fully_accelerated
from compofa_tf.errors import InputError
from compofa_tf.nets.batches import repeatable
from compofa_tf.progress import say
from compofa_tf.statistics import wilson_interval

LEAST_IMAGES, ENOUGH_IMAGES = 8, 100
"""Images for the ranges of int8: fewer than the first are refused, fewer than the second are told of."""

_COMPARED_IMAGES = 64
_RANDOM_IMAGES = 8
_BATCH = 16


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    precision: str = "float32",
    calibrate_on: Any = None,
    profile: str = "mobile",
    metadata: dict[str, Any] | None = None,
    overwrite: bool = False,
    allow_few_images: bool = False,
    allow_disagreement: bool = False,
) -> Artifact:
    """Converts a plain Keras model for LiteRT, runs the result against the model, and writes it with its sidecar.

    An int8 model has int8 input and output and per-channel weights; its activations are lowered first
    (``deploy.lowering``) so that the CPU back end accelerates all of it. Nothing is written unless the file holds only
    operations that LiteRT has (and only integer ones for int8) and gives the logits of the Keras model: how much they
    may differ stands with each precision in ``deploy.targets``.

    Labels and metadata also travel inside the file (``labels.txt``, ``metadata.json``; ``unzip -l`` lists them).

    Args:
      model: Functional model from normalised float32 ``[batch, height, width, 3]`` to logits ``[batch, classes]``, of
        static height and width, as ``extract`` returns it.
      path: Where the ``.tflite`` file goes; its sidecar is ``<path>.json``. Folders are created.
      precision: One of ``targets.PRECISIONS``.
      calibrate_on: Normalised images ``[count, height, width, 3]``, or batches of them with or without labels (a list,
        a dataset, an iterator, or a function that returns one, as TFLite takes it); evaluation preprocessing. They
        decide the ranges of int8, which needs them; the other precisions use them for the comparison only.
      profile: What the model's space may contain: ``"mobile"``, or ``"edgetpu"``, whose models need no lowering.
      metadata: JSON-serialisable facts for the sidecar: ``arch``, ``recipe_hash``, ``normalization``, ``labels``, ...
      overwrite: Whether existing files may be replaced.
      allow_few_images: Whether ranges may come from fewer than ``LEAST_IMAGES`` images.
      allow_disagreement: Whether the file is written although it often names another class than the Keras model does.

    Returns:
      The artifact.

    Raises:
      InputError: If an argument does not fit, the files exist, the model cannot be converted completely, or the
        converted model does not agree with it.
    """
    target = Path(path)
    metadata = dict(metadata or {})
    targets.check_names(precision, profile)
    _check_metadata(metadata)
    files.refuse_to_replace(target, sidecar_of(target), overwrite=overwrite)
    row = targets.PRECISIONS[precision]
    model, calibrate_on = in_float32(model), repeatable(calibrate_on)
    count, images = _sample(calibrate_on, input_shape(model))
    if row.needs_images and calibrate_on is not None:
        _check_count(count, allow_few_images)
    content = convert(model, precision=precision, calibrate_on=calibrate_on, profile=profile)
    contents = flatbuffer.inspect(content)
    _check_operations(contents, row)
    runner = Runner(content, contents=contents)
    _check_labels(metadata.get("labels"), runner)
    agreed = _agreement(model, runner, images, row, calibrated=count > 0)
    _check_agreement(agreed, row, allow_disagreement)
    facts = {"precision": precision, "profile": profile, "calibration_images": count if row.needs_images else 0}
    content = flatbuffer.append_files(content, _associated({**metadata, **facts}))
    with files.atomic_write(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
    record = {
        "accuracy": None,
        "latency": None,
        **metadata,
        **facts,
        "file": target.name,
        "size_bytes": len(content),
        "sha256": files.sha256(target),
        "input": _tensor(contents.inputs[0]),
        "output": _tensor(contents.outputs[0]),
        "operations": contents.counts,
        "agreement": agreed.to_json(),
        "fully_accelerated": fully_accelerated(content),
    }
    artifact = Artifact(target, record)
    artifact.write()
    return artifact


def _check_metadata(metadata: dict[str, Any]) -> None:
    taken = [name for name in metadata if name in OWN_FIELDS]
    if taken:
        raise InputError(f"metadata may not hold {', '.join(taken)}; the export decides them.")
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata must be JSON-serialisable ({error}).") from None


def _check_labels(labels: Any, runner: Runner) -> None:
    """Rejects class names that a reader of ``labels.txt`` would take for others."""
    if labels is None or not len(labels):
        return
    outputs = runner.contents.outputs[0].shape[-1]
    if len(labels) != outputs:
        raise InputError(f"labels must name each of the {outputs} outputs. Received: {len(labels)} labels")
    broken = next((label for label in labels if len(str(label).splitlines()) != 1), None)
    if broken is not None:
        raise InputError(f"A label is one line of text, for labels.txt has one per line. Received: {broken!r}")
    twice = next((label for label, count in Counter(labels).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"Each label names one class. Received: {twice!r} for {labels.count(twice)} outputs")


def _check_count(count: int, allow_few: bool) -> None:
    """Says when ranges come from few images, and refuses when they come from hardly any."""
    if count < LEAST_IMAGES and not allow_few:
        raise InputError(
            f"Ranges of int8 from {count} images would fit no others; give some hundred, or allow it with "
            f"--allow-few-images (allow_few_images=True). Received: {count} calibration images"
        )
    if count < ENOUGH_IMAGES:
        say(f"Ranges of int8 come from {count} images only; {ENOUGH_IMAGES} or more make a better model.")


def _sample(calibrate_on: Any, shape: tuple[int, int, int]) -> tuple[int, np.ndarray]:
    """Returns how many calibration images there are, and those to compare on: the first ones, or random ones."""
    if calibrate_on is None:
        return 0, np.random.default_rng(0).uniform(-1, 1, (_RANDOM_IMAGES, *shape)).astype(np.float32)
    kept, count = [], 0
    for image in images_of(calibrate_on, shape):
        count += 1
        if count <= _COMPARED_IMAGES:
            kept.append(image)
    if not kept:
        raise InputError("calibrate_on holds no images; give some hundred of them.")
    return count, np.concatenate(kept)


def _check_operations(contents: Contents, precision: targets.Precision) -> None:
    if contents.custom_operations:
        raise InputError(f"The model needs operations that LiteRT lacks: {', '.join(contents.custom_operations)}.")
    if precision.fully_integer and not contents.is_fully_integer:
        culprits = ", ".join(contents.float_operations) or "unused float tensors"
        raise InputError(
            f"The {precision.name} model would compute in floating point: {culprits}; replace those layers."
        )


def _agreement(
    model: keras.Model, runner: Runner, images: np.ndarray, precision: targets.Precision, *, calibrated: bool
) -> Agreement:
    batches = (images[i : i + _BATCH] for i in range(0, len(images), _BATCH))
    expected = np.concatenate([np.asarray(model(batch, training=False)) for batch in batches])
    on = "calibration images" if calibrated else "random images"
    scales = runner.contents.outputs[0].scales
    scale = scales[0] if scales else None
    return compare(expected, runner(images), on=on, output_scale=scale, tolerance=precision.tolerance)


def _check_agreement(found: Agreement, precision: targets.Precision, allow_disagreement: bool) -> None:
    if not found.within(precision.tolerance):
        raise InputError(
            f"The {precision.name} model does not compute what the Keras model computes; calibrate batch norm first "
            "(extract(calibrate_on=...)) and calibrate quantization on images like those of the task. Received: mean "
            f"difference of {found.mean_share_of_range:.1%} of the range of the logits, {precision.tolerance:.1%} "
            "allowed"
        )
    share = found.decisive_agreement
    if share is None or allow_disagreement:
        return
    # Of a handful of images one says little: the whole interval must lie below.
    if wilson_interval(share, found.decisive_images)[1] < precision.agreement:
        raise InputError(
            f"The {precision.name} model names another class than the Keras model for {1 - share:.0%} of the "
            f"{found.decisive_images} images that the Keras model is sure of; calibrate on more images like those of "
            "the task, or write it all the same with --allow-disagreement (allow_disagreement=True)."
        )


def _associated(metadata: dict[str, Any]) -> dict[str, bytes]:
    inside = {**metadata, "versions": files.versions()}
    found = {"metadata.json": json.dumps(inside, indent=1, ensure_ascii=False).encode()}
    if metadata.get("labels"):
        found["labels.txt"] = "".join(f"{label}\n" for label in metadata["labels"]).encode()
    return found


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    quantized = bool(tensor.scales)
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.lower(),
        "scale": tensor.scales[0] if quantized else None,
        "zero_point": tensor.zero_points[0] if quantized else None,
    }
