"""The settings of a recipe: frozen dataclasses that check themselves. No TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from compofa_tf import families
from compofa_tf.deploy.targets import INPUTS, PRECISIONS, SCORES
from compofa_tf.recipes import fields
from compofa_tf.space import Space

FAMILY, TEACHER = "family", "teacher"
"""What a phase may train."""


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
    widths: tuple[float, ...] = fields.later(())

    def __post_init__(self) -> None:
        """Checks types; the family checks the values."""
        fields.check_fields(self)

    def build(self, *, classes: int) -> Space:
        """Returns the space for this many classes."""
        chosen = dataclasses.asdict(self)
        family = chosen.pop("family")
        empty = [name for name in ("strides", "widths") if not chosen[name]]
        return families.get(family, **{k: v for k, v in chosen.items() if k not in empty}, classes=classes)


@dataclass(frozen=True)
class DataSettings:
    """Where the images come from and how they are prepared.

    Attributes:
      source: ``"digits"``, ``"folder:PATH"``, ``"csv:FILE"``, ``"images:PATH"`` (for calibration alone) or
        ``"tfds:NAME"``.
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
      test_fraction: Share held out to judge what was chosen, when the source has no test split; 0 for none.
      exif_orientation: Whether pictures are turned as viewers show them.
      layout: What outer folders are where names leave it open: ``"auto"``, ``"classes"`` or ``"splits"``.
      group_by: What stays on one side of an automatic split: ``"none"`` (each picture for itself), ``"folder"`` or
        ``"prefix"`` (pictures whose names differ in the number at the end).
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
    test_fraction: float = fields.later(0.0)
    exif_orientation: bool = fields.later(True)
    layout: str = fields.later("auto")
    group_by: str = fields.later("none")

    def __post_init__(self) -> None:
        """Rejects what no pipeline can do."""
        fields.check_fields(self)
        _resolutions(self)
        fields.require(self, "batch_size", self.batch_size >= 1, "at least 1")
        fields.require(self, "normalization", self.normalization in ("symmetric", "imagenet"), "symmetric or imagenet")
        fields.require(self, "min_scale", 0 < self.min_scale <= 1, "in (0, 1]")
        fields.require(self, "brightness", 0 <= self.brightness <= 1, "in [0, 1]")
        fields.require(self, "saturation", 0 <= self.saturation < 1, "in [0, 1)")
        fields.require(self, "val_fraction", 0 < self.val_fraction < 1, "in (0, 1)")
        fields.require(self, "max_bad_share", 0 <= self.max_bad_share <= 1, "in [0, 1]")
        fields.require(
            self, "test_fraction", 0 <= self.test_fraction < 1 - self.val_fraction, "in [0, 1 - val_fraction)"
        )
        fields.require(self, "layout", self.layout in ("auto", "classes", "splits"), "auto, classes or splits")
        fields.require(self, "group_by", self.group_by in ("none", "folder", "prefix"), "none, folder or prefix")


@dataclass(frozen=True)
class PhaseSettings:
    """One stretch of training with its own cosine schedule.

    Attributes:
      epochs: Passes over the training images, warm-up included; 0 leaves the phase out.
      learning_rate: Peak learning rate for 2048 images per step; it is scaled to the batch size.
      warmup_epochs: Epochs of linear warm-up at the start, fractions allowed.
      subnets: Subnets sampled per step; their gradients are summed.
      kd_ratio: Weight of the teacher's soft labels against the true ones; 0 trains without a teacher.
      depths: Depths that stages may take in this phase; empty: all of them.
      expands: Expand ratios that blocks may take, where depths do not decide them; empty: all of them.
      kernels: Kernel sides that blocks may take, where they are elastic; empty: all of them.
      sort_channels: How many expand ratios ``nets.channels.sort_channels`` skips before the first step: 0 sorts all
        middle channels of every block by importance, 1 those within the second-largest ratio only, and so on. None: not
        sorted.
      network: What is trained: ``"family"``, or ``"teacher"``, the largest network alone, from whose weights the family
        then starts.
    """

    epochs: int
    learning_rate: float
    warmup_epochs: float = 0.0
    subnets: int = 4
    kd_ratio: float = 1.0
    depths: tuple[int, ...] = ()
    expands: tuple[float, ...] = fields.later(())
    kernels: tuple[int, ...] = fields.later(())
    sort_channels: int | None = fields.later(None)
    network: str = fields.later(FAMILY)

    def __post_init__(self) -> None:
        """Rejects impossible schedules, and a teacher of which parts are sampled."""
        fields.check_fields(self)
        fields.require(self, "epochs", self.epochs >= 0, "at least 0")
        fields.require(self, "learning_rate", self.learning_rate > 0, "greater than 0")
        fields.require(
            self, "warmup_epochs", 0 <= self.warmup_epochs <= self.epochs, f"between 0 and epochs={self.epochs}"
        )
        fields.require(self, "subnets", self.subnets >= 1, "at least 1")
        fields.require(self, "kd_ratio", self.kd_ratio >= 0, "at least 0")
        fields.require(self, "depths", all(depth >= 0 for depth in self.depths), "at least 0")
        for name, values in (("expands", self.expands), ("kernels", self.kernels)):
            fields.require(self, name, all(value > 0 for value in values), "positive")
        fields.require(self, "sort_channels", self.sort_channels is None or self.sort_channels >= 0, "at least 0")
        fields.require(self, "network", self.network in (FAMILY, TEACHER), f"{FAMILY} or {TEACHER}")
        if self.network == TEACHER:
            alone = {"subnets": 1, "kd_ratio": 0, **dict.fromkeys(self.limits, ()), "sort_channels": None}
            for name, value in alone.items():
                expected = f"{'empty' if value == () else value} where the teacher, one whole network, is trained"
                fields.require(self, name, getattr(self, name) == value, expected)

    @property
    def limits(self) -> dict[str, tuple[Any, ...]]:
        """What the phase may sample, as keyword arguments of ``sampling.codes_at``."""
        return {"depths": self.depths, "expands": self.expands, "kernels": self.kernels}


