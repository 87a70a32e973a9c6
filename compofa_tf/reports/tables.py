"""The tables and numbers of a report, as its template shows them. No TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compofa_tf.reports import figures, reading
from compofa_tf.reports.reading import Run, number, value
from compofa_tf.searches.front import Front

ABSENT = "–"


def cards(run: Run, front: Front | None) -> list[dict[str, Any]]:
    """Returns the best member within each budget: measured values of the exported file, else those of the tables."""
    if front is None:
        return []
    cards = []
    for budget_ms, choice in front.chosen.items():
        fitting = [
            a for a in run.artifacts if number(a, "budget_ms") == budget_ms and value(a, "precision") == front.precision
        ]
        card = {
            "budget_ms": budget_ms,
            "id": choice.id,
            "precision": front.precision,
            "top1": choice.top1,
            "predicted": front.predicted,
            "low": None if front.predicted else choice.interval[0],
            "high": None if front.predicted else choice.interval[1],
            "predicted_ms": choice.predicted_ms,
            "measured_ms": None,
            "elsewhere_ms": None,
            "device": front.latency.get("device"),
            "share": None,
            "size_bytes": None,
            "macs": None,
        }
        cards.append({**card, **_card_of(fitting[0], front, budget_ms)} if fitting else card)
    return cards


def _card_of(artifact: dict[str, Any], front: Front, budget_ms: float) -> dict[str, Any]:
    row = artifact_row(artifact)
    measured = row["measured_ms"]
    card = {key: row[key] for key in ("id", "size_bytes", "macs")}
    if measured is not None and not reading.on_device_of(front, artifact):  # says nothing about the budget
        card |= {"elsewhere_ms": measured, "elsewhere": value(artifact, "latency", "measured", "device")}
    else:
        share = None if measured is None else min(1.0, measured / budget_ms)
        card |= {"predicted_ms": row["predicted_ms"], "measured_ms": measured, "share": share}
    if row["top1"] is None:  # the accuracy of the file was not measured: that of the search stays
        return card
    return {**card, **{key: row[key] for key in ("top1", "low", "high")}, "predicted": False}


def artifact_row(artifact: dict[str, Any]) -> dict[str, Any]:
    """Returns one row of the table of exported files; what the sidecar lacks is ``None``."""
    predicted, measured = (
        number(artifact, "latency", "predicted_ms"),
        number(artifact, "latency", "measured", "ms"),
    )
    off = None if not predicted or measured is None else 100 * (measured / predicted - 1)
    accelerated = value(artifact, "latency", "measured", "fully_accelerated")
    if accelerated is None:
        accelerated = value(artifact, "fully_accelerated")
    return {
        "id": value(artifact, "arch", "id") or ABSENT,
        "file": Path(str(value(artifact, "file") or ABSENT)).name,
        "precision": value(artifact, "precision") or ABSENT,
        "budget_ms": number(artifact, "budget_ms"),
        "size_bytes": number(artifact, "size_bytes"),
        "macs": number(artifact, "macs"),
        "top1": number(artifact, "accuracy", "top1"),
        "low": number(artifact, "accuracy", "low"),
        "high": number(artifact, "accuracy", "high"),
        "images": number(artifact, "accuracy", "count"),
        "float_top1": number(artifact, "float_accuracy", "top1"),
        "predicted_top1": number(artifact, "float_accuracy", "predicted_top1"),
        "predicted_ms": predicted,
        "measured_ms": measured,
        "p90_ms": number(artifact, "latency", "measured", "p90_ms"),
        "off": off,
        "accelerated": accelerated,
        "sha256": str(value(artifact, "sha256") or ABSENT)[:12],
        "conditions": _conditions(value(artifact, "latency", "measured")),
    }


def _conditions(measured: Any) -> str:
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
        found = value(measured, key)
        if found is not None:
            words.append(text.format(str(found)))
    if value(measured, "noisy"):
        words.append("on a busy machine: the spread stayed above the bound")
    return ", ".join(words)


def grouped_conditions(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Returns conditions of measurement, and files measured under them with how far they agree with the Keras model."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for artifact in run.artifacts:
        row = artifact_row(artifact)
        text = row["conditions"] or "latency not measured"
        if row["images"] is not None:
            text += f"; accuracy on {row['images']:,} images"
        elif value(artifact, "accuracy_not_measured"):
            text += f"; accuracy not measured: {value(artifact, 'accuracy_not_measured')}"
        groups.setdefault(text, []).append((row["file"], _agreement(artifact)))
    return list(groups.items())


def _agreement(artifact: dict[str, Any]) -> str:
    share, images = (number(artifact, "agreement", key) for key in ("top1_agreement", "images"))
    if share is None or images is None:
        return ""
    return f"same class as the Keras model on {100 * share:.1f} % of {images:,} images"


def sources(fronts: Sequence[Front]) -> list[str]:
    """Returns a sentence on each source of a front that was not measured here."""
    said = []
    for front in fronts:
        if front.predicted:
            said.append(f"Accuracies were predicted, by the {front.accuracy['predictor']}: {front.accuracy['caveat']}.")
        conditions = front.latency.get("conditions")
        if value(conditions, "caveat"):
            said.append(f"Latencies of the front: {value(conditions, 'origin')}; {value(conditions, 'caveat')}.")
    return list(dict.fromkeys(said))


def training_facts(run: Run) -> list[tuple[str, str]]:
    """Returns what was trained and how fast, as names and values."""
    recipe = value(run.recipe, "recipe")
    labels = value(run.supernet, "labels")
    sizes = {front.space.size for front in run.fronts.values()}
    facts: list[tuple[str, Any]] = [
        ("recipe", value(recipe, "name")),
        ("recipe hash", value(run.recipe, "recipe_hash")),
        ("subnets", f"{sizes.pop():,}" if len(sizes) == 1 else None),
        ("classes", len(labels) if isinstance(labels, list) else None),
        ("family", value(recipe, "space", "family")),
        ("width multiplier", value(recipe, "space", "width_mult")),
        ("coupling", value(recipe, "space", "coupling")),
        ("kernel", value(recipe, "space", "kernel")),
        ("profile", value(recipe, "space", "profile")),
        ("data", value(recipe, "data", "source")),
        ("seed", value(recipe, "seed")),
        *(_schedule(recipe) if run.imported is None else [("weights", f"imported from {run.imported}")]),
    ]
    for name in dict.fromkeys(str(row["phase"]) for row in run.metrics if "phase" in row):
        rates = sorted(
            rate
            for row in run.metrics
            if str(row.get("phase")) == name and (rate := number(row, "images_per_s")) is not None
        )
        if rates:
            facts.append((f"speed, {name}", f"{rates[len(rates) // 2]:,.0f} images/s (median)"))
    return [(name, str(fact)) for name, fact in facts if fact is not None]


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
    facts = [
        ("data", f"{value(content, 'data')}, {value(content, 'split')} split"),
        ("images per subnet", "all of the split" if images is None else f"{images:,}"),
        ("calibration", f"{value(content, 'calibration_images')} training images per subnet"),
        (
            "covered",
            f"{value(content, 'covered', 'measured')} of {value(content, 'covered', 'of')} subnets x resolutions",
        ),
        ("resolutions", _joined(value(content, "resolutions"), " px")),
        ("top-1", f"{percent(min(found))} to {percent(max(found))}" if found else None),
        ("interval", "95 %, Wilson score"),
        ("written", _date(content)),
    ]
    return {"name": name, "facts": [(key, str(fact)) for key, fact in facts if fact is not None]}


def latency_facts(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Returns how a latency table was measured, how well it predicts, and the figure of that."""
    import markupsafe

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
    return {
        "name": name,
        "facts": [(key, str(fact)) for key, fact in facts if fact is not None],
        "svg": markupsafe.Markup(svg),
    }


