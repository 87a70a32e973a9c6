"""What a run is doing, or where it stopped, from its files alone: on any machine that has the disk. No TensorFlow."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

from compofa_tf import locks
from compofa_tf.data.card import load_card
from compofa_tf.errors import InputError
from compofa_tf.pipeline.run import Run
from compofa_tf.progress import duration
from compofa_tf.training import metrics
from compofa_tf.training.phases import Phase, phase_at, place_phases

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 60
_STEP = re.compile(r"step-(\d+)\.npz")


def status(run: Run) -> list[str]:
    """Returns what there is to say of a run, a line each: who works on it, how far it is, and its curves.

    Args:
      run: The run; it may be at work.
    """
    records = metrics.read(run.metrics_file) if run.metrics_file.exists() else []
    lines = [f"{run.path}: recipe {run.recipe.name} ({run.recipe.hash})", *_writers(run)]
    if run.supernet_file.exists():
        lines.append("Training: finished.")
    elif records or run.checkpoints.exists():
        lines += _progress(run, records)
    else:
        lines.append("Training: not begun.")
    return [*lines, *_curves(records)]


def _writers(run: Run) -> list[str]:
    found = []
    for writer in locks.writers(run.path):
        who = f"{writer.output}: process {writer.process} on {writer.host}"
        for_ = duration(max(0.0, time.time() - writer.since))
        if writer.alive:
            found.append(f"At work, {who}, for {for_}; last sign of life {writer.silent_s:.0f} s ago.")
        else:
            found.append(f"Gone, {who}: no sign of life for {duration(writer.silent_s)}; run the same command again.")
    return found or ["Nobody is at work on it."]


def _progress(run: Run, records: Sequence[metrics.Record]) -> list[str]:
    step = int(records[-1]["step"]) if records else 0
    found = [f"Training: {_position(run, records, step)}"]
    saved = sorted(run.checkpoints.glob("step-*.npz"))
    if saved:
        match, ago = _STEP.fullmatch(saved[-1].name), time.time() - saved[-1].stat().st_mtime
        at = f"step {int(match[1])}" if match else saved[-1].name
        found.append(f"Last checkpoint: {at}, {duration(max(0.0, ago))} ago.")
    else:
        found.append("No checkpoint yet.")
    return found


def _position(run: Run, records: Sequence[metrics.Record], step: int) -> str:
    if not records:
        return "begun, no step recorded yet."
    record, phases = records[-1], _phases(run)
    if not phases:
        return f"{record['phase']}, epoch {record['epoch']:.2f}, step {step}, loss {record['loss']:.4f}."
    phase, end = phase_at(phases, step), phases[-1].end
    text = f"{phase.name}, epoch {phase.epoch(step):.2f} of {phase.settings.epochs}, step {step} of {end}"
    text += f", loss {record['loss']:.4f}"
    speeds = {str(r["phase"]): float(r["images_per_s"]) for r in records if "images_per_s" in r}
    left_s = _left(run, phases, step, speeds)
    return f"{text}, {speeds[phase.name]:.0f} images/s{left_s}." if phase.name in speeds else f"{text}."


def _left(run: Run, phases: Sequence[Phase], step: int, speeds: dict[str, float]) -> str:
    """How long the rest takes, where the speed of every phase to come is known."""
    todo = [(phase.name, phase.end - max(step, phase.start)) for phase in phases if step < phase.end]
    if any(speeds.get(name, 0.0) <= 0 for name, _ in todo):
        return ""
    batch = run.recipe.data.batch_size
    return f", {duration(sum(steps * batch / speeds[name] for name, steps in todo))} left without validation"


def _phases(run: Run) -> tuple[Phase, ...]:
    """The phases of the run; none where nobody knows how many images there are."""
    try:
        card = load_card(run.data_card_file)
        return () if card is None else place_phases(run.recipe, train_size=sum(card.counts["train"]))
    except (InputError, KeyError):
        return ()


def _curves(records: Sequence[metrics.Record]) -> list[str]:
    """The loss of each phase, and each accuracy, as a line of blocks from the first record to the last."""
    curves: dict[str, list[float]] = {}
    for record in records:
        curves.setdefault(f"loss, {record['phase']}", []).append(float(record["loss"]))
    for record in records:
        for name, share in (record.get("val_top1") or {}).items():
            curves.setdefault(f"top-1, {name}", []).append(100 * float(share))
    width = max(map(len, curves), default=0)
    return [
        f"{name:{width}} {_drawn(values)} {values[0]:.4g} to {values[-1]:.4g}{' %' if name[0] == 't' else ''}"
        for name, values in curves.items()
        if len(values) > 1
    ]


def _drawn(values: Sequence[float]) -> str:
    """Values as blocks of different height; many are averaged to ``_WIDTH``."""
    size = -(-len(values) // _WIDTH)
    means = [sum(values[i : i + size]) / len(values[i : i + size]) for i in range(0, len(values), size)]
    low, high = min(means), max(means)
    steps: list[Any] = [0 if high == low else round((v - low) / (high - low) * (len(_BLOCKS) - 1)) for v in means]
    return "".join(_BLOCKS[step] for step in steps)
