"""A work directory, stage by stage: every function reads the files of the stages before it and writes its own.

``recipe.json``, ``checkpoints/``, ``metrics.jsonl``, ``supernet/`` (training), ``accuracy/val.json``,
``latency/*.json``, ``front.json``, ``models/``, ``report.html``. Nothing here imports TensorFlow until it computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa_tf import cost, files
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.progress import say
from compofa_tf.recipe import Recipe
from compofa_tf.search.accuracy import AccuracyTable
from compofa_tf.search.front import Candidate, Front
from compofa_tf.search.searching import search
from compofa_tf.space import Arch, Space

if TYPE_CHECKING:
    from compofa_tf.data import Data
    from compofa_tf.deploy.artifact import Artifact
    from compofa_tf.latency.benchmarking import BenchmarkRow

_MEASUREMENTS = 3


@dataclass(frozen=True)
class WorkDir:
    """Where the files of one run are.

    Attributes:
      path: The directory.
    """

    path: Path

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run; ``InputError`` if nothing was trained here."""
        if not (self.path / "recipe.json").exists():
            raise InputError(f"{self.path} is not a work directory: run `compofa train --workdir {self.path}` first.")
        return Recipe.load(self.path)

    @property
    def space(self) -> Space:
        """The space of the trained supernet, read without TensorFlow."""
        return Space.from_json(self._supernet()["space"])

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        return list(self._supernet()["labels"])

    @property
    def normalization(self) -> dict[str, Any]:
        """The normalisation of the input images."""
        return dict(self._supernet()["normalization"])

    def _supernet(self) -> dict[str, Any]:
        path = self.path / "supernet" / "supernet.json"
        if not path.exists():
            raise InputError(f"Training has not finished in {self.path}: run `compofa train --workdir {self.path}`.")
        return files.read_json(path, kind="supernet")

    @property
    def accuracy(self) -> Path:
        """The accuracy table."""
        return self.path / "accuracy" / "val.json"

    def latency(self, precision: str) -> Path:
        """The latency table of a precision, under the recipe's device and threads."""
        settings = self.recipe.latency
        return self.path / "latency" / f"{Path(settings.device).stem}-{precision}-t{settings.threads}.json"

    @property
    def front(self) -> Path:
        """The result of the search."""
        return self.path / "front.json"

    @property
    def models(self) -> Path:
        """Exported models."""
        return self.path / "models"

    def load_data(self) -> Data:
        """Returns the data set that the recipe names."""
        from compofa_tf import data

        recipe = self.recipe
        return data.load(recipe.data.source, recipe.data, seed=recipe.seed, workdir=self.path)


def measure_accuracy(
    workdir: WorkDir, *, limit: int | None = None, sample: int | None = None, images: int | None = None
) -> AccuracyTable:
    """Measures the accuracy table, or continues it.

    Args:
      workdir: A work directory with a finished training.
      limit: Only the first so many members, in the order of ``Space.enumerate``.
      sample: Only so many members drawn at random (seeded by the recipe), the largest and the smallest among them.
      images: Validation images per member instead of the recipe's.
    """
    from compofa_tf.supernet import Supernet

    recipe = workdir.recipe
    settings = recipe.accuracy
    net = Supernet.load(workdir.path)
    archs = choose_archs(net.space, settings.resolutions, limit=limit, sample=sample, seed=recipe.seed)
    return AccuracyTable.measure(
        net,
        data=workdir.load_data(),
        archs=archs,
        resolutions=settings.resolutions,
        images=settings.images if images is None else images,
        calibration_images=settings.calibration_images,
        batch_size=settings.batch_size,
        path=workdir.accuracy,
        recipe_hash=recipe.hash,
    )


