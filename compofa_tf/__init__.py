"""One trained network, the right model for every device: Compound Once-For-All networks for TensorFlow.

Importing this package does not import TensorFlow; the names that need it load it on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from compofa_tf._version import __version__

if TYPE_CHECKING:
    from compofa_tf import cost, deploy, families, latency, layers, losses, recipes, schedules
    from compofa_tf.arch import Arch
    from compofa_tf.deploy.artifact import Artifact
    from compofa_tf.deploy.export import export_tflite
    from compofa_tf.evaluation import evaluate
    from compofa_tf.interop.checkpoints import import_torch
    from compofa_tf.latency.benchmarking import BenchmarkRow, benchmark
    from compofa_tf.latency.table import LatencyTable
    from compofa_tf.recipe import Recipe
    from compofa_tf.reports import report
    from compofa_tf.search.accuracy import AccuracyTable
    from compofa_tf.search.front import Front
    from compofa_tf.search.searching import search
    from compofa_tf.space import Space
    from compofa_tf.subnet import extract
    from compofa_tf.supernet import Supernet
    from compofa_tf.training import train

_NAMES = {
    "AccuracyTable": "search.accuracy",
    "Arch": "arch",
    "Artifact": "deploy.artifact",
    "BenchmarkRow": "latency.benchmarking",
    "Front": "search.front",
    "LatencyTable": "latency.table",
    "Recipe": "recipe",
    "Space": "space",
    "Supernet": "supernet",
    "benchmark": "latency.benchmarking",
    "evaluate": "evaluation",
    "export_tflite": "deploy.export",
    "extract": "subnet",
    "import_torch": "interop.checkpoints",
    "report": "reports",
    "train": "training",
}
_MODULES = ("cost", "deploy", "families", "latency", "layers", "losses", "recipes", "schedules", "search")
"""``search`` is a module that can be called."""

__all__ = [
    "AccuracyTable",
    "Arch",
    "Artifact",
    "BenchmarkRow",
    "Front",
    "LatencyTable",
    "Recipe",
    "Space",
    "Supernet",
    "__version__",
    "benchmark",
    "cost",
    "deploy",
    "evaluate",
    "export_tflite",
    "extract",
    "families",
    "import_torch",
    "latency",
    "layers",
    "losses",
    "recipes",
    "report",
    "schedules",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use."""
    if name in _MODULES:
        return importlib.import_module(f"compofa_tf.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"compofa_tf.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'compofa_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Lists the public names, loaded or not."""
    return sorted(__all__)
