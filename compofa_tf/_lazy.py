"""What is loaded on first use, and by whom: the one table of imports that do not stand at the top of a module.

They keep light what only reads and searches: TensorFlow is imported when something needs it.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable
from typing import Any

FACES: dict[str, dict[str, str]] = {
    "": {
        "AccuracyTable": "accuracy.table:AccuracyTable",
        "Arch": "space.arch:Arch",
        "Artifact": "deploy.artifact:Artifact",
        "BenchmarkRow": "latency.benchmarking:BenchmarkRow",
        "Front": "searches.front:Front",
        "LatencyTable": "latency.table:LatencyTable",
        "Recipe": "recipes.recipe:Recipe",
        "Space": "space.space:Space",
        "Supernet": "nets.supernet:Supernet",
        "benchmark": "latency.benchmarking:benchmark",
        "cost": "space.cost",
        "deploy": "deploy",
        "evaluate": "accuracy.evaluation:evaluate",
        "export_tflite": "deploy.export:export_tflite",
        "extract": "nets.subnet:extract",
        "families": "families",
        "import_torch": "published.recognition:import_torch",
        "latency": "latency",
        "layers": "nets.layers",
        "losses": "training.losses",
        "recipes": "recipes",
        "report": "reports.page:report",
        "schedules": "training.schedules",
        "search": "searches.exact:search",
        "train": "training.loop:train",
    },
    "data": {
        "Data": "data.dataset:Data",
        "Normalization": "normalization:Normalization",
        "load": "data.loading:load",
    },
    "deploy": {
        "Artifact": "deploy.artifact:Artifact",
        "Runner": "deploy.runtime:Runner",
        "export_tflite": "deploy.export:export_tflite",
        "inspect": "deploy.flatbuffer:inspect",
        "lower": "deploy.lowering:lower",
    },
    "latency": {
        "BenchmarkRow": "latency.benchmarking:BenchmarkRow",
        "LatencyTable": "latency.table:LatencyTable",
        "benchmark": "latency.benchmarking:benchmark",
    },
}
"""Names of a package, each with ``module`` or ``module:name``: what ``import compofa_tf as ct`` offers first of all."""


LATER: dict[str, tuple[str, ...]] = {
    "accuracy.table": ("accuracy.measuring",),
    "cli.exporting": ("pipeline.exporting", "pipeline.extracting", "reports.page"),
    "cli.looking": (
        *("data.survey", "pipeline.classifying", "pipeline.run", "pipeline.status", "recipes", "space.cost"),
    ),
    "cli.measuring": ("latency.benchmarking", "pipeline.evaluating", "pipeline.measuring"),
    "cli.options": ("pipeline.run",),
    "cli.searching": ("pipeline.searching",),
    "cli.training": (
        "pipeline.demo",
        "pipeline.importing",
        "pipeline.run",
        "pipeline.training",
        "recipes",
        "recipes.recipe",
        "training.threads",
    ),
    "data.sources": ("data.tfds_images",),
    "latency.table": ("latency.measuring",),
    "pipeline.demo": ("pipeline.exporting", "pipeline.training"),
    "pipeline.run": ("data", "data.survey", "nets.subnet", "nets.supernet"),
    "published.recognition": ("nets.supernet",),
}
"""Modules that a light module loads inside a function, by the name of that module: ``later`` refuses all others."""


def later(importer: str, module: str) -> types.ModuleType:
    """Returns a module that is loaded now and not when the importing one was.

    Args:
      importer: ``__name__`` of the module that asks.
      module: One of those that ``LATER`` gives it, below ``compofa_tf``.
    """
    if module not in LATER.get(importer.partition(".")[2], ()):
        raise ImportError(f"Write {module!r} into LATER of compofa_tf/_lazy.py first. Received: importer={importer!r}")
    return importlib.import_module(f"compofa_tf.{module}")


def face(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Returns ``__getattr__``, ``__dir__`` and ``__all__`` of a package of ``FACES``."""
    names = FACES[package.partition(".")[2]]

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = names[name].partition(":")
        found = importlib.import_module(f"compofa_tf.{module}")
        return getattr(found, attribute) if attribute else found

    return find, lambda: sorted(names), sorted(names)