def choose_archs(
    space: Space, resolutions: Sequence[int], *, limit: int | None, sample: int | None, seed: int
) -> list[Arch] | None:
    """Returns the members for a quick look, or None for all of them."""
    import itertools

    import numpy as np

    if limit is not None and sample is not None:
        raise InputError("Give --limit or --sample, not both.")
    for name, value in (("limit", limit), ("sample", sample)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1. Received: {name}={value}")
    if limit is not None:
        return list(itertools.islice(space.enumerate(resolutions=resolutions), limit))
    if sample is None:
        return None
    rng = np.random.default_rng(seed)
    chosen = dict.fromkeys([space.largest(max(resolutions)), space.smallest(min(resolutions))])
    for _ in range(100 * sample):
        if len(chosen) >= min(sample, space.size * len(resolutions)):
            break
        chosen[space.sample(rng, resolutions=resolutions)] = None
    return list(chosen)[:sample]


def measure_latency(workdir: WorkDir) -> list[LatencyTable]:
    """Measures the latency tables of the recipe's precisions, or continues them."""
    recipe = workdir.recipe
    settings = recipe.latency
    return [
        LatencyTable.measure(
            workdir.space,
            device=settings.device,
            resolutions=recipe.accuracy.resolutions,
            precision=precision,
            threads=settings.threads,
            runs=settings.runs,
            warmup=settings.warmup,
            repeats=settings.repeats,
            validate=settings.validate,
            path=workdir.latency(precision),
            recipe_hash=recipe.hash,
        )
        for precision in settings.precisions
    ]


def find_front(workdir: WorkDir, *, budgets_ms: Sequence[float] = ()) -> Front:
    """Searches the tables exactly and writes ``front.json``."""
    recipe = workdir.recipe
    space = workdir.space
    front = search(
        space,
        accuracy=AccuracyTable.load(workdir.accuracy, space=space),
        latency=LatencyTable.load(workdir.latency(recipe.search.precision), space=space),
        budgets_ms=budgets_ms or recipe.search.budgets_ms,
    )
    front.save(workdir.front)
    return front


def export_models(workdir: WorkDir, *, overwrite: bool = False) -> list[Artifact]:
    """Exports, executes and measures the best member within each budget of ``front.json``.

    A member whose measured latency breaks its budget is replaced by the next one of the front that is fast enough by
    as much as the prediction was off.

    Returns:
      The artifacts, one per budget and precision. Where no member tried kept the budget, those of the fastest tried,
      whose records say ``within_budget: false``.

    Raises:
      InputError: If ``models/`` has exported files that may not be replaced. Old ones go when the new are there.
    """
    before = set(workdir.models.glob("*.tflite*"))
    if before and not overwrite:
        raise InputError(f"{workdir.models} already has models; pass --overwrite to replace them.")
    front = Front.load(workdir.front, space=workdir.space)
    exporter = _Exporter(workdir, front.precision)
    for budget_ms in front.budgets:
        exporter.export(budget_ms, [front.best(budget_ms), *front.alternatives(budget_ms)])
    written = {path for artifact in exporter.artifacts for path in (artifact.path, artifact.sidecar)}
    for stale in before - written:
        stale.unlink(missing_ok=True)
    return exporter.artifacts


def over_budget(artifacts: Sequence[Artifact]) -> str | None:
    """Returns a sentence that names the budgets that no model kept, or None."""
    missed = sorted({artifact.record["budget_ms"] for artifact in artifacts if not artifact.record["within_budget"]})
    if not missed:
        return None
    return (
        f"No member tried kept the budget of {', '.join(f'{ms:g}' for ms in missed)} ms when measured, the fastest of "
        "them was exported all the same; if the machine was busy measure again (delete the latency table, then "
        "`compofa measure --latency`), or give a larger budget."
    )


class _Exporter:
    """Loads net and data once for all budgets."""

    def __init__(self, workdir: WorkDir, budget_precision: str) -> None:
        from compofa_tf.supernet import Supernet

        self.workdir, self.recipe = workdir, workdir.recipe
        self.budget_precision = budget_precision
        self.precisions = list(dict.fromkeys((budget_precision, *self.recipe.deploy.precisions)))
        self.net = Supernet.load(workdir.path)
        self.data = workdir.load_data()
        self.artifacts: list[Artifact] = []
        self.tables = dict(_tables(workdir))

    def export(self, budget_ms: float, candidates: Sequence[Candidate]) -> None:
        """Exports the first candidate whose measured latency keeps the budget, or the fastest of those tried."""
        ratio = 1.0
        fastest: tuple[float, list[Artifact]] | None = None
        tries = self.recipe.deploy.tries
        for candidate in candidates:
            if fastest and (tries == 0 or candidate.predicted_ms * ratio > budget_ms):
                continue
            tries -= 1
            made = self._export(candidate, budget_ms)
            measured_ms = made[0].record["latency"]["measured"]["ms"]
            if fastest is None or measured_ms < fastest[0]:
                self._discard(fastest[1] if fastest else ())
                fastest = measured_ms, made
            else:
                self._discard(made)
            if measured_ms <= budget_ms:
                break
            ratio = max(ratio, measured_ms / candidate.predicted_ms)
            say(f"{candidate.id} takes {measured_ms:.3g} ms, more than the budget of {budget_ms:g} ms.")
        self.artifacts += fastest[1] if fastest else ()

    def _discard(self, made: Sequence[Artifact]) -> None:
        for artifact in made:
            artifact.path.unlink(missing_ok=True)
            artifact.sidecar.unlink(missing_ok=True)

    def _export(self, candidate: Candidate, budget_ms: float) -> list[Artifact]:
        """Exports one member in every precision, that of the budget first."""
        from compofa_tf import subnet
        from compofa_tf.deploy.export import export_tflite
        from compofa_tf.evaluation import evaluate

        arch, settings = candidate.arch, self.recipe
        pipelines = {"resolution": arch.resolution, "batch_size": settings.accuracy.batch_size}
        calibration = self.data.calibration(**pipelines, count=settings.accuracy.calibration_images)
        model = subnet.extract(self.net, arch, calibrate_on=calibration)
        ranges = self.data.calibration(**pipelines, count=settings.deploy.calibration_images)
        validation = self.data.eval(**pipelines)
        made: list[Artifact] = []
        for precision in self.precisions:
            artifact = export_tflite(
                model,
                self.workdir.models / f"{budget_ms:g}ms-{candidate.id}-{precision}.tflite",
                precision=precision,
                calibrate_on=ranges if precision == "int8" else None,
                profile=self.net.space.profile,
                metadata=self._metadata(candidate, budget_ms),
                overwrite=True,
            )
            row = self._measure(artifact, budget_ms if precision == self.budget_precision else None)
            predicted_ms = self.tables[precision].predict(arch) if precision in self.tables else None
            accuracy = {**evaluate(artifact.path, validation).to_json(), "data": self.data.name, "split": "val"}
            kept = row.ms <= budget_ms if not made else made[0].record["within_budget"]
            latency = {"predicted_ms": predicted_ms, "measured": row.to_json()}
            artifact.update(accuracy=accuracy, latency=latency, within_budget=kept)
            say(f"{artifact.path.name}: {row.ms:.3g} ms, top-1 {accuracy['top1']:.2%}")
            made.append(artifact)
        return made

    def _measure(self, artifact: Artifact, budget_ms: float | None) -> BenchmarkRow:
        """Measures a model; twice more if it seems to break the budget, since a busy machine can only slow it down."""
        from compofa_tf.latency.benchmarking import benchmark

        settings = self.recipe.latency
        rows: list[BenchmarkRow] = []
        while not rows or (budget_ms is not None and rows[-1].ms > budget_ms and len(rows) < _MEASUREMENTS):
            rows.append(benchmark(artifact, device=settings.device, threads=settings.threads))
        return min(rows, key=lambda row: row.ms)

    def _metadata(self, candidate: Candidate, budget_ms: float) -> dict[str, Any]:
        space, arch = self.net.space, candidate.arch
        return {
            "arch": {**arch.to_json(), "id": candidate.id},
            "space": space.to_json(),
            "recipe_hash": self.recipe.hash,
            "budget_ms": budget_ms,
            "budget_precision": self.budget_precision,
            "macs": cost.macs(space, arch),
            "params": cost.params(space, arch),
            "normalization": self.workdir.normalization,
            "labels": self.workdir.labels,
            "float_accuracy": candidate.to_json()["accuracy"],
        }


def _tables(workdir: WorkDir) -> Iterator[tuple[str, LatencyTable]]:
    for precision in workdir.recipe.latency.precisions:
        path = workdir.latency(precision)
        if path.exists():
            yield precision, LatencyTable.load(path, space=workdir.space)


def evaluate(
    workdir: WorkDir, *, arch: Arch | None = None, model: Path | None = None, images: int | None = None
) -> Any:
    """Returns the ``evaluation.Accuracy`` of a member (calibrated first) or of a file on the validation images."""
    from compofa_tf import evaluation, subnet
    from compofa_tf.supernet import Supernet

    settings = workdir.recipe.accuracy
    data = workdir.load_data()
    if arch is None:
        resolution = _input_side(model)
        dataset = data.eval(resolution=resolution, batch_size=settings.batch_size, limit=images)
        return evaluation.evaluate(model, dataset)
    net = Supernet.load(workdir.path)
    pipelines = {"resolution": arch.resolution, "batch_size": settings.batch_size}
    subnet.calibrate(net, arch, data.calibration(**pipelines, count=settings.calibration_images))
    return evaluation.evaluate(net, data.eval(**pipelines, limit=images), arch=arch)


def _input_side(model: Path | None) -> int:
    if model is None or not model.exists():
        raise InputError(f"There is no such model. Received: model={model}")
    if model.suffix == ".tflite":
        from compofa_tf.deploy.runtime import Runner

        return int(Runner(model).input_shape[1])
    import keras

    return int(keras.models.load_model(model).input_shape[1])


def extract_model(workdir: WorkDir, arch: Arch, path: Path) -> None:
    """Writes a member, calibrated, as a ``.keras`` file with a JSON of labels and normalisation beside it."""
    from compofa_tf import subnet
    from compofa_tf.supernet import Supernet

    recipe = workdir.recipe
    net = Supernet.load(workdir.path)
    images = workdir.load_data().calibration(
        resolution=arch.resolution, batch_size=recipe.accuracy.batch_size, count=recipe.accuracy.calibration_images
    )
    model = subnet.extract(net, arch, calibrate_on=images)
    with files.atomic_write(path) as temporary:
        model.save(temporary)
    payload = {
        "arch": {**arch.to_json(), "id": net.space.id(arch)},
        "space": net.space.to_json(),
        "normalization": workdir.normalization,
        "labels": workdir.labels,
        "sha256": files.sha256(path),
    }
    files.write_json(f"{path}.json", payload, kind="keras_model", recipe_hash=recipe.hash)
