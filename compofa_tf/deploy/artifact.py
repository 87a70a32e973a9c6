"""An exported model and the record that travels beside it. No TensorFlow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compofa_tf import files
from compofa_tf.deploy.agreement import Agreement
from compofa_tf.errors import InputError

OWN_FIELDS = (
    *("file", "precision", "profile", "size_bytes", "sha256", "ends", "input", "output", "operations", "agreement"),
    *("fully_integer", "fully_accelerated", "calibration_images"),
)
"""What describes the exported file itself, and only an export may decide."""


@dataclass(frozen=True)
class Artifact:
    """An exported model: the ``.tflite`` file and the record that its sidecar ``<path>.json`` holds.

    Usable wherever a path is (``open(artifact)``).

    Attributes:
      path: The ``.tflite`` file.
      record: Content of the sidecar: the metadata given at export, and ``file``, ``precision``, ``profile``,
        ``size_bytes``, ``sha256``, ``calibration_images``, ``ends`` (``deploy.ends``), ``input`` and ``output`` (name,
        shape, dtype, scale, zero_point), ``operations`` (name -> count), ``agreement`` of its logits with those of the
        Keras model, ``fully_integer``, ``fully_accelerated`` (by LiteRT's CPU back end), ``accuracy`` and ``latency``
        (None until ``update``).
    """

    path: Path
    record: dict[str, Any]

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def sidecar(self) -> Path:
        """Path of the JSON beside the model."""
        return sidecar_of(self.path)

    @property
    def precision(self) -> str:
        """One of ``targets.PRECISIONS``."""
        return str(self.record["precision"])

    @property
    def sha256(self) -> str:
        """Of the ``.tflite`` file, 64 hexadecimal digits."""
        return str(self.record["sha256"])

    @property
    def operations(self) -> dict[str, int]:
        """Operation name -> count."""
        return dict(self.record["operations"])

    @property
    def agreement(self) -> Agreement:
        """How well the file agreed with its Keras model at export."""
        return Agreement.from_json(self.record["agreement"])

    @property
    def accuracy(self) -> dict[str, Any] | None:
        """What ``update(accuracy=...)`` stored."""
        return self.record["accuracy"]

    @property
    def latency(self) -> dict[str, Any] | None:
        """What ``update(latency=...)`` stored: ``predicted_ms`` and ``measured``."""
        return self.record["latency"]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Artifact:
        """Opens an exported model.

        Raises:
          InputError: If the model or its sidecar is missing or unreadable, or they do not belong together.
        """
        model = Path(path)
        if not model.is_file():
            raise InputError(f"{model} does not exist; give the path of an exported .tflite file.")
        record = files.read_json(sidecar_of(model), kind="artifact")
        if record.get("sha256") != files.sha256(model):
            raise InputError(
                f"{model} is not the file that {sidecar_of(model).name} describes (SHA-256 differs); export it again."
            )
        return cls(model, record)

    def update(self, **fields: Any) -> None:
        """Adds measured facts to the record and rewrites the sidecar atomically.

        Args:
          **fields: For example ``accuracy={"top1": ..., "count": ...}`` or ``latency={"predicted_ms": ...,
            "measured": ...}``; JSON-serialisable. A present field is replaced.

        Raises:
          InputError: If a field is one of those that describe the file itself.
        """
        fixed = [name for name in fields if name in OWN_FIELDS]
        if fixed:
            raise InputError(f"{', '.join(fixed)} describe the exported file and cannot be changed; export it again.")
        self.record.update(fields)
        self.write()

    def write(self) -> None:
        """Writes the record to the sidecar."""
        files.write_json(self.sidecar, self.record, kind="artifact", recipe_hash=self.record.get("recipe_hash"))
        self.record.update(files.read_json(self.sidecar, kind="artifact"))


def sidecar_of(path: str | os.PathLike[str]) -> Path:
    """Returns ``<path>.json``."""
    return Path(f"{os.fspath(path)}.json")
