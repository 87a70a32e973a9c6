"""A recipe: everything that decides a run, as frozen values with a JSON form and a hash. No TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa_tf import files, settings
from compofa_tf.errors import InputError

if TYPE_CHECKING:
    from compofa_tf.space import Space

PRECISIONS = ("float32", "float16", "dynamic", "int8")


@dataclass(frozen=True)
class SpaceSettings:
    """Which family is trained; the number of classes comes from the data.

    Attributes:
      family: Name of the family, see ``compofa_tf.families``.
      width_mult: Multiplies every width.
      kernel: ``"fixed"`` or ``"elastic"``.
      coupling: ``"compound"`` or ``"independent"``.
      profile: ``"mobile"`` or ``"edgetpu"``.
      input_size: Side of the images that the strides suit: 224, 64 or 32.
      strides: Strides of the stem and the stages; empty: those of ``input_size``.
      widths: Shares of the full width that a stage may have, in families with elastic widths; empty: the family's.
    """

    family: str = "mobilenet_v3"
    width_mult: float = 1.0
    kernel: str = "fixed"
    coupling: str = "compound"
    profile: str = "mobile"
    input_size: int = 224
    strides: tuple[int, ...] = ()
    widths: tuple[float, ...] = settings.later(())

    def __post_init__(self) -> None:
        """Checks types; the family checks the values."""
        settings.normalise(self)

    def build(self, *, classes: int) -> Space:
        """Returns the space for this many classes."""
        from compofa_tf import families

        chosen = dataclasses.asdict(self)
        family = chosen.pop("family")
        empty = [name for name in ("strides", "widths") if not chosen[name]]
        return families.get(family, **{k: v for k, v in chosen.items() if k not in empty}, classes=classes)


@dataclass(frozen=True)
class DataSettings:
    """Where the images come from and how they are prepared.

    Attributes:
      source: ``"digits"``, ``"folder:PATH"``, ``"images:PATH"`` (for calibration alone) or ``"tfds:NAME"``.
      resolutions: Sides in pixels; each training batch takes one of them.
      batch_size: Images per step, over all replicas.
      normalization: ``"symmetric"`` (to [-1, 1]) or ``"imagenet"``.
      min_scale: Smallest share of the area that a random crop keeps.
      flip: Whether images are mirrored at random; off where left and right matter.
      brightness: Largest relative change of brightness.
      saturation: Largest relative change of saturation.
      val_fraction: Share held out for validation when the source has no split of its own.
      max_bad_share: Share of undecodable images up to which they are skipped.
      cache: Whether decoded images may be kept in memory.
    """

    source: str = "digits"
    resolutions: tuple[int, ...] = (128, 160, 192, 224)
    batch_size: int = 64
    normalization: str = "symmetric"
    min_scale: float = 0.08
    flip: bool = True
    brightness: float = 32 / 255
    saturation: float = 0.5
    val_fraction: float = 0.1
    max_bad_share: float = 0.01
    cache: bool = True

    def __post_init__(self) -> None:
        """Rejects what no pipeline can do."""
        settings.normalise(self)
        _resolutions(self)
        settings.require(self, "batch_size", self.batch_size >= 1, "at least 1")
        settings.require(
            self, "normalization", self.normalization in ("symmetric", "imagenet"), "symmetric or imagenet"
        )
        settings.require(self, "min_scale", 0 < self.min_scale <= 1, "in (0, 1]")
        settings.require(self, "brightness", 0 <= self.brightness <= 1, "in [0, 1]")
        settings.require(self, "saturation", 0 <= self.saturation < 1, "in [0, 1)")
        settings.require(self, "val_fraction", 0 < self.val_fraction < 1, "in (0, 1)")
        settings.require(self, "max_bad_share", 0 <= self.max_bad_share <= 1, "in [0, 1]")


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own cosine schedule.

    Attributes:
      epochs: Passes over the training images, warm-up included; 0 leaves the phase out.
      learning_rate: Peak learning rate for 2048 images per step; it is scaled to the batch size.
      warmup_epochs: Epochs of linear warm-up at the start, fractions allowed.
      subnets: Subnets sampled per step; their gradients are summed.
      kd_ratio: Weight of the teacher's soft labels against the true ones; 0 trains without a teacher.
      depths: Depths that stages may take in this phase; empty: all of them.
      expands: Expand ratios that blocks may take, where depths do not decide them; empty: all of them.
      kernels: Kernel sides that blocks may take, where they are elastic; empty: all of them. In the teacher phase of a
        family with fixed kernels: the largest side that the family could have, 7, for a teacher with such kernels in
        every block; the family then starts from their centres.
      sort_channels: Stage of ``reorganize.sort_channels`` before the first step: 0 sorts all middle channels of every
        block by importance, 1 those within the second-largest expand ratio only, and so on. None: not sorted.
    """

    epochs: int
    learning_rate: float
    warmup_epochs: float = 0.0
    subnets: int = 4
    kd_ratio: float = 1.0
    depths: tuple[int, ...] = ()
    expands: tuple[float, ...] = settings.later(())
    kernels: tuple[int, ...] = settings.later(())
    sort_channels: int | None = settings.later(None)

    def __post_init__(self) -> None:
        """Rejects impossible schedules."""
        settings.normalise(self)
        settings.require(self, "epochs", self.epochs >= 0, "at least 0")
        settings.require(self, "learning_rate", self.learning_rate > 0, "greater than 0")
        settings.require(
            self, "warmup_epochs", 0 <= self.warmup_epochs <= self.epochs, f"between 0 and epochs={self.epochs}"
        )
        settings.require(self, "subnets", self.subnets >= 1, "at least 1")
        settings.require(self, "kd_ratio", self.kd_ratio >= 0, "at least 0")
        settings.require(self, "depths", all(depth >= 0 for depth in self.depths), "at least 0")
        for name, values in (("expands", self.expands), ("kernels", self.kernels)):
            settings.require(self, name, all(value > 0 for value in values), "positive")
        settings.require(self, "sort_channels", self.sort_channels is None or self.sort_channels >= 0, "at least 0")

    @property
    def limits(self) -> dict[str, tuple[Any, ...]]:
        """What the phase may sample, as keyword arguments of ``sampling.codes_at``."""
        return {"depths": self.depths, "expands": self.expands, "kernels": self.kernels}


