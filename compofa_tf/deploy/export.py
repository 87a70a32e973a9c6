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
from compofa_tf.deploy import editing, flatbuffer, targets
from compofa_tf.deploy.agreement import Agreement, compare
from compofa_tf.deploy.artifact import OWN_FIELDS, Artifact, sidecar_of
from compofa_tf.deploy.conversion import convert, images_of, in_float32, input_shape
from compofa_tf.deploy.ends import Ends
from compofa_tf.deploy.flatbuffer import Contents, TensorInfo
from compofa_tf.deploy.metadata import NAME, associated, normalization_of, tflite_metadata
from compofa_tf.deploy.runtime import Runner, fully_accelerated
from compofa_tf.errors import InputError
from compofa_tf.nets.batches import repeatable
from compofa_tf.normalization import Normalization
from compofa_tf.progress import say
from compofa_tf.statistics import wilson_interval

LEAST_IMAGES, ENOUGH_IMAGES = 8, 100
"""Images for the ranges of int8: fewer than the first are refused, fewer than the second are told of."""

SCORE_TOLERANCE = 2 / 256
"""Largest difference of a probability that a file gives to the softmax of its logits: two of its steps as uint8."""

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
    io: str | None = None,
    scores: str | None = None,
    metadata: dict[str, Any] | None = None,
    overwrite: bool = False,
    allow_few_images: bool = False,
    allow_disagreement: bool = False,
) -> Artifact:
    """Converts a plain Keras model for LiteRT, runs the result against the model, and writes it with its sidecar.

    An int8 model has per-channel weights; its activations are lowered first (``deploy.lowering``) so that the CPU back
    end accelerates all of it. Nothing is written unless the file holds only operations that LiteRT has (and only
    integer ones between the ends for int8) and gives the logits of the Keras model: how much they may differ stands
    with each precision in ``deploy.targets``.

    The ends are chosen apart from that (``deploy.ends``): unless told otherwise a file takes normalised float32 and
    gives probabilities, whatever its precision, and carries TFLite Metadata, so that it opens in the standard clients;
    int8 models of the profile ``"edgetpu"`` are int8 from end to end and give logits.

    Labels and metadata also travel behind the file (``labels.txt``, ``metadata.json``; ``unzip -l`` lists them).

    Args:
      model: Functional model from normalised float32 ``[batch, height, width, 3]`` to logits ``[batch, classes]``, of
        static height and width, as ``extract`` returns it.
      path: Where the ``.tflite`` file goes; its sidecar is ``<path>.json``. Folders are created.
      precision: One of ``targets.PRECISIONS``.
      calibrate_on: Normalised images ``[count, height, width, 3]``, or batches of them with or without labels (a list,
        a dataset, an iterator, or a function that returns one, as TFLite takes it); evaluation preprocessing. They
        decide the ranges of int8, which needs them; the other precisions use them for the comparison only.
      profile: What the model's space may contain: ``"mobile"``, or ``"edgetpu"``, whose models need no lowering.
      io: Data type of input and output, a key of ``targets.INPUTS``. ``"uint8"`` takes pixels as they are, ``"int8"``
        and ``"float32"`` normalised values.
      scores: ``"probabilities"`` or ``"logits"``.
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
    facts = dict(metadata or {})
    ends = Ends.of(precision, profile, io=io, scores=scores)
    _check_metadata(facts)
    files.refuse_to_replace(target, sidecar_of(target), overwrite=overwrite)
    row = targets.PRECISIONS[precision]
    channels = input_shape(model)[-1]
    trained = _trained(facts) if channels == 3 else None
    taken = ends.taken(trained)
    between = (trained, taken) if trained is not None and taken is not None else None
    model, calibrate_on = in_float32(model), repeatable(calibrate_on)
    count, images = _sample(calibrate_on, input_shape(model))
    if row.needs_images and calibrate_on is not None:
        _check_count(count, allow_few_images)
    content = convert(
        model, precision=precision, calibrate_on=calibrate_on, profile=profile, io=ends.io, normalizations=between
    )
    contents = flatbuffer.inspect(content)
    _check_operations(contents, row)
    _check_pixels(contents, ends)
    ends, softmax = _with_scores(ends, contents, asked=scores)
    runner = Runner(content, contents=contents, normalizations=between)
    _check_labels(facts.get("labels"), runner)
    agreed = _agreement(model, runner, images, row, calibrated=count > 0)
    _check_agreement(agreed, row, allow_disagreement)
    if between is not None:
        given = facts["normalization"]
        facts |= {
            "trained_normalization": given,
            "normalization": given if taken == trained else between[1].to_json(),
        }
    facts |= {"precision": precision, "profile": profile, "calibration_images": count if row.needs_images else 0}
    said = ends.to_json(channels=channels, normalized=taken is not None)
    content = _finished(content, ends, {**facts, "ends": said}, shape=runner.input_shape, softmax=softmax)
    contents = flatbuffer.inspect(content)
    if softmax:
        _check_scores(Runner(content, contents=contents)(images), runner(images))
    with files.atomic_write(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
    record = {
        "accuracy": None,
        "latency": None,
        **facts,
        "file": target.name,
        "size_bytes": len(content),
        "sha256": files.sha256(target),
        "ends": said,
        "input": _tensor(contents.inputs[0]),
        "output": _tensor(contents.outputs[0]),
        "operations": contents.counts,
        "agreement": agreed.to_json(),
        "fully_integer": contents.is_fully_integer,
        "fully_accelerated": fully_accelerated(content),
    }
    artifact = Artifact(target, record)
    artifact.write()
    return artifact


def _trained(facts: dict[str, Any]) -> Normalization | None:
    """How pixels become what the network was trained with; None where the metadata say nothing of it."""
    if facts.get("normalization") is None:
        return None
    found = normalization_of(facts)
    if found is None:
        raise InputError(
            "normalization in metadata must be {'mean': [three numbers], 'std': [three numbers]}, in shares of 255. "
            f"Received: normalization={facts['normalization']!r}"
        )
    return found


def _with_scores(ends: Ends, contents: Contents, *, asked: str | None) -> tuple[Ends, bool]:
    """Returns the ends that a file of logits can have, and whether a softmax is to be added for them.

    A network that ends in a softmax of its own gives probabilities as it is, and of independent yes and no answers
    (sigmoid, or a single output) there is no softmax.
    """
    last = next((o.name for o in reversed(contents.operators) if o.name not in ("QUANTIZE", "DEQUANTIZE")), "")
    if last == "SOFTMAX":
        if asked == "logits":
            raise InputError("The network ends in a softmax of its own; take that layer off. Received: scores='logits'")
        return Ends(ends.io, "probabilities"), False
    if last == "LOGISTIC" or contents.outputs[0].shape[-1] < 2:
        if asked == "probabilities":
            raise InputError(
                "The answers of this network are independent of each other, so that there is no softmax of them; leave "
                "scores out. Received: scores='probabilities'"
            )
        return Ends(ends.io, "logits"), False
    return ends, ends.scores == "probabilities"


def _check_pixels(contents: Contents, ends: Ends) -> None:
    """Rejects a uint8 input whose numbers are not the pixels themselves, as clients take them to be."""
    found = contents.inputs[0]
    if ends.io == "uint8" and (found.zero_points != (0,) or abs(found.scales[0] - 1) > 1e-4):
        raise InputError(
            "The uint8 input does not take pixels as they are; give io='int8'. Received: scale "
            f"{found.scales[0]}, zero point {found.zero_points[0]}"
        )


def _finished(content: bytes, ends: Ends, record: dict[str, Any], *, shape: tuple[int, ...], softmax: bool) -> bytes:
    """Adds what clients need to a model as it was converted: probabilities, TFLite Metadata, labels, the record."""
    if softmax:
        content = editing.with_softmax(content)
    description = tflite_metadata(record, ends, shape=shape)
    content = editing.with_description(content, NAME, description)
    return flatbuffer.append_files(content, associated(record))


def _check_scores(found: np.ndarray, logits: np.ndarray) -> None:
    """Rejects probabilities that are not the softmax of what the file gave before it had one."""
    likelihoods = np.exp(logits - logits.max(axis=-1, keepdims=True))
    off = float(np.abs(found - likelihoods / likelihoods.sum(axis=-1, keepdims=True)).max())
    if not off <= SCORE_TOLERANCE:
        raise InputError(
            f"The probabilities of the file are not the softmax of its logits; give scores='logits'. Received: off by "
            f"{off:.4f}, {SCORE_TOLERANCE:.4f} allowed"
        )


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
    broken = next((label for label in labels if not _is_line(str(label))), None)
    if broken is not None:
        raise InputError(f"A label is one line of text, for labels.txt has one per line. Received: {broken!r}")
    twice = next((label for label, count in Counter(labels).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"Each label names one class. Received: {twice!r} for {labels.count(twice)} outputs")


def _is_line(label: str) -> bool:
    try:
        label.encode()
    except UnicodeEncodeError:  # what is left of a folder name in another encoding
        return False
    return label.splitlines() == [label]


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
    if precision.integer and not contents.is_integer_inside:
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


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    quantized = bool(tensor.scales)
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.lower(),
        "scale": tensor.scales[0] if quantized else None,
        "zero_point": tensor.zero_points[0] if quantized else None,
    }
