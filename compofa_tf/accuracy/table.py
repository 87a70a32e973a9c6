"""Measured accuracies of the subnets of a space: what the search reads. No TensorFlow until ``measure``."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compofa_tf import families, files
from compofa_tf._lazy import later
from compofa_tf.accuracy.answers import Answers, beside
from compofa_tf.accuracy.per_class import balanced_accuracy
from compofa_tf.errors import InputError
from compofa_tf.progress import progress_bar, say
from compofa_tf.space import Arch, Space
from compofa_tf.statistics import wilson_interval

KIND = "accuracy_table"

MOST_MEASURED = 100_000
"""Subnets of a space that may be measured one and all; of a larger space a sample is."""

SAME_SHARES, EQUAL_CLASSES = "same class shares", "equal classes"
"""How ``images`` of all pictures are drawn, and how tables before version 3 may have drawn them."""

_OWNED_BY = ("data", "role", "images", "sample", "calibration_images", "precision", "device", "training_hash")
"""Attributes under which alone a table may be continued."""

_SAVED_EVERY_S = 20.0


@dataclass(frozen=True)
class AccuracyRecord:
    """Accuracy of one subnet at one resolution.

    Attributes:
      arch: The subnet, resolution included.
      top1: Share of images whose label came first, in [0, 1].
      top5: Share of images whose label was among the first five, in [0, 1].
      count: Images that were looked at.
      balanced: Balanced accuracy, the mean recall of the classes, in [0, 1]; None where it is not known.
    """

    arch: Arch
    top1: float
    top5: float
    count: int
    balanced: float | None = None

    def __post_init__(self) -> None:
        """Rejects shares outside [0, 1] and a count that is no whole number of at least 1."""
        shares = (("top1", self.top1), ("top5", self.top5), ("balanced", self.balanced))
        for name, value in shares[: 2 if self.balanced is None else 3]:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InputError(f"An accuracy is a share in [0, 1]. Received: {name}={value!r}")
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise InputError(f"An accuracy needs at least one image. Received: count={self.count!r}")

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of ``top1`` (``wilson_interval``)."""
        return wilson_interval(self.top1, self.count)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of ``top1``."""
        return self.interval[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval of ``top1``."""
        return self.interval[1]