@dataclass(frozen=True)
class OptimizerSettings:
    """SGD with Nesterov momentum, and what keeps networks from learning the images by heart.

    Attributes:
      momentum: Share of the velocity that each step keeps.
      weight_decay: Factor of the L2 term that is added to the gradient of kernels (not of biases or batch norm).
      label_smoothing: Share of the label that is spread over all classes, the true one included.
      dropout: Share of the classifier's inputs that are left out while a network learns.
    """

    momentum: float = 0.9
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    dropout: float = settings.later(0.0)

    def __post_init__(self) -> None:
        """Rejects values without meaning."""
        settings.normalise(self)
        settings.require(self, "momentum", 0 <= self.momentum < 1, "in [0, 1)")
        settings.require(self, "weight_decay", self.weight_decay >= 0, "at least 0")
        settings.require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        settings.require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")


@dataclass(frozen=True)
class AccuracySettings:
    """How the accuracy table is measured.

    Attributes:
      resolutions: Sides at which every subnet is evaluated.
      images: Validation images used; ``None`` takes all.
      calibration_images: Training images that set the batch-norm statistics of each subnet.
      batch_size: Images per forward pass.
    """

    resolutions: tuple[int, ...] = (160, 176, 192, 208, 224)
    images: int | None = None
    calibration_images: int = 2048
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Rejects impossible counts."""
        settings.normalise(self)
        _resolutions(self)
        settings.require(self, "images", self.images is None or self.images >= 1, "at least 1, or none for all")
        settings.require(self, "calibration_images", self.calibration_images >= 1, "at least 1")
        settings.require(self, "batch_size", self.batch_size >= 1, "at least 1")


@dataclass(frozen=True)
class LatencySettings:
    """How the latency table is measured, at the resolutions of the accuracy table.

    Attributes:
      precisions: Precisions that are measured.
      threads: Threads of the runtime.
      device: ``"host"`` or a device file.
      runs: Timed runs per repeat.
      warmup: Runs before timing starts.
      repeats: Times that every piece is measured, interleaved with the others.
      validate: Whole subnets measured to check the table's predictions.
    """

    precisions: tuple[str, ...] = ("float32", "int8")
    threads: int = 1
    device: str = "host"
    runs: int = 50
    warmup: int = 10
    repeats: int = 3
    validate: int = 20

    def __post_init__(self) -> None:
        """Rejects impossible measurements."""
        settings.normalise(self)
        _precisions(self)
        for name in ("threads", "runs", "repeats"):
            settings.require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("warmup", "validate"):
            settings.require(self, name, getattr(self, name) >= 0, "at least 0")


@dataclass(frozen=True)
class SearchSettings:
    """What the search looks for.

    Attributes:
      budgets_ms: Latency budgets; empty: three spread over the reachable range.
      precision: Precision whose latency counts.
    """

    budgets_ms: tuple[float, ...] = ()
    precision: str = "int8"

    def __post_init__(self) -> None:
        """Rejects budgets that nothing can meet."""
        settings.normalise(self)
        settings.require(self, "budgets_ms", all(budget > 0 for budget in self.budgets_ms), "positive")
        settings.require(self, "precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class DeploySettings:
    """What is exported for each budget.

    Attributes:
      precisions: Precisions of the ``.tflite`` files.
      calibration_images: Training images that set the quantization ranges.
      tries: Candidates tried when the measured latency breaks the budget.
    """

    precisions: tuple[str, ...] = ("float32", "int8")
    calibration_images: int = 500
    tries: int = 3

    def __post_init__(self) -> None:
        """Rejects unknown precisions and empty counts."""
        settings.normalise(self)
        _precisions(self)
        settings.require(self, "calibration_images", self.calibration_images >= 1, "at least 1")
        settings.require(self, "tries", self.tries >= 1, "at least 1")


@dataclass(frozen=True)
class Recipe:
    """One reproducible setting, from the images to the exported files.

    Attributes:
      name: Name of the recipe.
      space: The family.
      data: Images and their preparation.
      teacher: Training of the largest network alone: one subnet, no distillation.
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
    teacher: Phase
    train: Phase
    shrink: tuple[Phase, ...] = ()
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    accuracy: AccuracySettings = field(default_factory=AccuracySettings)
    latency: LatencySettings = field(default_factory=LatencySettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    deploy: DeploySettings = field(default_factory=DeploySettings)
    seed: int = 0

    def __post_init__(self) -> None:
        """Rejects parts that contradict each other."""
        settings.normalise(self)
        settings.require(self, "seed", 0 <= self.seed < 2**63, "a whole number from 0 to 2**63 - 1")
        if self.teacher.subnets != 1 or self.teacher.kd_ratio != 0:
            raise InputError(
                "The teacher phase trains one subnet without distillation. "
                f"Received: teacher.subnets={self.teacher.subnets}, teacher.kd_ratio={self.teacher.kd_ratio}"
            )
        if self.teacher.epochs == 0 and any(phase.kd_ratio > 0 for _, phase in self.phases):
            raise InputError(
                "Distillation needs a trained teacher: set teacher.epochs to at least 1, or every kd_ratio to 0. "
                "Received: teacher.epochs=0"
            )
        if self.search.precision not in self.latency.precisions:
            raise InputError(
                f"search.precision must be one of latency.precisions={self.latency.precisions}. "
                f"Received: search.precision={self.search.precision!r}"
            )

    @property
    def phases(self) -> tuple[tuple[str, Phase], ...]:
        """Name and settings of the phases in the order in which they run, those of 0 epochs left out."""
        shrink = [(f"shrink.{i}", phase) for i, phase in enumerate(self.shrink)]
        ordered = [("teacher", self.teacher), *shrink, ("train", self.train)]
        return tuple((name, phase) for name, phase in ordered if phase.epochs > 0)

    @functools.cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that differ when any setting differs."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Returns nested JSON-serialisable mappings; tuples become lists."""
        return settings.to_json(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Recipe:
        """Inverse of ``to_json``.

        Raises:
          InputError: For an unknown key (near matches are named), a missing one, or a value of the wrong type.
        """
        return settings.build(cls, content, "")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the recipe as JSON, replacing the file."""
        files.write_json(path, {"recipe": self.to_json()}, kind="recipe", recipe_hash=self.hash)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Reads a recipe from a file of ``save``, or from the ``recipe.json`` of a work directory."""
        file = Path(path) / "recipe.json" if Path(path).is_dir() else Path(path)
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
        hints = {key: hint for key, hint, _ in settings.leaves(self)}
        for assignment in assignments:
            key, equals, text = (part.strip() for part in assignment.partition("="))
            if not equals:
                raise InputError(f"A setting is written key=value. Received: {assignment!r}")
            if key not in hints:
                raise InputError(settings.unknown(key, list(hints)))
            settings.assign(content, key, settings.parse(text, hints[key], key))
        return Recipe.from_json(content)

    def differences(self, other: Recipe) -> list[str]:
        """Returns one readable line per setting in which ``other`` differs."""
        mine, theirs = ({key: value for key, _, value in settings.leaves(recipe)} for recipe in (self, other))
        keys = list(dict.fromkeys([*mine, *theirs]))
        return [
            f"{key}: {mine.get(key, 'absent')!r} and {theirs.get(key, 'absent')!r}"
            for key in keys
            if key not in mine or key not in theirs or mine[key] != theirs[key]
        ]


def _resolutions(chosen: DataSettings | AccuracySettings) -> None:
    sides = chosen.resolutions
    holds = bool(sides) and all(side >= 8 for side in sides) and len(set(sides)) == len(sides)
    settings.require(chosen, "resolutions", holds, "one or more different sides of at least 8 pixels")


def _precisions(chosen: LatencySettings | DeploySettings) -> None:
    holds = bool(chosen.precisions) and set(chosen.precisions) <= set(PRECISIONS)
    settings.require(chosen, "precisions", holds, f"some of {', '.join(PRECISIONS)}")
