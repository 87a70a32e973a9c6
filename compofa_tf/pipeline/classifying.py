"""Saying what is on pictures, from a ``.tflite`` file alone. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compofa_tf.data.checking import read
from compofa_tf.data.inputs import input_of
from compofa_tf.deploy import metadata
from compofa_tf.deploy.flatbuffer import attached_files
from compofa_tf.deploy.runtime import Runner
from compofa_tf.errors import InputError
from compofa_tf.normalization import Normalization


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
        (scores,) = runner(image[None])
        if runner.scores == "logits":
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        best = np.argsort(-scores, kind="stable")[:top]
        yield Answer(picture, tuple((labels[i] if labels else str(i), float(scores[i])) for i in best))


def _carried(model: Path) -> tuple[list[str], Normalization, bool]:
    """Labels, normalisation and whether EXIF orientation was applied in training, as they travel inside the file."""
    facts = metadata.carried(model)
    normalization = metadata.normalization_of(facts, "trained_normalization") or metadata.normalization_of(facts)
    if normalization is None:
        raise InputError(
            f"{model} does not say how pixels become its inputs; give a file of `compofa export`, which carries that."
        )
    labels = attached_files(model).get(metadata.LABELS, b"").decode("utf-8").splitlines()
    return labels, normalization, bool((facts.get("preprocessing") or {}).get("exif_orientation", True))