@dataclass(eq=False)
class AccuracyTable(Mapping[str, AccuracyRecord]):
    """Accuracies of subnets, by id: a read-only mapping ``id -> AccuracyRecord`` that ``add`` extends.

    ``table["r192-d23423"].top1``, ``for id, record in table.items()``. Everything that the numbers depend on is in the
    header, and a file is only continued where that is the same.

    Attributes:
      space: The space.
      data: Name of the data set.
      role: Which of its pictures the accuracies are of: ``"val"``, those that choose.
      images: Images per subnet; ``None`` stands for all of that role.
      sample: How they are drawn, where not all are taken.
      available: How many pictures of that role there are; None where nobody knows.
      precision: Precision of the arithmetic: ``"float32"``, that of the supernet.
      device: What computed the answers: ``"host"``, the machine that the supernet was on.
      calibration_images: Training images behind the batch-norm statistics of each subnet.
      resolutions: Resolutions that are to be covered, ascending.
      recipe_hash: ``Recipe.hash`` of the run that measured last, if any: where the numbers come from.
      training_hash: ``Recipe.training_hash`` of the training that the weights come from, if any.
    """

    space: Space
    data: str
    role: str = "val"
    images: int | None = None
    calibration_images: int = 2048
    resolutions: tuple[int, ...] = ()
    recipe_hash: str | None = None
    training_hash: str | None = None
    sample: str = SAME_SHARES
    available: int | None = None
    precision: str = "float32"
    device: str = "host"

    def __post_init__(self) -> None:
        """Starts with no records."""
        self.resolutions = tuple(sorted({int(resolution) for resolution in self.resolutions}))
        self._records: dict[str, AccuracyRecord] = {}

    def __getitem__(self, name: str) -> AccuracyRecord:
        """Returns the record of an id."""
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the ids in the order in which they were added."""
        return iter(self._records)

    def __len__(self) -> int:
        """Number of subnets with a record, each resolution counted."""
        return len(self._records)

    def __repr__(self) -> str:
        """Says how much is covered, and of what."""
        return f"<AccuracyTable of {self.data}/{self.role}: {len(self)} of {self.total} subnets, {self.space!r}>"

    @property
    def total(self) -> int:
        """Archs of the space times resolutions: the length of the complete table."""
        return self.space.size * len(self.resolutions)

    def add(self, record: AccuracyRecord) -> None:
        """Adds a record, or replaces that of the same subnet; raises ``InputError`` for a subnet of another space."""
        self._records[self.space.id(record.arch)] = record
        if record.arch.resolution not in self.resolutions:
            self.resolutions = tuple(sorted((*self.resolutions, record.arch.resolution)))

    def missing(self, archs: Iterable[Arch]) -> list[Arch]:
        """Returns those of ``archs`` that have no record, in their order."""
        known = {record.arch for record in self._records.values()}
        return [arch for arch in archs if arch not in known]

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable mapping: the header and, by id, accuracies, count and the 95 % interval."""
        records = {
            name: {
                "top1": r.top1,
                "top5": r.top5,
                "balanced": r.balanced,
                "count": r.count,
                "low": r.low,
                "high": r.high,
            }
            for name, r in self._records.items()
        }
        return {**self._header(), "covered": {"measured": len(self), "of": self.total}, "records": records}

    def _header(self) -> dict[str, Any]:
        return {
            "space": self.space.to_json(),
            "fingerprint": self.space.fingerprint,
            **self.pictures,
            "figures": "measured",
            "calibration_images": self.calibration_images,
            "training_hash": self.training_hash,
            "resolutions": list(self.resolutions),
        }

    @property
    def pictures(self) -> dict[str, Any]:
        """What the accuracies are of: pictures, and on what they were answered; JSON-serialisable."""
        names = ("data", "role", "images", "available", "sample", "precision", "device")
        return {name: getattr(self, name) for name in names}

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Writes the table atomically: ``path`` holds the old table or the whole new one, never a part."""
        files.write_json(path, self.to_json(), kind=KIND, recipe_hash=self.recipe_hash, overwrite=overwrite)

    def _save_with(self, answers: Answers | None, path: str | os.PathLike[str]) -> None:
        """Writes first which pictures were answered rightly, then the table: what the table has, the answers have."""
        if answers is not None:
            answers.save(beside(path))
        self.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, space: Space | None = None) -> AccuracyTable:
        """Reads a file of ``save``.

        Args:
          path: The file.
          space: The space that it must be of, if given.

        Raises:
          InputError: If the file is missing, truncated, no accuracy table, damaged, or of another space.
        """
        content = files.read_json(path, kind=KIND)
        with files.interpreted(path, again="measure again without it"):
            own = families.space_in(content, expected=space, again="measure this space first")
            content = _of_today(content)
            names = (*_OWNED_BY, "available", "resolutions", "recipe_hash")
            table = cls(space=own, **{name: content[name] for name in names})
            for name, row in content["records"].items():
                shares = (row["top1"], row["top5"], row["count"], row.get("balanced"))
                table._records[name] = AccuracyRecord(own.parse(name), *shares)
        return table

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        space: Space,
        data: str,
        role: str = "val",
        images: int | None = None,
        calibration_images: int = 2048,
        resolutions: Sequence[int] = (),
        recipe_hash: str | None = None,
        training_hash: str | None = None,
    ) -> AccuracyTable:
        """Returns the table of ``path`` to be continued, or an empty one if there is no such file.

        Args:
          path: File of an earlier, perhaps interrupted measurement; ``None`` starts anew.
          space: The space.
          data: As the attribute.
          role: As the attribute.
          images: As the attribute.
          calibration_images: As the attribute.
          resolutions: Resolutions to cover; those of the file are kept.
          recipe_hash: As the attribute; takes the place of that of the file.
          training_hash: As the attribute.

        Raises:
          InputError: If the file is damaged or its numbers depend on something else; it is left as it is.
        """
        fresh = cls(space, data, role, images, calibration_images, tuple(resolutions), recipe_hash, training_hash)
        if path is None or not Path(path).exists():
            return fresh
        table = cls.load(path, space=space)
        for name in _OWNED_BY:
            found, wanted = getattr(table, name), getattr(fresh, name)
            if found != wanted:
                raise InputError(
                    f"{path} was measured with another setting and cannot be continued; delete it or use another work "
                    f"directory. Received: {name}={wanted!r} where the file has {found!r}"
                )
        table.recipe_hash = recipe_hash
        table.resolutions = tuple(sorted({*table.resolutions, *fresh.resolutions}))
        return table

    @classmethod
    def measure(
        cls,
        net: Any,
        *,
        data: Any,
        archs: Iterable[Arch] | None = None,
        resolutions: Sequence[int] | None = None,
        images: int | None = None,
        calibration_images: int = 2048,
        batch_size: int = 250,
        path: str | os.PathLike[str] | None = None,
        recipe_hash: str | None = None,
        training_hash: str | None = None,
        progress: bool = True,
    ) -> AccuracyTable:
        """Calibrates and evaluates subnets of a trained supernet on the validation images.

        Args:
          net: The ``Supernet``.
          data: The ``Data`` (``compofa_tf.data.load``).
          archs: Subnets to measure; all of the space at all ``resolutions`` when absent.
          resolutions: Resolutions for ``archs=None``.
          images: Validation images per subnet; all when absent.
          calibration_images: Training images for the batch-norm statistics of each subnet; 0 uses the stored ones.
          batch_size: Images per step.
          path: File that is written as the work goes on and continued if it exists.
          recipe_hash: ``Recipe.hash`` of the run, recorded in the file.
          training_hash: ``Recipe.training_hash`` of the run; a file of another training is not continued.
          progress: Whether to show a progress bar.

        Returns:
          The table, with all of ``archs`` and whatever else the file already had.

        Raises:
          InputError: If the file cannot be continued (``resume``), or the space is too large to be measured outright.
        """
        table = cls.resume(
            path,
            space=net.space,
            data=data.name,
            images=images,
            calibration_images=calibration_images,
            resolutions=resolutions or (),
            recipe_hash=recipe_hash,
            training_hash=training_hash,
        )
        wanted = list(dict.fromkeys(_all_of(net.space, resolutions) if archs is None else archs))
        todo = table.missing(wanted)
        measured = later(__name__, "accuracy.measuring").measure(
            net, todo, data, images=images, calibration_images=calibration_images, batch_size=batch_size
        )
        answers, labels = _answers_beside(path), None
        with progress_bar(total=len(wanted), initial=len(wanted) - len(todo), desc="accuracy", shown=progress) as bar:
            saved = time.monotonic()
            for arch, ranks in measured:
                if labels is None:  # now it is known which images can be read
                    labels, table.available = data.eval_labels(limit=images), len(data.eval_labels())
                right, count = ranks < 1, len(ranks)
                balanced = float(balanced_accuracy(right, labels))
                table.add(AccuracyRecord(arch, float(right.mean()), float((ranks < 5).mean()), count, balanced))
                answers = answers or Answers(count, labels)
                answers.add(net.space.id(arch), right)
                bar.update()
                if path is not None and time.monotonic() - saved > _SAVED_EVERY_S:
                    table._save_with(answers, path)
                    saved = time.monotonic()
        if path is not None and (todo or not Path(path).exists()):
            table._save_with(answers, path)
        if progress:
            say(f"Accuracy of {len(table)} of {table.total} subnets x resolutions on {data.name}.")
        return table


def _of_today(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a table of any version, as this one writes it."""
    if content["schema_version"] < 2:  # which knew the whole recipe only
        content = {**content, "training_hash": None}
    if content["schema_version"] < 3:
        images = content["images"]
        part = images is not None and all(row["count"] >= images for row in content["records"].values())
        drawn = EQUAL_CLASSES if part else SAME_SHARES
        content = {**content, "role": content["split"], "sample": drawn, "precision": "float32", "device": "host"}
        content["available"] = None
    return content


def _answers_beside(path: str | os.PathLike[str] | None) -> Answers | None:
    """The answers of a table that is continued; None where there are none, or they are damaged."""
    if path is None or not Path(path).exists() or not beside(path).exists():
        return None
    with contextlib.suppress(InputError):
        return Answers.load(beside(path))
    return None


def _all_of(space: Space, resolutions: Sequence[int] | None) -> Iterator[Arch]:
    if not resolutions:
        raise InputError("Which resolutions are to be measured? Give archs or resolutions.")
    if space.size > MOST_MEASURED:
        raise InputError(
            f"A space of {space.size} subnets cannot be measured outright; give some of them (--sample). "
            "Received: archs=None"
        )
    return space.enumerate(resolutions=resolutions)
