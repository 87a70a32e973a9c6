"""Reading what a work directory holds, whatever commands have run: the material of a report. No TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.reports.records import value
from compofa_tf.reports.sidecars import Sidecar
from compofa_tf.searches.front import Front
from compofa_tf.training.metrics import read_lines
from compofa_tf.workdir import WorkDir

Read = TypeVar("Read")


@dataclass
class Material:
    """A work directory as read.

    Attributes:
      workdir: The directory.
      recipe: Content of ``recipe.json``; ``None`` where missing.
      supernet: Content of ``supernet/supernet.json``; ``None`` where missing.
      metrics: Records of ``metrics.jsonl``.
      accuracy: Contents of ``accuracy/*.json`` by file name.
      latency: Contents of ``latency/*.json`` by file name.
      fronts: Fronts of ``front*.json`` by file name.
      sidecars: What stands beside the exported models, fastest budget first.
      problems: One sentence per file that cannot be used.
    """

    workdir: WorkDir
    recipe: dict[str, Any] | None = None
    supernet: dict[str, Any] | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    accuracy: dict[str, dict[str, Any]] = field(default_factory=dict)
    latency: dict[str, dict[str, Any]] = field(default_factory=dict)
    fronts: dict[str, Front] = field(default_factory=dict)
    sidecars: list[Sidecar] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def imported(self) -> str | None:
        """Name of the checkpoint that the weights were imported from; None where they were trained here."""
        name = value(self.supernet, "imported_from")
        return None if name is None else str(name)


def read(workdir: str | os.PathLike[str]) -> Material:
    """Returns what is in a work directory; files that cannot be used become ``problems``.

    Raises:
      InputError: If there is no such directory.
    """
    root = Path(workdir)
    if not root.is_dir():
        raise InputError(f"There is no such work directory. Received: workdir={str(root)!r}")
    material, paths = Material(WorkDir(root)), WorkDir(root)
    material.recipe = next(iter(_contents(material, [paths.recipe_file], kind="recipe").values()), None)
    material.supernet = next(iter(_contents(material, [paths.supernet_file], kind="supernet").values()), None)
    material.accuracy = _contents(material, paths.accuracy_files, kind="accuracy_table")
    material.latency = _contents(material, paths.latency_files, kind="latency_table")
    material.fronts = _readable(material, paths.front_files, Front.load)
    sidecars = _contents(material, paths.sidecar_files, kind="artifact").values()
    material.sidecars = sorted((Sidecar(content) for content in sidecars), key=lambda sidecar: sidecar.order)
    for path, (records, bad) in _readable(material, [paths.metrics_file], read_lines).items():
        material.metrics = records
        if bad:
            lines = f"{bad} unreadable line{'s' if bad > 1 else ''}"
            material.problems.append(f"{root / path} has {lines}; the curves leave them out.")
    return material


def _contents(material: Material, paths: Sequence[Path], *, kind: str) -> dict[str, dict[str, Any]]:
    return _readable(material, paths, lambda path: files.read_json(path, kind=kind))


def _readable(material: Material, paths: Sequence[Path], reader: Callable[[Path], Read]) -> dict[str, Read]:
    """What can be read of files that exist, by their names in the work directory."""
    found = {}
    for path in (path for path in paths if path.exists()):
        try:
            found[path.relative_to(material.workdir.path).as_posix()] = reader(path)
        except (InputError, OSError) as error:
            material.problems.append(str(error))
    return found