def provenance(run: Run) -> list[tuple[str, str, str, str]]:
    """Returns file, date, recipe hash and versions of everything that was read."""
    headers: dict[str, Any] = {"recipe.json": run.recipe} if run.recipe else {}
    headers |= {**run.accuracy, **run.latency}
    for artifact in run.artifacts:
        headers[f"models/{artifact_row(artifact)['file']}"] = artifact
    rows = []
    for name, header in headers.items():
        versions = value(header, "versions")
        packages = ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else ABSENT
        rows.append((name, _date(header) or ABSENT, str(value(header, "recipe_hash") or ABSENT), packages))
    return rows


# Numbers


def percent(share: float | None) -> str:
    """``0.8272`` as ``82.7 %``."""
    return ABSENT if share is None else f"{100 * share:.1f} %"


def difference(percentage: float | None) -> str:
    """``-0.94`` as ``−0.9 %``, with a minus sign that is as wide as the plus."""
    return ABSENT if percentage is None else f"{percentage:+.1f} %".replace("-", "−")


def milliseconds(ms: float | None) -> str:
    """Three significant digits, without an exponent: ``0.0123``, ``4.56``, ``123``."""
    if ms is None:
        return ABSENT
    digits = 0 if ms >= 100 else 1 if ms >= 10 else 2 if ms >= 1 else 3
    return f"{ms:.{digits}f}"


def byte_size(size_bytes: float | None) -> str:
    """Decimal kilobytes and megabytes."""
    if size_bytes is None:
        return ABSENT
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def short_count(count: float | None) -> str:
    """``12900000`` as ``12.9 M``."""
    if count is None:
        return ABSENT
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return f"{count:g}"


FILTERS = {"percent": percent, "difference": difference, "ms": milliseconds, "size": byte_size, "count": short_count}
"""Names of the number formats in the template."""
