"""Data: sources (``digits``, ``folder:PATH``, ``tfds:NAME``) and the train, eval and calibration pipelines."""

from compofa_tf.data.dataset import Data, load
from compofa_tf.data.normalization import Normalization

__all__ = ["Data", "Normalization", "load"]
