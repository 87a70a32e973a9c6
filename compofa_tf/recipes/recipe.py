"""A recipe: everything that decides a run, as frozen values with a JSON form and hashes. No TensorFlow."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.recipes import fields, printing
from compofa_tf.recipes.settings import (
    TEACHER,
    AccuracySettings,
    DataSettings,
    DeploySettings,
    LatencySettings,
    OptimizerSettings,
    PhaseSettings,
    SearchSettings,
    SpaceSettings,
    TeacherSettings,
)
from compofa_tf.workdir import WorkDir

_OF_TRAINING = ("space", "data", "teacher", "shrink", "train", "optimizer", "seed")
_NOT_OF_TRAINING = ("data.source", "data.max_bad_share", "data.cache")
"""Where the images lie, how many of them may be damaged (a checkpoint knows their number), and how they are held."""


@dataclass(frozen=True, repr=False)
class Recipe:
    """One reproducible setting, from the images to the exported files.

    Attributes:
      name: Name of the recipe.
      space: The family.
      data: Images and their preparation.
      teacher: Training of the largest network alone, first.
      train: Training of the whole family, last.
      shrink: Phases between ``teacher`` and ``train``, in order.
      optimizer: SGD settings, the same in every phase.
      accuracy: Accuracy table.
      latency: Latency table.
      search: Search.
      deploy: Export.
      seed: Seed of every random choice.
    """

    name: str
    space: SpaceSettings
    data: DataSettings
    teacher: TeacherSettings
    train: PhaseSettings
    shrink: tuple[PhaseSettings, ...] = ()
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    accuracy: AccuracySettings = field(default_factory=AccuracySettings)
    latency: LatencySettings = field(default_factory=LatencySettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    deploy: DeploySettings = field(default_factory=DeploySettings)
    seed: int = 0

    def __post_init__(self) -> None:
        """Rejects parts that contradict each other."""
        fields.check_fields(self)
        fields.require(self, "seed", 0 <= self.seed < 2**63, "a whole number from 0 to 2**63 - 1")
        trained = [phase.network == TEACHER for _, phase in self.phases]
        if trained != sorted(trained, reverse=True):
            names = [name for name, phase in self.phases if phase.network == TEACHER]
            raise InputError(
                "The teacher is trained before the family, for that starts from its weights. Received: "
                f"network={TEACHER!r} in {', '.join(names)}"
            )
        if not any(trained) and any(phase.kd_ratio > 0 for _, phase in self.phases):
            raise InputError(
                "Distillation needs a trained teacher: set teacher.epochs to at least 1, or every kd_ratio to 0. "
                f"Received: teacher.epochs={self.teacher.epochs}"
            )
        if self.search.precision not in self.latency.precisions:
            raise InputError(
                f"search.precision must be one of latency.precisions={self.latency.precisions}. "
                f"Received: search.precision={self.search.precision!r}"
            )

    @property
    def phases(self) -> tuple[tuple[str, PhaseSettings], ...]:
        """Name and settings of the phases in the order in which they run, those of 0 epochs left out."""
        shrink = [(f"shrink.{i}", phase) for i, phase in enumerate(self.shrink)]
        ordered = [("teacher", self.teacher), *shrink, ("train", self.train)]
        return tuple((name, phase) for name, phase in ordered if phase.epochs > 0)

    def __repr__(self) -> str:
        """Names the recipe and its hash."""
        return f"<Recipe {self.name} {self.hash}>"

    def __str__(self) -> str:
        """The settings as a table, a row per phase."""
        names = ("space", "data", "optimizer", "accuracy", "latency", "search", "deploy")
        parts = {name: getattr(self, name) for name in names}
        return f"{self.name}, recipe {self.hash}, seed {self.seed}\n{printing.table_of(self.phases, parts)}"

    @functools.cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that differ when any setting differs: what a file was made with."""
        return _digest(self.to_json())

    @functools.cached_property
    def training_hash(self) -> str:
        """16 hexadecimal digits that differ when a setting differs that decides the weights: whose a file is.

        Where the images lie and how weights are measured, searched and exported may change within a run.
        """
        content = {key: value for key, value in self.to_json().items() if key in _OF_TRAINING}
        for key in _NOT_OF_TRAINING:
            part, _, name = key.partition(".")
            content[part].pop(name)
        return _digest(content)

    def to_json(self) -> dict[str, Any]:
        """Returns nested JSON-serialisable mappings; tuples become lists."""
        return fields.to_json(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Recipe:
        """Inverse of ``to_json``.

        Raises:
          InputError: For an unknown key (near matches are named), a missing one, or a value of the wrong type.
        """
        return fields.build(cls, content, "")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the recipe as JSON, replacing the file."""
        files.write_json(path, {"recipe": self.to_json()}, kind="recipe", recipe_hash=self.hash)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Reads a recipe from a file of ``save``, or from the ``recipe.json`` of a work directory."""
        file = WorkDir(Path(path)).recipe_file if Path(path).is_dir() else Path(path)
        return cls.from_json(files.read_json(file, kind="recipe").get("recipe", {}))

    def override(self, assignments: Sequence[str]) -> Recipe:
        """Returns the recipe with some settings changed.

        Args:
          assignments: ``"key=value"`` texts, for example ``"train.epochs=2"``, ``"shrink.0.epochs=1"``,
            ``"data.resolutions=24,28,32"``, ``"accuracy.images=none"``. The annotation of the field decides how the
            value is read. All are applied together, the last one of equal keys counts.

        Raises:
          InputError: For an unknown key (near matches are named), a value of the wrong type (the expected type is
            named), or settings that contradict each other.
        """
        content = self.to_json()
        hints = {key: hint for key, hint, _ in fields.leaves(self)}
        for assignment in assignments:
            key, equals, text = (part.strip() for part in assignment.partition("="))
            if not equals:
                raise InputError(f"A setting is written key=value. Received: {assignment!r}")
            if key not in hints:
                raise InputError(fields.unknown(key, list(hints)))
            fields.assign(content, key, fields.parse(text, hints[key], key))
        return Recipe.from_json(content)

    def differences(self, other: Recipe, *, of_training: bool = False) -> list[str]:
        """Returns one readable line per setting in which ``other`` differs.

        Args:
          other: Another recipe.
          of_training: Only settings that decide the weights, those of ``training_hash``.
        """
        mine, theirs = ({key: value for key, _, value in fields.leaves(recipe)} for recipe in (self, other))
        keys = [key for key in dict.fromkeys([*mine, *theirs]) if not of_training or _decides_weights(key)]
        return [
            f"{key}: {mine.get(key, 'absent')!r} and {theirs.get(key, 'absent')!r}"
            for key in keys
            if key not in mine or key not in theirs or mine[key] != theirs[key]
        ]


def _decides_weights(key: str) -> bool:
    return key.partition(".")[0] in _OF_TRAINING and key not in _NOT_OF_TRAINING


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
