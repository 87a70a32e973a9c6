"""From a plain Keras model to a verified ``.tflite`` file: lowering, export, inspection, execution.

Importing this package, ``deploy.flatbuffer`` and ``deploy.runtime`` does not import TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compofa_tf.deploy.export import Artifact, export_tflite
    from compofa_tf.deploy.flatbuffer import inspect
    from compofa_tf.deploy.lowering import lower
    from compofa_tf.deploy.runtime import Runner

_NAMES = {
    "Artifact": "export",
    "Runner": "runtime",
    "export_tflite": "export",
    "inspect": "flatbuffer",
    "lower": "lowering",
}

__all__ = ["Artifact", "Runner", "export_tflite", "inspect", "lower"]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use."""
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
