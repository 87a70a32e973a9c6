"""Exporting what a search chose: converted, executed, measured against its budget, and described."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from compofa_tf.deploy.targets import PRECISIONS
from compofa_tf.latency.table import LatencyTable
from compofa_tf.progress import say
from compofa_tf.searches.front import Candidate, Front
from compofa_tf.space import cost

if TYPE_CHECKING:
    from compofa_tf.deploy.artifact import Artifact
    from compofa_tf.latency.benchmarking import BenchmarkRow
    from compofa_tf.pipeline.run import Run

_MEASUREMENTS = 3


class Exporter:
    """Exports, executes and measures the members chosen for budgets; loads net and data once for all of them.

    Args:
      workdir: The work directory.
      front: The front that the budgets and members are of. If its latencies are those of another device than the one
        that is measured here, nothing can be said about budgets: the best member is exported and
        ``within_budget`` is null.

    Attributes:
      artifacts: What was exported.
    """

    def __init__(self, workdir: Run, front: Front) -> None:
        from compofa_tf.nets.supernet import Supernet

        self.workdir, self.recipe = workdir, workdir.recipe
        self.front = front
        self.same_device = front.latency.get("device") == self.recipe.latency.device
        self.precisions = list(dict.fromkeys((front.precision, *self.recipe.deploy.precisions)))
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
            if measured_ms <= budget_ms or not self.same_device:
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
        from compofa_tf.deploy.export import export_tflite
        from compofa_tf.nets import subnet

        arch, settings = candidate.arch, self.recipe
        pipelines = {"resolution": arch.resolution, "batch_size": settings.accuracy.batch_size}
        calibration = self.data.calibration(**pipelines, count=settings.accuracy.calibration_images)
        model = subnet.extract(self.net, arch, calibrate_on=None if self.net.only else calibration)
        ranges = self.data.calibration(**pipelines, count=settings.deploy.calibration_images)
        validation = self.data.eval(**pipelines) if self.data.labelled else None
        made: list[Artifact] = []
        for precision in self.precisions:
            artifact = export_tflite(
                model,
                self.workdir.models / f"{budget_ms:g}ms-{candidate.id}-{precision}.tflite",
                precision=precision,
                calibrate_on=ranges if PRECISIONS[precision].needs_images else None,
                profile=self.net.space.profile,
                metadata=self._metadata(candidate, budget_ms),
                overwrite=True,
            )
            counts = precision == self.front.precision and self.same_device
            row = self._measure(artifact, budget_ms if counts else None)
            predicted_ms = self.tables[precision].predict(arch) if precision in self.tables else None
            kept = row.ms <= budget_ms if not made else made[0].record["within_budget"]
            latency = {"predicted_ms": predicted_ms, "measured": row.to_json()}
            facts = self._accuracy(artifact, validation)
            artifact.update(**facts, latency=latency, within_budget=kept if self.same_device else None)
            top1 = f"top-1 {facts['accuracy']['top1']:.2%}" if facts["accuracy"] else "accuracy not measured"
            say(f"{artifact.path.name}: {row.ms:.3g} ms, {top1}")
            made.append(artifact)
        return made

    def _accuracy(self, artifact: Artifact, validation: Any) -> dict[str, Any]:
        """Accuracy of the file on the validation images, or null and why."""
        from compofa_tf.accuracy.evaluation import evaluate

        if validation is None:
            reason = f"{self.recipe.data.source} has no classes"
            return {"accuracy": None, "accuracy_not_measured": reason}
        return {"accuracy": {**evaluate(artifact.path, validation).to_json(), "data": self.data.name, "split": "val"}}

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
        accuracy = dict(candidate.to_json()["accuracy"])
        if self.front.predicted:
            accuracy |= {name: self.front.accuracy[name] for name in ("predictor", "caveat")}
        return {
            "arch": {**arch.to_json(), "id": candidate.id},
            "space": space.to_json(),
            "recipe_hash": self.recipe.hash,
            "budget_ms": budget_ms,
            "budget_precision": self.front.precision,
            "budget_device": self.front.latency.get("device"),
            "macs": cost.macs(space, arch),
            "params": cost.params(space, arch),
            "normalization": self.workdir.normalization,
            "labels": self.workdir.labels,
            "float_accuracy": accuracy,
        }


def _tables(workdir: Run) -> Iterator[tuple[str, LatencyTable]]:
    for precision in workdir.recipe.latency.precisions:
        path = workdir.latency_table(precision)
        if path.exists():
            yield precision, LatencyTable.load(path, space=workdir.space)
