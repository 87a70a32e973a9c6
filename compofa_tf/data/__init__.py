"""Data: sources (``digits``, ``folder:PATH``, ``images:PATH``, ``tfds:NAME``) and pipelines."""

from compofa_tf.data.dataset import Data, load
from compofa_tf.data.normalization import Normalization

__all__ = ["Data", "Normalization", "load"]
