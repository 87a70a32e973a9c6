"""Saying what is on pictures, from a ``.tflite`` file alone. No TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compofa_tf.data.checking import read
from compofa_tf.data.inputs import input_of
from compofa_tf.data.normalization import Normalization
from compofa_tf.deploy.flatbuffer import attached_files
from compofa_tf.deploy.runtime import Runner
from compofa_tf.errors import InputError


@dataclass(frozen=True)
class Answer:
    """What a model says of a picture.

    Attributes:
      picture: The file.
      scores: (label, probability) of the likeliest classes, the likeliest first; empty where it cannot be used.
      reason: Why it cannot be used, else empty.
    """

    picture: Path
    scores: tuple[tuple[str, float], ...] = ()
    reason: str = ""


def classify(model: Path, pictures: Iterable[Path], *, top: int = 3) -> Iterator[Answer]:
    """Yields what an exported model says of each picture.

    Args:
      model: A ``.tflite`` file of ``export_tflite``, which carries labels and normalisation.
      pictures: Files.
      top: So many classes of each.

    Raises:
      InputError: If the file is no such model.
    """
    runner = Runner(model)
    labels, normalization, upright = _carried(model)
    side = runner.input_shape[0]
    for picture in pictures:
        try:
            image = input_of(read(str(picture)), resolution=side, normalization=normalization, upright=upright)
        except InputError as error:
            yield Answer(picture, reason=str(error))
            continue
        (logits,) = runner(image[None])
        scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        best = np.argsort(-scores, kind="stable")[:top]
        yield Answer(picture, tuple((labels[i] if labels else str(i), float(scores[i])) for i in best))


def _carried(model: Path) -> tuple[list[str], Normalization, bool]:
    """Labels, normalisation and whether EXIF orientation was applied in training, as they travel inside the file."""
    attached = attached_files(model)
    labels = attached.get("labels.txt", b"").decode("utf-8").splitlines()
    try:
        facts = json.loads(attached["metadata.json"])
        found, upright = facts["normalization"], facts.get("preprocessing", {}).get("exif_orientation", True)
        return labels, Normalization(tuple(found["mean"]), tuple(found["std"]), found.get("name", "custom")), upright
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{model} does not say how pixels become its inputs; give a file of `compofa export`, which carries that."
        ) from None
