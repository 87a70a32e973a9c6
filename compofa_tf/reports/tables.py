"""The tables of a report, as its template shows them. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import markupsafe

from compofa_tf.reports import charts, figures
from compofa_tf.reports.formats import ABSENT, difference, percent
from compofa_tf.reports.reading import Material
from compofa_tf.reports.records import number, value
from compofa_tf.reports.sidecars import Sidecar
from compofa_tf.searches.candidate import Candidate
from compofa_tf.searches.front import Front

Facts = list[tuple[str, str]]
"""Names and values, in order."""


def cards(material: Material, front: Front | None) -> list[dict[str, Any]]:
    """Returns the best subnet within each budget: measured values of the exported file, else those of the tables."""
    if front is None:
        return []
    cards = []
    for budget_ms, choice in front.chosen.items():
        card = {
            "budget_ms": budget_ms,
            "id": choice.id,
            "precision": front.precision,
            **_of_candidate(front, choice),
            "predicted_ms": choice.predicted_ms,
            "measured_ms": None,
            "elsewhere_ms": None,
            "device": front.latency.get("device"),
            "share": None,
            "size_bytes": None,
            "macs": None,
        }
        fitting = (s for s in material.sidecars if (s.budget_ms, s.precision) == (budget_ms, front.precision))
        exported = next(fitting, None)
        cards.append(card if exported is None else {**card, **_exported(exported, front, budget_ms)})
    return cards


def _of_candidate(front: Front, choice: Candidate) -> dict[str, Any]:
    """The accuracy that chose: on all pictures if it was measured there, with its interval if it is top-1."""
    whole = choice.whole
    low, high = choice.interval if whole is None else whole.interval
    plain = not front.predicted and front.objective == "top1"
    score = choice.score if choice.whole_score is None else choice.whole_score
    interval = {"low": low if plain else None, "high": high if plain else None}
    return {"top1": score, "predicted": front.predicted, **interval}


def _exported(sidecar: Sidecar, front: Front, budget_ms: float) -> dict[str, Any]:
    """What the exported file says differently on its card."""
    card: dict[str, Any] = {"id": sidecar.id, "size_bytes": sidecar.size_bytes, "macs": sidecar.macs}
    measured_ms = sidecar.measured_ms
    if measured_ms is not None and not charts.on_device_of(front, sidecar):  # says nothing about the budget
        card |= {"elsewhere_ms": measured_ms, "elsewhere": sidecar.device}
    else:
        share = None if measured_ms is None else min(1.0, measured_ms / budget_ms)
        card |= {"predicted_ms": sidecar.predicted_ms, "measured_ms": measured_ms, "share": share}
    if sidecar.top1 is None:  # the accuracy of the file was not measured: that of the search stays
        return card
    if front.objective == "balanced":
        return {**card, "top1": sidecar.balanced, "low": None, "high": None, "predicted": False}
    return {**card, "top1": sidecar.top1, "low": sidecar.low, "high": sidecar.high, "predicted": False}


_SHOWN_CLASSES, _SHOWN_CONFUSIONS = 5, 5


def per_class(material: Material) -> list[dict[str, Any]]:
    """Returns what each exported file gets wrong: balanced accuracy, classes of the lowest recall, confusions."""
    rows = []
    for sidecar in material.sidecars:
        recalls = sidecar.recalls or []
        if len(recalls) < 2:
            continue
        lowest = [f"{name} {percent(share)} of {count:,.0f}" for name, share, count in recalls[:_SHOWN_CLASSES]]
        often = [f"{a} for {b} {count:,.0f}" for a, b, count in (sidecar.confusions or [])[:_SHOWN_CONFUSIONS]]
        rows.append(
            {
                "id": sidecar.id,
                "precision": sidecar.precision,
                "balanced": sum(share for _, share, _ in recalls) / len(recalls),
                "pictures": "val" if sidecar.test_images is None else "test",
                "lowest": ", ".join(lowest),
                "confusions": ", ".join(often) or "none",
            }
        )
    return rows


def grouped_conditions(material: Material) -> list[tuple[str, Facts]]:
    """Returns conditions of measurement, and files measured under them with how far they agree with the Keras model."""
    groups: dict[str, Facts] = {}
    for sidecar in material.sidecars:
        text = _conditions(sidecar.benchmark) or "latency not measured"
        if sidecar.images is not None:
            text += f"; accuracy on {sidecar.images:,} val images"
            text += (
                f", test on {sidecar.test_images:,}" if sidecar.test_images is not None else ", which chose the model"
            )
        elif sidecar.accuracy_not_measured:
            text += f"; accuracy not measured: {sidecar.accuracy_not_measured}"
        groups.setdefault(text, []).append((sidecar.file, _agreement(sidecar)))
    return list(groups.items())


def _agreement(sidecar: Sidecar) -> str:
    if sidecar.agreement is None:
        return ""
    share, images = sidecar.agreement
    return f"same class as the Keras model on {100 * share:.1f} % of {images:,} images"


def _conditions(benchmark: Any) -> str:
    """How a benchmark row was measured, in one line."""
    words = []
    for key, text in (
        ("device", "{}"),
        ("processor", "{}"),
        ("delegate", "{}"),
        ("threads", "threads: {}"),
        ("runs", "{} runs"),
        ("warmup_runs", "after {} warm-up runs"),
        ("runtime_version", "LiteRT {}"),
        ("date", "{:.10}"),
    ):
        found = value(benchmark, key)
        if found is not None:
            words.append(text.format(str(found)))
    if value(benchmark, "noisy"):
        words.append("on a busy machine: the spread stayed above the bound")
    return ", ".join(words)


def sources(fronts: Sequence[Front]) -> list[str]:
    """Returns a sentence on each source of a front that was not measured here, and on what its pictures do not show."""
    said = []
    for front in fronts:
        if front.predicted:
            said.append(f"Accuracies were predicted, by the {front.accuracy['predictor']}: {front.accuracy['caveat']}.")
        conditions = front.latency.get("conditions")
        if value(conditions, "caveat"):
            said.append(f"Latencies of the front: {value(conditions, 'origin')}; {value(conditions, 'caveat')}.")
        said += front.doubts if front.budgets else []
    return list(dict.fromkeys(said))


def training_facts(material: Material) -> Facts:
    """Returns what was trained and how fast."""
    recipe = value(material.recipe, "recipe")
    labels = value(material.supernet, "labels")
    sizes = {front.space.size for front in material.fronts.values()}
    facts: list[tuple[str, Any]] = [
        ("recipe", value(recipe, "name")),
        ("recipe hash", value(material.recipe, "recipe_hash")),
        ("subnets", f"{sizes.pop():,}" if len(sizes) == 1 else None),
        ("classes", len(labels) if isinstance(labels, list) else None),
        ("family", value(recipe, "space", "family")),
        ("width multiplier", value(recipe, "space", "width_mult")),
        ("coupling", value(recipe, "space", "coupling")),
        ("kernel", value(recipe, "space", "kernel")),
        ("profile", value(recipe, "space", "profile")),
        ("data", value(recipe, "data", "source")),
        ("seed", value(recipe, "seed")),
        *(_schedule(recipe) if material.imported is None else [("weights", f"imported from {material.imported}")]),
    ]
    return _known([*facts, *_speeds(material.metrics)])


def _speeds(metrics: Sequence[dict[str, Any]]) -> Facts:
    """The median speed of each phase, in the order of training."""
    speeds: dict[str, list[float]] = {}
    for record in metrics:
        if "phase" in record and (speed := number(record, "images_per_s")) is not None:
            speeds.setdefault(str(record["phase"]), []).append(speed)
    medians = {name: sorted(found)[len(found) // 2] for name, found in speeds.items()}
    return [(f"speed, {name}", f"{median:,.0f} images/s (median)") for name, median in medians.items()]


def _schedule(recipe: Any) -> list[tuple[str, Any]]:
    return [
        ("batch size", value(recipe, "data", "batch_size")),
        ("training resolutions", _joined(value(recipe, "data", "resolutions"), " px")),
        ("teacher", _phase(value(recipe, "teacher"))),
        *((f"shrink {i}", _phase(phase)) for i, phase in enumerate(value(recipe, "shrink") or (), start=1)),
        ("family training", _phase(value(recipe, "train"))),
        ("dropout", value(recipe, "optimizer", "dropout")),
    ]


def _phase(phase: Any) -> str | None:
    if not isinstance(phase, dict):
        return None
    subnets = value(phase, "subnets")
    words = [f"{value(phase, 'epochs')} epochs", f"learning rate {value(phase, 'learning_rate')} per 2048 images"]
    if isinstance(subnets, int) and subnets > 1:
        words.append(f"{subnets} subnets per step")
    words += [f"{name} {some}" for name in ("depths", "expands", "kernels") if (some := _joined(value(phase, name)))]
    return ", ".join(words)


def _known(facts: Iterable[tuple[str, Any]]) -> Facts:
    """Leaves out what is not known."""
    return [(name, str(fact)) for name, fact in facts if fact is not None]


def _joined(values: Any, unit: str = "") -> str | None:
    """A list in words; long lists by their ends."""
    if not isinstance(values, (list, tuple)) or not values:
        return None
    if len(values) > 6:
        return f"{len(values)} from {values[0]} to {values[-1]}{unit}"
    return ", ".join(map(str, values)) + unit


def _date(header: Any) -> str | None:
    """The header's time to the minute."""
    created = value(header, "created")
    return None if created is None else str(created).replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")


