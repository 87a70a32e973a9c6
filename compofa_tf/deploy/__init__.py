"""From a plain Keras model to a verified ``.tflite`` file: lowering, export, inspection, execution.

Importing this package, ``deploy.flatbuffer`` and ``deploy.runtime`` does not import TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compofa_tf._lazy import face

if TYPE_CHECKING:
    from compofa_tf.deploy.artifact import Artifact as Artifact
    from compofa_tf.deploy.export import export_tflite as export_tflite
    from compofa_tf.deploy.flatbuffer import inspect as inspect
    from compofa_tf.deploy.lowering import lower as lower
    from compofa_tf.deploy.runtime import Runner as Runner

__getattr__, __dir__, __all__ = face(__name__)
