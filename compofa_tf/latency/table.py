"""Measured latencies of the pieces of a family, from which the latency of every subnet is predicted. No TensorFlow."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compofa_tf import families, files
from compofa_tf._lazy import later
from compofa_tf.deploy.ends import Ends
from compofa_tf.errors import InputError, NotCoveredError, at_least
from compofa_tf.latency.correction import Check, Correction, Validation, fit_correction
from compofa_tf.latency.devices.device import DECISIVE, Device, open_device
from compofa_tf.latency.plan import MeasurementPlan, Procedure
from compofa_tf.latency.sums import PieceSums
from compofa_tf.latency.timings import MOST_TURN_SPREAD, QUANTILE, Timing
from compofa_tf.normalization import Normalization
from compofa_tf.progress import say
from compofa_tf.space import Arch, Space

KIND = "latency_table"


def entry_at(resolution: int, key: str) -> str:
    """Returns the name of an entry that holds for one resolution only."""
    return f"{resolution}px/{key}"


@dataclass(eq=False)
class LatencyTable:
    """Latencies of the pieces of a family on one device, and what they say about its subnets.

    ``table.predict(arch)`` is a sum of measured pieces, corrected for what separate pieces cost more or less than one
    network; the correction is fitted on a few whole subnets and judged on others (``validation``). Nothing is
    interpolated: a resolution or size that was not measured is refused.

    Attributes:
      space: The family.
      precision: A name of ``deploy.targets.PRECISIONS``.
      threads: CPU threads of the runtime.
      device: Name of the device, ``"host"``.
      resolutions: Resolutions that were asked for, ascending.
      runs: Inferences of every piece that were asked for.
      warmup: Inferences before each visit to a piece.
      conditions: The device and its state when the measurement began (``Device.describe``).
      recipe_hash: ``Recipe.hash`` of the run, if any.
      ends: ``io`` and ``scores`` of whole subnets, and ``trained``, the normalisation of the training, where that is
        known; None in tables from before these were recorded.
      entries: Piece key -> measured latency.
      subnets: Subnet id -> measured latency of the whole.
      fitted: Ids of those whole subnets that ``correction`` was fitted on.
      correction: How a sum of pieces becomes a prediction.
    """

    space: Space
    precision: str = "int8"
    threads: int = 1
    device: str = "host"
    resolutions: tuple[int, ...] = ()
    runs: int = 300
    warmup: int = 10
    conditions: dict[str, Any] = field(default_factory=dict)
    recipe_hash: str | None = None
    ends: dict[str, Any] | None = None
    entries: dict[str, Timing] = field(default_factory=dict)
    subnets: dict[str, Timing] = field(default_factory=dict)
    fitted: tuple[str, ...] = ()
    correction: Correction = field(default_factory=Correction)

    def __post_init__(self) -> None:
        """Puts the resolutions into order."""
        self.resolutions = tuple(sorted({int(resolution) for resolution in self.resolutions}))
        self._sums = PieceSums(self.space, self.pieces_of)

    def __len__(self) -> int:
        """Number of measured pieces."""
        return len(self.entries)

    def __repr__(self) -> str:
        """Says what was measured, and where."""
        conditions = f"{self.precision}, {self.threads} thread(s), {self.device}"
        return f"<LatencyTable of {len(self)} pieces at {list(self.resolutions)} px, {conditions}, {self.space!r}>"

    def predict(self, arch: Arch) -> float:
        """Returns the predicted latency of a subnet in ms, for one image.

        Raises:
          NotCoveredError: (a ``KeyError``) If a piece of it was not measured; names the piece and the nearest ones.
          InputError: If the space has no such subnet.
        """
        sum_ms, pieces = self.sum_of(arch)
        return self.correction.apply(sum_ms, pieces)

    def covers(self, arch: Arch) -> bool:
        """Whether every piece of a subnet was measured."""
        try:
            self.sum_of(arch)
        except NotCoveredError:
            return False
        return True

    def sum_of(self, arch: Arch) -> tuple[float, int]:
        """Returns the plain sum in ms of the pieces of a subnet, and how many they are.

        Raises:
          NotCoveredError: As ``predict``.
          InputError: As ``predict``.
        """
        return self._sums.of(arch)

    def pieces_of(self, arch: Arch) -> list[float]:
        """Returns the latencies in ms of the pieces of a subnet, in the order of ``Space.pieces``.

        Raises:
          NotCoveredError: As ``predict``.
        """
        pieces = self.space.pieces(arch)
        found = [self.entry(piece.key, arch.resolution) for piece in pieces]
        absent = [piece.key for piece, timing in zip(pieces, found) if timing is None]
        if absent:
            raise NotCoveredError(self._not_covered(arch, absent[0]))
        return [timing.ms for timing in found if timing]

    def entry(self, key: str, resolution: int) -> Timing | None:
        """Returns the latency of a piece in networks of a resolution, or None.

        Equal keys are equal computation, so measured tables have one entry for all resolutions. Published tables were
        measured resolution by resolution: theirs are under ``entry_at(resolution, key)``.
        """
        return self.entries.get(entry_at(resolution, key)) or self.entries.get(key)

    def _not_covered(self, arch: Arch, key: str) -> str:
        if arch.resolution not in self.resolutions:
            measured = ", ".join(map(str, self.resolutions)) or "none"
            hint = f"measured resolutions: {measured}"
        else:
            computation = key.partition(":")[2]
            same = [other for other in self.entries if other.partition(":")[2] == computation]
            nearest = same or difflib.get_close_matches(key, self.entries, n=2, cutoff=0.0)
            hint = f"nearest measured pieces: {', '.join(nearest[:2]) or 'none, the table is empty'}"
        return (
            f"No latency was measured for {self.space.id(arch)} in {self.precision} on {self.device}: piece {key} is "
            f"missing; {hint}."
        )

    @property
    def validation(self) -> Validation | None:
        """Predicted against measured latency of the whole subnets that were not fitted on; None if there are none."""
        others = sorted(set(self.subnets) - set(self.fitted))
        archs = [arch for arch in map(self.space.parse, others) if self.covers(arch)]
        checks = [Check(self.space.id(a), self.predict(a), self.subnets[self.space.id(a)].ms) for a in archs]
        return Validation(tuple(checks)) if checks else None

    @property
    def noisy(self) -> list[str]:
        """Names of pieces and subnets whose turns spread too much: the machine was busy."""
        return [name for name, timing in (*self.entries.items(), *self.subnets.items()) if timing.noisy]

    def add(self, name: str, timing: Timing, *, subnet: bool = False) -> None:
        """Adds a measurement of a piece, or of a whole subnet by id, to what there is of it."""
        known = self.subnets if subnet else self.entries
        known[name] = known[name].continued_by(timing) if name in known else timing
        self._sums.clear()

    def fit(self, archs: Sequence[Arch]) -> None:
        """Fits ``correction`` to measured whole subnets; none leave it as it is."""
        if archs:
            self.fitted = tuple(map(self.space.id, archs))
            sums, counts = zip(*map(self.sum_of, archs))
            self.correction = fit_correction(sums, counts, [self.subnets[name].ms for name in self.fitted])

    def remarks(self) -> list[str]:
        """Returns what a person should know of the measurement, in sentences."""
        found = []
        if self.noisy:
            found.append(
                f"The machine was busy: {len(self.noisy)} of {len(self.entries) + len(self.subnets)} latencies spread "
                f"by more than {MOST_TURN_SPREAD:.0%} between turns and are marked as noisy. Measure again when it is "
                "quiet."
            )
        slow = [name for name, timing in self.entries.items() if not timing.fully_accelerated]
        if slow:
            found.append(f"Not fully accelerated by LiteRT: {len(slow)} of {len(self)} pieces, for example {slow[0]}.")
        if self.validation:
            found.append(f"Predictions, {self.precision}: {self.validation}.")
        return found

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable mapping; the format is described in ``docs/formats.md``."""
        validation = self.validation
        return {
            "space": self.space.to_json(),
            "fingerprint": self.space.fingerprint,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "resolutions": list(self.resolutions),
            "runs": self.runs,
            "warmup": self.warmup,
            "statistic": f"quantile {QUANTILE} of the medians of the turns",
            "conditions": self.conditions,
            "ends": self.ends,
            "correction": {
                "scale": self.correction.scale,
                "overhead_ms": self.correction.overhead_ms,
                "fitted_on": list(self.fitted),
            },
            "validation": None if validation is None else validation.to_json(),
            "noisy": len(self.noisy),
            "entries": {key: timing.to_json() for key, timing in self.entries.items()},
            "subnets": {name: timing.to_json() for name, timing in self.subnets.items()},
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Writes the table atomically: ``path`` holds the old table or the whole new one, never a part."""
        files.write_json(path, self.to_json(), kind=KIND, recipe_hash=self.recipe_hash, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, space: Space | None = None) -> LatencyTable:
        """Reads a file of ``save``.

        Args:
          path: The file.
          space: The space that it must be of, if given.

        Raises:
          InputError: If the file is missing, truncated, no latency table, damaged, or of another space.
        """
        content = files.read_json(path, kind=KIND)
        with files.interpreted(path, again="measure again without it"):
            own = families.space_in(content, expected=space, again="measure this space first")
            return cls._from_json(content, own)

    @classmethod
    def _from_json(cls, content: dict[str, Any], space: Space) -> LatencyTable:
        names = ("device", "precision", "threads", "resolutions", "runs", "warmup", "conditions", "recipe_hash")
        correction = content["correction"]
        table = cls(
            space=space,
            **{name: content[name] for name in names},
            ends=content.get("ends"),
            entries={key: Timing.from_json(row) for key, row in content["entries"].items()},
            subnets={name: Timing.from_json(row) for name, row in content["subnets"].items()},
            fitted=tuple(correction["fitted_on"]),
            correction=Correction(correction["scale"], correction["overhead_ms"]),
        )
        for name in (*table.subnets, *table.fitted):
            space.parse(name)
        return table

    @classmethod
    def measure(
        cls,
        space: Space,
        *,
        device: str | Device = "host",
        resolutions: Sequence[int] | None = None,
        precision: str = "int8",
        threads: int = 1,
        archs: Iterable[Arch] | None = None,
        runs: int = 100,
        warmup: int = 10,
        repeats: int = 3,
        fit: int = 6,
        validate: int = 0,
        seed: int = 0,
        path: str | os.PathLike[str] | None = None,
        recipe_hash: str | None = None,
        ends: Ends | None = None,
        trained: Normalization | None = None,
        progress: bool = True,
    ) -> LatencyTable:
        """Builds, converts and times the pieces of all subnets, and some whole subnets.

        Pieces have random weights, are converted exactly as exported models are, and are timed in turns, a few
        inferences each. When the machine is busy, inferences are added, at most as many again.

        Args:
          space: The family.
          device: ``"host"``, this machine, or a ``Device``.
          resolutions: Sides of the input; those of ``archs`` when absent.
          precision: A name of ``deploy.targets.PRECISIONS``.
          threads: CPU threads of the runtime.
          archs: Cover only these subnets; all of the space when absent.
          runs: Timed inferences of every piece and whole subnet per repeat. The smaller the networks and the busier the
            machine, the more are needed; on a busy one 600 in all did well for networks of 0.1 ms, 120 did not.
          warmup: Inferences before each visit.
          repeats: ``runs`` times ``repeats`` inferences in all.
          fit: Whole subnets to fit ``correction`` on, from the smallest to the largest; 0 predicts plain sums.
          validate: Further whole subnets to judge the predictions by, evenly over the range of MACs.
          seed: Decides the random subnets from which whole subnets are chosen.
          path: File that is written as the work goes on and continued if it exists. Converted models are kept beside
            it, in ``<path>.parts/``, until the table is complete.
          recipe_hash: ``Recipe.hash`` of the run, recorded in the file.
          ends: Of whole subnets; those that an export chooses unless told otherwise when absent.
          trained: How pixels become what the networks are trained with: a file that takes other values normalises.
          progress: Whether to show progress and the result.

        Returns:
          The table, with whatever else the file already had.

        Raises:
          InputError: If an argument does not fit, or the file is damaged, of another space or was measured under other
            conditions; it is left as it is.
        """
        at_least(1, runs=runs, repeats=repeats, threads=threads)
        at_least(0, warmup=warmup)
        plan = MeasurementPlan.of(space, resolutions=resolutions, archs=archs, fit=fit, validate=validate, seed=seed)
        opened = open_device(device)
        fresh = cls(
            space=space,
            precision=precision,
            threads=threads,
            device=opened.name,
            resolutions=plan.resolutions,
            runs=runs * repeats,
            warmup=warmup,
            conditions=opened.describe(),
            recipe_hash=recipe_hash,
            ends=_described(ends or Ends.of(precision, space.profile), trained),
        )
        procedure = Procedure(precision, threads, runs * repeats, warmup, ends, trained)
        table = cls.resume(path, fresh=fresh)
        table._fill(plan, procedure, opened, path, progress)
        return table

    def _fill(
        self,
        plan: MeasurementPlan,
        procedure: Procedure,
        device: Device,
        path: str | os.PathLike[str] | None,
        progress: bool,
    ) -> None:
        """Measures what is absent, fits, and saves after every visit to the device."""
        known = {**self.entries, **self.subnets}
        visits = later(__name__, "latency.measuring").measure(
            plan, procedure, device, known=known, beside=path, progress=progress
        )
        for visit in visits:
            for name, timing, whole in visit:
                self.add(name, timing, subnet=whole)
            if path is not None:
                self.save(path)
        self.fit(plan.fit)
        if path is not None:
            self.save(path)
        for remark in self.remarks() if progress else ():
            say(remark)

    @classmethod
    def resume(cls, path: str | os.PathLike[str] | None, *, fresh: LatencyTable) -> LatencyTable:
        """Returns the table of ``path`` to be continued, or ``fresh`` if there is no such file.

        Args:
          path: File of an earlier, perhaps interrupted measurement; None starts anew.
          fresh: Empty table that says under which conditions it is to be measured.

        Raises:
          InputError: If the file is damaged, of another space or measured under other conditions.
        """
        if path is None or not Path(path).exists():
            return fresh
        table = cls.load(path, space=fresh.space)
        for name, found in table._decisive().items():
            wanted = fresh._decisive()[name]
            if found != wanted:
                raise InputError(
                    f"{path} was measured under other conditions and cannot be continued; delete it or give another "
                    f"path. Received: {name}={wanted!r} where the file has {found!r}"
                )
        if table.ends != fresh.ends:  # pieces have none, so that they stay
            if table.subnets:
                say(f"Whole subnets of {path} are measured again, with the ends of the files that ship now.")
            table.subnets, table.fitted, table.correction, table.ends = {}, (), Correction(), fresh.ends
        table.resolutions = tuple(sorted({*table.resolutions, *fresh.resolutions}))
        table.runs = max(table.runs, fresh.runs)
        table.recipe_hash = fresh.recipe_hash
        return table

    def _decisive(self) -> dict[str, Any]:
        names = ("device", "precision", "threads", "warmup")
        return {**{n: getattr(self, n) for n in names}, **{n: self.conditions.get(n) for n in DECISIVE}}


def _described(ends: Ends, trained: Normalization | None) -> dict[str, Any]:
    return {"io": ends.io, "scores": ends.scores, "trained": None if trained is None else trained.to_json()}