def accuracy_facts(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Returns how an accuracy table was measured."""
    records = value(content, "records")
    shares = [number(record, "top1") for record in records.values()] if isinstance(records, dict) else []
    found = [share for share in shares if share is not None]
    images = value(content, "images")
    measured, total = (value(content, "covered", key) for key in ("measured", "of"))
    facts = [
        ("data", f"{value(content, 'data')}, {value(content, 'role') or value(content, 'split')} pictures"),
        ("images per subnet", _pictures(content, images)),
        ("computed in", value(content, "precision")),
        ("calibration", f"{value(content, 'calibration_images')} training images per subnet"),
        ("covered", f"{measured} of {total} subnets x resolutions"),
        ("resolutions", _joined(value(content, "resolutions"), " px")),
        ("top-1", f"{percent(min(found))} to {percent(max(found))}" if found else None),
        ("interval", "95 %, Wilson score"),
        ("written", _date(content)),
    ]
    return {"name": name, "facts": _known(facts)}


def _pictures(content: dict[str, Any], images: Any) -> str:
    """How many, and of how many."""
    available = number(content, "available")
    if images is None or (available is not None and images >= available):
        return "all" if available is None else f"all {available:,.0f}"
    return f"{images:,}" if available is None else f"{images:,} of {available:,.0f}, {value(content, 'sample')}"


def latency_facts(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Returns how a latency table was measured, how well it predicts, and the figure of that."""
    checked = value(content, "validation", "subnets") or []
    pairs = [(number(row, "predicted_ms"), number(row, "measured_ms")) for row in checked if isinstance(row, dict)]
    usable = [(one, other) for one, other in pairs if one is not None and other is not None]
    entries = value(content, "entries")
    pieces = list(entries.values()) if isinstance(entries, dict) else []
    busy = sum(value(piece, "noisy") is True for piece in pieces)
    keys = ("mean_absolute_error_percent", "worst_error_percent", "bias_percent", "spearman")
    mean, worst, bias, rank = (number(content, "validation", key) for key in keys)
    runtime, delegate = value(content, "conditions", "runtime_version"), value(content, "conditions", "delegate")
    facts = [
        ("device", value(content, "device")),
        ("processor", value(content, "conditions", "processor")),
        ("runtime", None if runtime is None else f"LiteRT {runtime}, {delegate}"),
        ("precision", value(content, "precision")),
        ("threads", value(content, "threads")),
        ("resolutions", _joined(value(content, "resolutions"), " px")),
        ("pieces", f"{len(pieces):,} measured" if pieces else None),
        ("runs", None if number(content, "runs") is None else f"{content['runs']} per piece"),
        ("busy", f"{busy:,} of {len(pieces):,} pieces spread too much" if busy else None),
        ("checked on", f"{len(usable)} whole subnets" if usable else None),
        ("mean error", None if mean is None else f"{mean:.2f} % (absolute)"),
        ("worst error", None if worst is None else f"{worst:.2f} %"),
        ("bias", None if bias is None else difference(bias)),
        ("Spearman", None if rank is None else f"{rank:.4f}"),
        ("written", _date(content)),
    ]
    svg = figures.check_svg(usable, title=f"Predicted and measured latency, {name}") if usable else ""
    return {"name": name, "facts": _known(facts), "svg": markupsafe.Markup(svg)}


def provenance(material: Material) -> list[tuple[str, str, str, str]]:
    """Returns file, date, recipe hash and versions of the recipe, the tables and the exported models."""
    paths = material.workdir
    headers: dict[str, Any] = {paths.recipe_file.name: material.recipe} if material.recipe else {}
    headers |= {**material.accuracy, **material.latency}
    headers |= {f"{paths.models.name}/{sidecar.file}": sidecar.content for sidecar in material.sidecars}
    rows = []
    for name, header in headers.items():
        versions = value(header, "versions")
        packages = ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else ABSENT
        rows.append((name, _date(header) or ABSENT, str(value(header, "recipe_hash") or ABSENT), packages))
    return rows
