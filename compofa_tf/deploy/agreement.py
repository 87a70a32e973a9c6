"""How well a file agrees with the Keras model that it was made from. No TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compofa_tf.errors import InputError


@dataclass(frozen=True)
class Agreement:
    """The logits of a file against those of its Keras model on the same images.

    Attributes:
      images: How many.
      on: Which: ``"calibration images"`` or ``"random images"``.
      logits_range: Largest minus smallest logit of the Keras model; 1 where all are equal.
      mean_difference: Mean |difference| of the logits.
      max_difference: Largest |difference|.
      mean_share_of_range: ``mean_difference / logits_range``.
      mean_output_steps: ``mean_difference`` in quantization steps of the output; None where that is not quantized.
      top1_agreement: Share of the images that both put into the same class, in [0, 1].
      decisive_images: Images whose largest logit of the Keras model exceeds the second by more than the mean difference
        that its precision allows. Where the margins are flat, as with random weights, there are none, and nothing is
        proved.
      decisive_agreement: Share of those that both put into the same class; None where there are none.
    """

    images: int
    on: str
    logits_range: float
    mean_difference: float
    max_difference: float
    mean_share_of_range: float
    mean_output_steps: float | None
    top1_agreement: float
    decisive_images: int = 0
    decisive_agreement: float | None = None

    def within(self, tolerance: float) -> bool:
        """Whether the mean difference is a finite number of at most ``tolerance`` times the range of the logits."""
        return math.isfinite(self.mean_share_of_range) and self.mean_share_of_range <= tolerance

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as plain JSON values; what a sidecar holds under ``agreement``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Agreement:
        """Reads what ``to_json`` gave.

        Raises:
          InputError: If a field is missing or unknown.
        """
        try:
            return cls(**content)
        except TypeError as error:
            raise InputError(f"This is not an agreement ({error}). Received: {content!r}") from None


def compare(
    expected: np.ndarray, found: np.ndarray, *, on: str, output_scale: float | None = None, tolerance: float = 0.0
) -> Agreement:
    """Compares the logits of a file with those of its Keras model.

    Args:
      expected: ``[images, classes]``, of the Keras model.
      found: ``[images, classes]``, of the file.
      on: Which images these are.
      output_scale: Quantization step of the file's output, if it is quantized.
      tolerance: Mean difference that is allowed, as a share of the range of the logits: an image is decisive when its
        first class leads by more.
    """
    difference = np.abs(found.astype(np.float64) - expected)
    spread = float(expected.max() - expected.min()) or 1.0
    mean = float(difference.mean())
    same = found.argmax(-1) == expected.argmax(-1)
    decisive = _margins(expected) > tolerance * spread
    return Agreement(
        images=len(expected),
        on=on,
        logits_range=spread,
        mean_difference=mean,
        max_difference=float(difference.max()),
        mean_share_of_range=mean / spread,
        mean_output_steps=mean / output_scale if output_scale else None,
        top1_agreement=float(same.mean()),
        decisive_images=int(decisive.sum()),
        decisive_agreement=float(same[decisive].mean()) if decisive.any() else None,
    )


def _margins(logits: np.ndarray) -> np.ndarray:
    """By how much the largest logit of each image exceeds the second; without a second by nothing."""
    if logits.shape[-1] < 2:
        return np.zeros(len(logits))
    first_two = np.sort(logits, axis=-1)[:, -2:]
    return first_two[:, 1] - first_two[:, 0]
