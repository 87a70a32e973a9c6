"""Exporting what a search chose: converted, executed, measured against its budget, and described."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from compofa_tf import commands, files
from compofa_tf.accuracy.evaluation import evaluate_each, judged, logits_of
from compofa_tf.data import inputs
from compofa_tf.deploy.artifact import Artifact
from compofa_tf.deploy.export import export_tflite
from compofa_tf.deploy.targets import PRECISIONS
from compofa_tf.latency.benchmarking import BenchmarkRow, benchmark
from compofa_tf.latency.table import LatencyTable
from compofa_tf.nets.subnet import extract
from compofa_tf.pipeline.run import Run
from compofa_tf.progress import say
from compofa_tf.searches.candidate import Candidate
from compofa_tf.searches.front import Front
from compofa_tf.space import cost
from compofa_tf.statistics import paired_difference
from compofa_tf.workdir import WorkDir

_MEASUREMENTS = 3


def export_models(run: Run, *, overwrite: bool = False, **allowed: bool) -> list[Artifact]:
    """Exports, executes and measures the best subnet within each budget of ``front.json``.

    A subnet whose measured latency breaks its budget is replaced by the next one of the front that is fast enough by
    as much as the prediction was off.

    Args:
      run: A run with a front. If its latencies are those of another device, or of other threads, than those that are
        measured here, nothing can be said about budgets: the best subnet is exported and ``within_budget`` is null.
      overwrite: Whether earlier exports may be replaced. They go when the new ones are there.
      **allowed: ``allow_few_images`` and ``allow_disagreement`` of ``export_tflite``.

    Returns:
      The artifacts, one per budget and precision. Where no subnet tried kept the budget, those of the fastest tried,
      whose records say ``within_budget: false``.

    Raises:
      InputError: If there are exports that may not be replaced, or another command writes models there.
    """
    run.require_front()
    with run.writing("models"):
        before = set(run.model_files)
        files.refuse_to_replace(*before, overwrite=overwrite)
        front = Front.load(run.front_file, space=run.space)
        artifacts = [artifact for ms in front.budgets for artifact in export_for_budget(run, front, ms, **allowed)]
        written = {path for artifact in artifacts for path in (artifact.path, artifact.sidecar)}
        for stale in before - written:
            stale.unlink(missing_ok=True)
    return artifacts


def export_for_budget(run: Run, front: Front, budget_ms: float, **allowed: bool) -> list[Artifact]:
    """Exports the first candidate whose measured latency keeps a budget, or the fastest of those tried."""
    candidates = [front.best(budget_ms), *front.alternatives(budget_ms)]
    fits = comparable(front, run)
    tried: dict[Candidate, float] = {}
    kept: list[Artifact] = []
    while True:
        candidate = next_candidate(candidates, tried, budget_ms, tries=run.recipe.deploy.tries if fits else 1)
        if candidate is None:
            return kept
        made, measured_ms = _export(run, front, candidate, budget_ms, allowed)
        fastest = not tried or measured_ms < min(tried.values())
        _discard(kept if fastest else made)
        kept = made if fastest else kept
        tried[candidate] = measured_ms
        if fits and measured_ms > budget_ms:
            say(f"{candidate.id} takes {measured_ms:.3g} ms, more than the budget of {budget_ms:g} ms.")


def next_candidate(
    candidates: Sequence[Candidate], tried: Mapping[Candidate, float], budget_ms: float, *, tries: int
) -> Candidate | None:
    """Returns what to export next for a budget, or None when that is done.

    The first candidate comes first, whatever is predicted of it. After one that was too slow comes the next one that
    keeps the budget even if it is slower than predicted by as much as the worst so far.

    Args:
      candidates: Most accurate first.
      tried: Measured latencies in ms of those that were exported, in their order.
      budget_ms: The budget.
      tries: How many may be exported in all.
    """
    if not tried:
        return candidates[0]
    last = list(tried)[-1]
    if tried[last] <= budget_ms or len(tried) >= tries:
        return None
    slower = max(1.0, *(measured_ms / candidate.predicted_ms for candidate, measured_ms in tried.items()))
    after = candidates[candidates.index(last) + 1 :]
    return next((candidate for candidate in after if candidate.predicted_ms * slower <= budget_ms), None)


def comparable(front: Front, run: Run) -> bool:
    """Whether the latencies of a front are of the device and the threads that a run measures on now."""
    settings = run.recipe.latency
    own = {"device": settings.device, "threads": settings.threads}
    return all(front.latency.get(name) == value for name, value in own.items())


def over_budget(artifacts: Iterable[Artifact], workdir: WorkDir) -> str | None:
    """Returns a sentence that names the budgets that no model of a work directory kept, or None."""
    missed = sorted({a.record["budget_ms"] for a in artifacts if a.record["within_budget"] is False})
    if not missed:
        return None
    return (
        f"No subnet tried kept the budget of {', '.join(f'{ms:g}' for ms in missed)} ms when measured, the fastest of "
        "them was exported all the same; if the machine was busy measure again (delete the latency table, then "
        f"`{commands.writer(commands.LATENCY).line(workdir)}`), or give a larger budget."
    )


def _export(
    run: Run, front: Front, candidate: Candidate, budget_ms: float, allowed: Mapping[str, Any]
) -> tuple[list[Artifact], float]:
    """Exports one subnet in every precision; returns its artifacts and its latency in ms in that of the budget."""
    settings, arch = run.recipe.deploy, candidate.arch
    model = extract(run.calibrated(arch), arch)
    ranges = run.images_for_calibration(arch.resolution, count=settings.calibration_images)
    precisions = tuple(dict.fromkeys((front.precision, *settings.precisions)))
    ends = {precision: run.ends(precision) for precision in precisions}
    artifacts = {
        precision: export_tflite(
            model,
            run.models / f"{budget_ms:g}ms-{candidate.id}-{precision}.tflite",
            precision=precision,
            calibrate_on=ranges if PRECISIONS[precision].needs_images else None,
            profile=run.space.profile,
            io=ends[precision].io,
            scores=ends[precision].scores,
            metadata=_metadata(run, front, candidate, budget_ms),
            overwrite=True,
            **allowed,
        )
        for precision in precisions
    }
    answered = _answered(run, model, arch.resolution)
    fits = comparable(front, run)
    rows = {
        precision: _measure(run, artifact, budget_ms if fits and precision == front.precision else None)
        for precision, artifact in artifacts.items()
    }
    measured_ms = rows[front.precision].ms
    within_budget = measured_ms <= budget_ms if fits else None
    for precision, artifact in artifacts.items():
        latency = {"predicted_ms": _predicted_ms(run, candidate, precision), "measured": rows[precision].to_json()}
        facts = _accuracy(run, artifact, answered, arch.resolution)
        artifact.update(**facts, latency=latency, within_budget=within_budget)
        say(f"{artifact.path.name}: {rows[precision].ms:.3g} ms, {_in_words(facts)}")
    return list(artifacts.values()), measured_ms


def _measure(run: Run, artifact: Artifact, budget_ms: float | None) -> BenchmarkRow:
    """Measures a model; twice more if it seems to break the budget, since a busy machine can only slow it down."""
    settings = run.recipe.latency
    rows: list[BenchmarkRow] = []
    while not rows or (budget_ms is not None and rows[-1].ms > budget_ms and len(rows) < _MEASUREMENTS):
        rows.append(benchmark(artifact, device=settings.device, threads=settings.threads))
    return min(rows, key=lambda row: row.ms)


def _predicted_ms(run: Run, candidate: Candidate, precision: str) -> float | None:
    """By the latency table of the precision, if there is one that covers the subnet."""
    path = run.latency_table_file(precision)
    if not path.exists():
        return None
    table = LatencyTable.load(path, space=run.space)
    return table.predict(candidate.arch) if table.covers(candidate.arch) else None


def _answered(run: Run, model: Any, resolution: int) -> dict[str, np.ndarray]:
    """At which place the Keras model has the label of each picture that chose and, if there are some, that judges."""
    data = run.data
    roles = [role for role in ("val", "test") if data.labelled and len(data.ids_of(role, some=False))]
    return {role: evaluate_each(model, _pictures(run, role, resolution)) for role in roles}


def _pictures(run: Run, role: str, resolution: int) -> Any:
    return run.data.eval(resolution=resolution, batch_size=run.recipe.accuracy.batch_size, role=role)


def _accuracy(run: Run, artifact: Artifact, answered: Mapping[str, np.ndarray], resolution: int) -> dict[str, Any]:
    """Accuracy of the file on the pictures that chose it and on those that judge, each beside the Keras model's.

    Where there are none it is null, with the reason.
    """
    data = run.data
    if not data.labelled:
        reason = f"{run.recipe.data.source} has no classes"
        return {"accuracy": None, "accuracy_not_measured": reason}
    found: dict[str, Any] = {
        "test_accuracy": None,
        "test_accuracy_not_measured": "there are no test pictures: accuracy is of those that chose the model",
    }
    for role, expected in answered.items():
        batches = logits_of(artifact.path, _pictures(run, role, resolution))
        accuracy, per_class, right = judged(data.labels, batches)
        found["accuracy" if role == "val" else "test_accuracy"] = {
            **accuracy.to_json(),
            "data": data.name,
            "role": role,
            "figure": "measured",
            "against_float": _paired(right, expected < 1),
            "per_class": per_class.to_json(),
        }
    if found["test_accuracy"]:
        del found["test_accuracy_not_measured"]
    return found


def _paired(file: np.ndarray, model: np.ndarray) -> dict[str, float | int]:
    """How much more accurate a file is than its Keras model, on the same pictures, with the 95 % interval of that."""
    found = paired_difference(file, model)
    names = {"only_first": "only_file", "only_second": "only_float"}
    return {names.get(name, name): number for name, number in found._asdict().items()}


def _in_words(facts: Mapping[str, Any]) -> str:
    if not facts["accuracy"]:
        return "accuracy not measured"
    on_test = f", test {facts['test_accuracy']['top1']:.2%}" if facts["test_accuracy"] else ""
    return f"top-1 val {facts['accuracy']['top1']:.2%}{on_test}"


def _metadata(run: Run, front: Front, candidate: Candidate, budget_ms: float) -> dict[str, Any]:
    space, arch = run.space, candidate.arch
    accuracy = dict(candidate.to_json()["accuracy"])
    if front.predicted:
        accuracy |= {name: front.accuracy[name] for name in ("predictor", "caveat")}
    return {
        "arch": {**arch.to_json(), "id": candidate.id},
        "space": space.to_json(),
        "recipe_hash": run.recipe.hash,
        "budget_ms": budget_ms,
        "budget_precision": front.precision,
        "budget_device": front.latency.get("device"),
        "macs": cost.macs(space, arch),
        "params": cost.params(space, arch),
        "normalization": run.normalization,
        "preprocessing": inputs.described(arch.resolution, upright=run.recipe.data.exif_orientation),
        "labels": run.labels,
        "float_accuracy": accuracy,
    }


def _discard(made: Iterable[Artifact]) -> None:
    for artifact in made:
        artifact.path.unlink(missing_ok=True)
        artifact.sidecar.unlink(missing_ok=True)
