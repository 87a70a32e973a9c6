"""One trained network, the right model for every device: Compound Once-For-All networks for TensorFlow.

Importing this package does not import TensorFlow; the names that need it load it on first use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compofa_tf._lazy import face
from compofa_tf._version import __version__ as __version__

if TYPE_CHECKING:
    from compofa_tf import deploy as deploy
    from compofa_tf import families as families
    from compofa_tf import latency as latency
    from compofa_tf import recipes as recipes
    from compofa_tf.accuracy.evaluation import evaluate as evaluate
    from compofa_tf.accuracy.table import AccuracyTable as AccuracyTable
    from compofa_tf.deploy.artifact import Artifact as Artifact
    from compofa_tf.deploy.export import export_tflite as export_tflite
    from compofa_tf.latency.benchmarking import BenchmarkRow as BenchmarkRow
    from compofa_tf.latency.benchmarking import benchmark as benchmark
    from compofa_tf.latency.table import LatencyTable as LatencyTable
    from compofa_tf.nets import layers as layers
    from compofa_tf.nets.subnet import extract as extract
    from compofa_tf.nets.supernet import Supernet as Supernet
    from compofa_tf.published.recognition import import_torch as import_torch
    from compofa_tf.recipes.recipe import Recipe as Recipe
    from compofa_tf.reports.page import report as report
    from compofa_tf.searches.exact import search as search
    from compofa_tf.searches.front import Front as Front
    from compofa_tf.space import cost as cost
    from compofa_tf.space.arch import Arch as Arch
    from compofa_tf.space.space import Space as Space
    from compofa_tf.training import losses as losses
    from compofa_tf.training import schedules as schedules
    from compofa_tf.training.loop import train as train

# Before anything imports Keras: ~/.keras/keras.json may name another backend. What the environment says is kept.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

__getattr__, __dir__, __all__ = face(__name__)
__all__ += ["__version__"]
