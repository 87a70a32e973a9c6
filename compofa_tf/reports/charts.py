"""The numbers behind the figures: the family at each precision, what was chosen, training curves. No TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.reports.reading import Material
from compofa_tf.reports.records import number, value
from compofa_tf.reports.sidecars import Sidecar
from compofa_tf.searches.candidate import Candidate
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front

Lines = dict[str, list[tuple[float, float]]]
"""Points ``(step, value)`` by name, in order."""


@dataclass(frozen=True)
class Measured:
    """Measured values of one exported file.

    Attributes:
      ms: Latency of one image.
      p90_ms: 90th percentile of it.
      top1: Top-1 accuracy, in [0, 1].
      low: Lower end of its 95 % interval.
      high: Upper end of its 95 % interval.
    """

    ms: float
    p90_ms: float
    top1: float
    low: float
    high: float


@dataclass(frozen=True)
class Mark:
    """A chosen subnet: where it was predicted to be and where it is.

    Attributes:
      label: Its name in the figure.
      budget_ms: The budget that it was chosen for, if any.
      predicted: Predicted latency in ms and top-1 accuracy of the float subnet.
      measured: What the exported file reached.
    """

    label: str
    budget_ms: float | None = None
    predicted: tuple[float, float] | None = None
    measured: Measured | None = None


@dataclass(frozen=True)
class Panel:
    """The family at one precision.

    Attributes:
      title: Precision and device.
      dots: Predicted ms, top-1 accuracy and resolution of every covered subnet.
      front: Predicted ms and top-1 accuracy of the Pareto front, fastest first.
      resolutions: Resolutions that the colours stand for, ascending; the same in all panels of a report.
      marks: The chosen subnets.
      accuracy: What the vertical axis shows.
      pictures: Which figures are of which pictures, where they are of different ones.
    """

    title: str
    dots: tuple[tuple[float, float, int], ...]
    front: tuple[tuple[float, float], ...]
    resolutions: tuple[int, ...]
    marks: tuple[Mark, ...] = ()
    accuracy: str = "top-1 accuracy, %"
    pictures: str = ""


def all_fronts(material: Material) -> list[Front]:
    """Returns the fronts of a work directory, those of precisions that were measured but not searched included.

    The latter have no budgets. float32 comes first, the other precisions follow by name.
    """
    fronts = list(material.fronts.values())
    searched = {front.precision for front in fronts}
    for name, content in material.latency.items():
        if value(content, "precision") not in searched:
            fronts += _unsearched(material, name)
            searched.add(value(content, "precision"))
    return sorted(fronts, key=lambda front: (front.precision != "float32", front.precision))


def _unsearched(material: Material, name: str) -> Iterator[Front]:
    """The family under a latency table, with the accuracies of the accuracy table or else of a front."""
    root = material.workdir.path
    measured = next((front for front in material.fronts.values() if not front.predicted), None)
    try:
        if measured is not None and not material.accuracy:
            yield _under(measured, LatencyTable.load(root / name, space=measured.space))
        elif material.accuracy:
            accuracy = AccuracyTable.load(root / next(iter(material.accuracy)))
            latency = LatencyTable.load(root / name, space=accuracy.space)
            wholes = {} if measured is None else {c.id: c.whole for c in measured.candidates}
            objective = "top1" if measured is None else measured.objective
            found = search(accuracy.space, accuracy=accuracy, latency=latency, objective=objective)
            candidates = tuple(replace(c, whole=wholes.get(c.id)) for c in found.candidates)
            yield replace(found, candidates=candidates, budgets=())
    except InputError as error:
        material.problems.append(str(error))


def _under(front: Front, latency: LatencyTable) -> Front:
    """The candidates of a front with the latencies of another table."""
    return replace(
        front,
        candidates=tuple(replace(c, predicted_ms=latency.predict(c.arch)) for c in front.candidates),
        budgets=(),
        precision=latency.precision,
        latency={"device": latency.device, "threads": latency.threads, "conditions": latency.conditions},
    )


def panels(fronts: Sequence[Front], sidecars: Sequence[Sidecar]) -> list[Panel]:
    """Returns the figure of each front with the exported models of its precision."""
    resolutions = tuple(sorted({candidate.arch.resolution for front in fronts for candidate in front.candidates}))
    return [_panel(front, sidecars, resolutions) for front in fronts]


def _panel(front: Front, sidecars: Sequence[Sidecar], resolutions: tuple[int, ...]) -> Panel:
    candidates = {candidate.id: candidate for candidate in front.candidates}
    known = _accuracy_of(front)
    marks = [_mark(front, sidecar, candidates, known) for sidecar in sidecars if sidecar.precision == front.precision]
    marked = {mark.budget_ms for mark in marks}
    marks += [
        Mark(choice.id, budget_ms, (choice.predicted_ms, known(choice)))
        for budget_ms, choice in front.chosen.items()
        if budget_ms not in marked
    ]
    device, threads = front.latency.get("device"), front.latency.get("threads")
    return Panel(
        title=f"{front.precision} on {device}, {threads} thread{'s' if threads != 1 else ''}",
        dots=tuple((c.predicted_ms, c.score, c.arch.resolution) for c in front.candidates),
        front=tuple((point.predicted_ms, known(point)) for point in front.points),
        resolutions=resolutions,
        marks=tuple(marks),
        accuracy=_axis(front),
        pictures=_pictures(front, [sidecar for sidecar in sidecars if sidecar.precision == front.precision]),
    )


def _accuracy_of(front: Front) -> Callable[[Candidate], float]:
    """Accuracies on all pictures where all points of a front have them, else those that the search saw."""
    confirmed = all(point.whole_score is not None for point in front.points)
    return lambda candidate: (candidate.whole_score if confirmed else None) or candidate.score


def _axis(front: Front) -> str:
    if front.predicted:
        return "predicted top-1 accuracy, %"
    return "balanced accuracy, %" if front.objective == "balanced" else "top-1 accuracy, %"


def _pictures(front: Front, drawn: Sequence[Sidecar]) -> str:
    """Of which pictures the figures on one axis are, where they are of different ones."""
    if front.predicted:
        return ""
    line = [point.count if point.whole is None else point.whole.count for point in front.points]
    if None in (point.whole for point in front.points):
        line = [point.count for point in front.points]
    counts = {
        "dots": {candidate.count for candidate in front.candidates},
        "line": set(line),
        "files": {int(sidecar.images) for sidecar in drawn if sidecar.images is not None},
    }
    if len(set().union(*counts.values())) < 2:
        return ""
    said = [f"{what} {' or '.join(f'{n:,}' for n in sorted(some))}" for what, some in counts.items() if some]
    return f"accuracy on different pictures: {', '.join(said)}"


def on_device_of(front: Front, sidecar: Sidecar) -> bool:
    """Returns whether a model was measured on the device that the front's latencies and budgets are of."""
    return sidecar.device in (None, front.latency.get("device"))


