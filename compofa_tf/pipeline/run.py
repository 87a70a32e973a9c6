"""A work directory, stage by stage: every function reads the files of the stages before it and writes its own.

``recipe.json``, ``checkpoints/``, ``metrics.jsonl``, ``supernet/`` (training), ``accuracy/val.json``,
``latency/*.json``, ``front.json``, ``models/``, ``report.html``. Nothing here imports TensorFlow until it computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa_tf import families, files
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.pipeline import sources
from compofa_tf.pipeline.exporting import Exporter
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.searches.evolution import Evolution
from compofa_tf.searches.exact import MOST_ENUMERATED, search
from compofa_tf.searches.front import Front
from compofa_tf.space import Arch, Space
from compofa_tf.workdir import WorkDir

if TYPE_CHECKING:
    from compofa_tf.data import Data
    from compofa_tf.deploy.artifact import Artifact


@dataclass(frozen=True)
class Run(WorkDir):
    """An opened work directory: what its files say."""

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run; ``InputError`` if nothing was trained here."""
        if not self.recipe_file.exists():
            raise InputError(f"{self.path} is not a work directory: run `compofa train --workdir {self.path}` first.")
        return Recipe.load(self.path)

    @property
    def space(self) -> Space:
        """The space of the trained supernet, read without TensorFlow."""
        return families.from_json(self._supernet()["space"])

    @property
    def only(self) -> Arch | None:
        """The one member that has weights, where an extracted subnet was imported; else None."""
        name = self._supernet().get("only")
        return self.space.parse(name) if name else None

    def members(self) -> list[Arch] | None:
        """That member at each resolution of the accuracy table; None where all members have weights."""
        only = self.only
        return None if only is None else [only.at(side) for side in self.recipe.accuracy.resolutions]

    def parse(self, name: str) -> Arch:
        """Returns the subnet of a name; ``InputError`` if the space has none of it, or it has no weights here."""
        arch = self.space.parse(name)
        if self.only is not None and arch != self.only.at(arch.resolution):
            raise InputError(
                f"Only one member has weights in {self.path}, {self.space.id(self.only.at(arch.resolution))}, at any "
                f"resolution. Received: {name}"
            )
        return arch

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        return list(self._supernet()["labels"])

    @property
    def normalization(self) -> dict[str, Any]:
        """The normalisation of the input images."""
        return dict(self._supernet()["normalization"])

    def _supernet(self) -> dict[str, Any]:
        path = self.supernet_file
        if not path.exists():
            raise InputError(f"Training has not finished in {self.path}: run `compofa train --workdir {self.path}`.")
        return files.read_json(path, kind="supernet")

    def latency_table(self, precision: str) -> Path:
        """The latency table of a precision, under the recipe's device and threads."""
        settings = self.recipe.latency
        return self.latency_file(settings.device, precision, settings.threads)

    def load_data(self) -> Data:
        """Returns the data set that the recipe names."""
        from compofa_tf import data

        recipe = self.recipe
        return data.load(recipe.data.source, recipe.data, seed=recipe.seed, workdir=self.path)


