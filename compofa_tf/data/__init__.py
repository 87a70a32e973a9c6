"""Data: sources (``digits``, ``folder:PATH``, ``csv:FILE``, ``images:PATH``, ``tfds:NAME``) and pipelines.

Importing this package does not import TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compofa_tf._lazy import face

if TYPE_CHECKING:
    from compofa_tf.data.dataset import Data as Data
    from compofa_tf.data.loading import load as load
    from compofa_tf.normalization import Normalization as Normalization

__getattr__, __dir__, __all__ = face(__name__)