@dataclass(frozen=True)
class TeacherSettings(PhaseSettings):
    """The stretch of training that makes the teacher: the largest network alone, one subnet and no distillation.

    Attributes:
      kernels: Kernel side of every block of the teacher; empty: as in the family. In a family with fixed kernels it may
        be the largest side that the family could have, 7; the family then starts from the centres of those kernels.
    """

    subnets: int = 1
    kd_ratio: float = 0.0
    network: str = fields.later(TEACHER)

    def __post_init__(self) -> None:
        """Rejects another network."""
        super().__post_init__()
        fields.require(self, "network", self.network == TEACHER, TEACHER)

    @property
    def limits(self) -> dict[str, tuple[Any, ...]]:
        """Nothing is sampled: the limits that must be empty. ``kernels`` is none of them here."""
        return {"depths": self.depths, "expands": self.expands}


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
    dropout: float = fields.later(0.0)

    def __post_init__(self) -> None:
        """Rejects values without meaning."""
        fields.check_fields(self)
        fields.require(self, "momentum", 0 <= self.momentum < 1, "in [0, 1)")
        fields.require(self, "weight_decay", self.weight_decay >= 0, "at least 0")
        fields.require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        fields.require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")


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
        fields.check_fields(self)
        _resolutions(self)
        fields.require(self, "images", self.images is None or self.images >= 1, "at least 1, or none for all")
        fields.require(self, "calibration_images", self.calibration_images >= 1, "at least 1")
        fields.require(self, "batch_size", self.batch_size >= 1, "at least 1")


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
        fields.check_fields(self)
        _precisions(self)
        for name in ("threads", "runs", "repeats"):
            fields.require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("warmup", "validate"):
            fields.require(self, name, getattr(self, name) >= 0, "at least 0")


OBJECTIVES = ("top1", "balanced")
"""What a search can make as large as possible: top-1 or balanced accuracy."""


@dataclass(frozen=True)
class SearchSettings:
    """What the search looks for.

    Attributes:
      budgets_ms: Latency budgets; empty: three spread over the reachable range.
      precision: Precision whose latency counts.
      objective: What is to be as large as it can be: ``"top1"``, or ``"balanced"``, the mean recall of the classes.
    """

    budgets_ms: tuple[float, ...] = ()
    precision: str = "int8"
    objective: str = fields.later("top1")

    def __post_init__(self) -> None:
        """Rejects budgets that nothing can meet."""
        fields.check_fields(self)
        fields.require(self, "budgets_ms", all(budget > 0 for budget in self.budgets_ms), "positive")
        fields.require(self, "precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        fields.require(self, "objective", self.objective in OBJECTIVES, f"one of {', '.join(OBJECTIVES)}")


@dataclass(frozen=True)
class DeploySettings:
    """What is exported for each budget.

    Attributes:
      precisions: Precisions of the ``.tflite`` files.
      calibration_images: Training images that set the quantization ranges.
      tries: Candidates tried when the measured latency breaks the budget.
      io: Data type of input and output, a key of ``deploy.targets.INPUTS``, of the precisions that have it; ``None``:
        float32, for models of the Edge TPU profile int8.
      scores: ``"probabilities"`` or ``"logits"``; ``None``: probabilities, with int8 of the Edge TPU profile logits.
    """

    precisions: tuple[str, ...] = ("float32", "int8")
    calibration_images: int = 500
    tries: int = 3
    io: str | None = fields.later(None)
    scores: str | None = fields.later(None)

    def __post_init__(self) -> None:
        """Rejects unknown precisions and empty counts."""
        fields.check_fields(self)
        _precisions(self)
        fields.require(self, "calibration_images", self.calibration_images >= 1, "at least 1")
        fields.require(self, "tries", self.tries >= 1, "at least 1")
        for name, known in (("io", tuple(INPUTS)), ("scores", SCORES)):
            chosen = getattr(self, name)
            fields.require(self, name, chosen is None or chosen in known, f"one of {', '.join(known)}")


def _resolutions(chosen: DataSettings | AccuracySettings) -> None:
    sides = chosen.resolutions
    holds = bool(sides) and all(side >= 8 for side in sides) and len(set(sides)) == len(sides)
    fields.require(chosen, "resolutions", holds, "one or more different sides of at least 8 pixels")


def _precisions(chosen: LatencySettings | DeploySettings) -> None:
    holds = bool(chosen.precisions) and set(chosen.precisions) <= set(PRECISIONS)
    fields.require(chosen, "precisions", holds, f"some of {', '.join(PRECISIONS)}")