def measure_accuracy(
    workdir: Run, *, limit: int | None = None, sample: int | None = None, images: int | None = None
) -> AccuracyTable:
    """Measures the accuracy table, or continues it.

    Args:
      workdir: A work directory with a finished training. Of an imported single subnet that one is measured, with the
        batch-norm statistics that it came with.
      limit: Only the first so many members, in the order of ``Space.enumerate``.
      sample: Only so many members drawn at random (seeded by the recipe), the largest and the smallest among them.
      images: Validation images per member instead of the recipe's.
    """
    from compofa_tf.nets.supernet import Supernet

    recipe = workdir.recipe
    settings = recipe.accuracy
    data = workdir.load_data()
    if not data.labelled:
        raise InputError(
            f"{recipe.data.source} has no classes, so accuracy cannot be measured; run `compofa measure --latency` and "
            "search with --accuracy published where that fits."
        )
    net = Supernet.load(workdir.path)
    archs = workdir.members()
    if archs is None:
        archs = choose_archs(net.space, settings.resolutions, limit=limit, sample=sample, seed=recipe.seed)
    return AccuracyTable.measure(
        net,
        data=data,
        archs=archs,
        resolutions=settings.resolutions,
        images=settings.images if images is None else images,
        calibration_images=0 if net.only else settings.calibration_images,
        batch_size=settings.batch_size,
        path=workdir.accuracy_file,
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


def measure_latency(workdir: Run) -> list[LatencyTable]:
    """Measures the latency tables of the recipe's precisions, or continues them."""
    recipe = workdir.recipe
    settings = recipe.latency
    return [
        LatencyTable.measure(
            workdir.space,
            device=settings.device,
            resolutions=recipe.accuracy.resolutions,
            archs=workdir.members(),
            precision=precision,
            threads=settings.threads,
            runs=settings.runs,
            warmup=settings.warmup,
            repeats=settings.repeats,
            validate=settings.validate,
            path=workdir.latency_table(precision),
            recipe_hash=recipe.hash,
        )
        for precision in settings.precisions
    ]


def find_front(
    workdir: Run,
    *,
    budgets_ms: Sequence[float] = (),
    accuracy: str = "measured",
    latency: str = "measured",
    seed: int = 0,
) -> Front:
    """Searches and writes ``front.json``: exactly, or by evolution in a space that is too large for it.

    Args:
      workdir: A work directory with what is to be read.
      budgets_ms: Latency budgets; the recipe's when empty.
      accuracy: ``"measured"`` or ``"published"``, see ``sources.accuracy_source``.
      latency: ``"measured"``, ``"published"`` or ``"lookup:FOLDER"``, see ``sources.latency_source``.
      seed: Of an evolution.
    """
    recipe, space, archs = workdir.recipe, workdir.space, workdir.members()
    sides = recipe.accuracy.resolutions
    source = sources.accuracy_source(accuracy, space=space, table=workdir.accuracy_file)
    if isinstance(source, AccuracyTable):
        archs = None if archs is None else [arch for arch in archs if arch.resolution in source.resolutions]
    table = workdir.latency_table(recipe.search.precision)
    times = sources.latency_source(latency, space=space, table=table, resolutions=sides)
    if archs is not None and latency != "measured":
        archs = [arch for arch in archs if arch.resolution in times.resolutions]
    large = archs is None and space.size * len(times.resolutions) > MOST_ENUMERATED
    front = search(
        space,
        accuracy=source,
        latency=times,
        budgets_ms=budgets_ms or recipe.search.budgets_ms,
        archs=archs,
        evolution=Evolution(seed=seed) if large else None,
    )
    front = replace(front, recipe_hash=recipe.hash)
    front.save(workdir.front_file)
    return front


def export_models(workdir: Run, *, overwrite: bool = False) -> list[Artifact]:
    """Exports, executes and measures the best member within each budget of ``front.json``.

    A member whose measured latency breaks its budget is replaced by the next one of the front that is fast enough by
    as much as the prediction was off.

    Returns:
      The artifacts, one per budget and precision. Where no member tried kept the budget, those of the fastest tried,
      whose records say ``within_budget: false``.

    Raises:
      InputError: If ``models/`` has exported files that may not be replaced. Old ones go when the new are there.
    """
    before = set(workdir.model_files)
    if before and not overwrite:
        raise InputError(f"{workdir.models} already has models; pass --overwrite to replace them.")
    front = Front.load(workdir.front_file, space=workdir.space)
    exporter = Exporter(workdir, front)
    for budget_ms in front.budgets:
        exporter.export(budget_ms, [front.best(budget_ms), *front.alternatives(budget_ms)])
    written = {path for artifact in exporter.artifacts for path in (artifact.path, artifact.sidecar)}
    for stale in before - written:
        stale.unlink(missing_ok=True)
    return exporter.artifacts


def over_budget(artifacts: Sequence[Artifact]) -> str | None:
    """Returns a sentence that names the budgets that no model kept, or None."""
    missed = sorted({a.record["budget_ms"] for a in artifacts if a.record["within_budget"] is False})
    if not missed:
        return None
    return (
        f"No member tried kept the budget of {', '.join(f'{ms:g}' for ms in missed)} ms when measured, the fastest of "
        "them was exported all the same; if the machine was busy measure again (delete the latency table, then "
        "`compofa measure --latency`), or give a larger budget."
    )


def evaluate(workdir: Run, *, arch: Arch | None = None, model: Path | None = None, images: int | None = None) -> Any:
    """Returns the ``evaluation.Accuracy`` of a member or of a file on the validation images.

    A member is calibrated first, unless it is the one that was imported: that has its own batch-norm statistics.
    """
    from compofa_tf.accuracy import evaluation
    from compofa_tf.nets import subnet
    from compofa_tf.nets.supernet import Supernet

    settings = workdir.recipe.accuracy
    data = workdir.load_data()
    if arch is None:
        resolution = _input_side(model)
        dataset = data.eval(resolution=resolution, batch_size=settings.batch_size, limit=images)
        return evaluation.evaluate(model, dataset)
    dataset = data.eval(resolution=arch.resolution, batch_size=settings.batch_size, limit=images)
    net = Supernet.load(workdir.path)
    pipelines = {"resolution": arch.resolution, "batch_size": settings.batch_size}
    if not net.only:
        subnet.calibrate(net, arch, data.calibration(**pipelines, count=settings.calibration_images))
    return evaluation.evaluate(net, dataset, arch=arch)


def _input_side(model: Path | None) -> int:
    if model is None or not model.exists():
        raise InputError(f"There is no such model. Received: model={model}")
    if model.suffix == ".tflite":
        from compofa_tf.deploy.runtime import Runner

        return int(Runner(model).input_shape[1])
    import keras

    return int(keras.models.load_model(model).input_shape[1])


def extract_model(workdir: Run, arch: Arch, path: Path) -> None:
    """Writes a member as a ``.keras`` file with a JSON of labels and normalisation beside it.

    It is calibrated first, unless it is the one that was imported: that has its own batch-norm statistics.
    """
    from compofa_tf.nets import subnet
    from compofa_tf.nets.supernet import Supernet

    recipe = workdir.recipe
    net = Supernet.load(workdir.path)
    images = None
    if not net.only:
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
