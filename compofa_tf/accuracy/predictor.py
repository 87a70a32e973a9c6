"""What a search needs to know of accuracies that are predicted. NumPy only."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from compofa_tf.space import Space
from compofa_tf.space.archs import Archs


class Predictor(Protocol):
    """What ``search`` needs to know of accuracies that are predicted; ``AccuracyPredictor`` is one.

    Attributes:
      space: The space that it is for.
    """

    space: Space

    def predict_all(self, archs: Archs) -> np.ndarray:
        """Returns top-1 accuracies in [0, 1]: float ``[count]``."""

    def to_json(self) -> dict[str, Any]:
        """Returns what a front records: ``predictor``, a name, and ``caveat``, what its numbers are not good for."""