def _mark(
    front: Front, sidecar: Sidecar, candidates: Mapping[str, Candidate], known: Callable[[Candidate], float]
) -> Mark:
    candidate = candidates.get(sidecar.id)
    return Mark(
        label=sidecar.id,
        budget_ms=sidecar.budget_ms if front.budgets else None,
        predicted=(candidate.predicted_ms, known(candidate)) if candidate else None,
        measured=_measured(sidecar, front.objective) if on_device_of(front, sidecar) else None,
    )


def _measured(sidecar: Sidecar, objective: str) -> Measured | None:
    ms, top1 = sidecar.measured_ms, sidecar.top1
    if objective == "balanced":
        return None if ms is None or sidecar.balanced is None else Measured(ms, ms, *3 * [sidecar.balanced])
    if ms is None or top1 is None:
        return None
    p90_ms, low, high = sidecar.p90_ms, sidecar.low, sidecar.high
    return Measured(
        ms, ms if p90_ms is None else p90_ms, top1, top1 if low is None else low, top1 if high is None else high
    )


def curves(material: Material) -> tuple[Lines, Lines, list[tuple[str, float]]]:
    """Returns the training curves: losses and validation accuracies against the step, and where the phases end.

    Steps are counted over all phases. A step that stands twice counts as it stands last.

    Returns:
      ``(losses, accuracies, phases)``; accuracies in percent, phases as ``(name, last step)`` in order.
    """
    losses: dict[str, dict[float, float]] = {}
    accuracies: dict[str, dict[float, float]] = {}
    ends: dict[str, float] = {}
    last = 0.0
    for record in material.metrics:
        step = number(record, "step")
        last = step = last if step is None else step
        if "phase" in record:
            ends[str(record["phase"])] = step
        if (loss := number(record, "loss")) is not None:
            losses.setdefault("loss", {})[step] = loss
        shares = value(record, "val_top1")
        for subnet in shares if isinstance(shares, dict) else ():
            if (share := number(shares, subnet)) is not None:
                accuracies.setdefault(str(subnet), {})[step] = 100 * share
    return _sorted_lines(losses), _sorted_lines(accuracies), sorted(ends.items(), key=lambda phase: phase[1])


def _sorted_lines(lines: dict[str, dict[float, float]]) -> Lines:
    return {name: sorted(points.items()) for name, points in lines.items()}
