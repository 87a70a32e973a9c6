"""A work directory as a finished run leaves it, with invented numbers, and how its page is read."""

from __future__ import annotations

import html.parser
import itertools
import json
import math

import numpy as np

from compofa_tf import families, files
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.searches.exact import search
from compofa_tf.space import cost
from compofa_tf.space.units import unit_costs
from compofa_tf.statistics import wilson_interval

SPACE = families.mobilenet_v3(classes=10, input_size=32, width_mult=0.5)
RESOLUTIONS = (24, 28, 32)
VAL_IMAGES = 5000
SPEED = {"float32": 11.0, "int8": 24.0}
"""Million multiply-adds per millisecond of the fake device."""


def fake_latency(precision):
    """A latency table whose pieces take what they compute and a little each, with 24 whole subnets to check it."""
    rng = np.random.default_rng(11)
    conditions = {"processor": "AMD EPYC", "runtime_version": "2.3.0", "delegate": "XNNPACK", "cores": 2}
    table = LatencyTable(SPACE, precision=precision, resolutions=RESOLUTIONS, conditions=conditions)
    for resolution, depth in itertools.product(RESOLUTIONS, (2, 3, 4)):
        for piece in SPACE.pieces(SPACE.arch(depths=depth, resolution=resolution)):
            table.entries.setdefault(piece.key, fake_timing(0.03 + piece_macs(piece) / 1e6 / SPEED[precision]))
    for arch in (SPACE.sample(rng, resolutions=RESOLUTIONS) for _ in range(24)):
        table.add(SPACE.id(arch), fake_timing(table.predict(arch) * float(rng.normal(1.01, 0.015))), subnet=True)
    return table


def fake_timing(ms):
    return Timing((ms,), ms, ms, 50, True, "2026-11-22T10:00:00+00:00")


def piece_macs(piece):
    height, width, macs = piece.height, piece.width, 0
    for unit in piece.units:
        ops, height, width = unit_costs(unit, height, width)
        macs += sum(op.macs for op in ops)
    return macs


def fake_tables():
    rng = np.random.default_rng(7)
    table = AccuracyTable(SPACE, data="cifar10", images=None, resolutions=RESOLUTIONS, recipe_hash="5f0c2d7e9a114b38")
    for arch in SPACE.enumerate(resolutions=RESOLUTIONS):
        size = math.log(cost.macs(SPACE, arch) / 2e6) / 3
        top1 = 0.58 + 0.22 * (1 - math.exp(-2.2 * size)) + 0.025 * (arch.resolution - 24) / 8 + rng.normal(0, 0.006)
        table.add(AccuracyRecord(arch, round(top1 * VAL_IMAGES) / VAL_IMAGES, 0.98, VAL_IMAGES))
    return table


def per_class():
    """Accuracy class by class, of a model that takes cats for dogs."""
    return {
        "balanced_accuracy": 0.8,
        "recall": {"cat": 0.7, "dog": 0.9, "owl": None},
        "counts": {"cat": 6000, "dog": 4000, "owl": 0},
        "confusions": [["cat", "dog", 1800], ["dog", "cat", 400]],
    }


def fake_artifact(candidate, table, budget_ms, rng):
    precision, predicted = table.precision, table.predict(candidate.arch)
    measured = predicted * rng.uniform(0.98, 1.05)
    top1 = candidate.top1 - (rng.integers(0, 30) / VAL_IMAGES if precision == "int8" else 0)
    low, high = wilson_interval(top1, VAL_IMAGES)
    macs = cost.macs(SPACE, candidate.arch)
    return {
        "arch": {**candidate.arch.to_json(), "id": candidate.id},
        "precision": precision,
        "file": f"{candidate.id}-{precision}.tflite",
        "size_bytes": int(cost.params(SPACE, candidate.arch) * (1 if precision == "int8" else 4)) + 60000,
        "sha256": "".join(rng.choice(list("0123456789abcdef"), 64)),
        "macs": macs,
        "agreement": {"images": 64, "top1_agreement": 63 / 64},
        "accuracy": {
            "top1": top1,
            "top5": 0.98,
            "count": VAL_IMAGES,
            "low": low,
            "high": high,
            "per_class": per_class(),
        },
        "test_accuracy": {
            "top1": top1 - 0.01,
            "top5": 0.97,
            "count": 10_000,
            "low": low - 0.01,
            "high": high - 0.01,
            "per_class": per_class(),
        },
        "float_accuracy": {"top1": candidate.top1, "top5": 0.98, "count": VAL_IMAGES},
        "latency": {
            "predicted_ms": predicted,
            "measured": {
                "ms": measured,
                "p90_ms": measured * rng.uniform(1.01, 1.06),
                "runs": 200,
                "warmup_runs": 20,
                "threads": 1,
                "device": "host",
                "delegate": "XNNPACK",
                "fully_accelerated": True,
                "runtime_version": "2.3.0",
                "date": "2026-11-22T10:00:00+00:00",
                "processor": "AMD EPYC",
                "noisy": False,
            },
        },
        "budget_ms": budget_ms,
    }


def write_metrics(path, rng):
    lines, before = [], 0
    for phase, epochs, start, floor in (("teacher", 12, 2.3, 1.05), ("train", 16, 5.4, 4.3)):
        for epoch in range(1, epochs + 1):
            for part in range(1, 11):
                step = (epoch - 1) * 350 + part * 35
                loss = floor + (start - floor) * math.exp(-step / 1200) + rng.normal(0, 0.05)
                row = {"phase": phase, "step": before + step, "epoch": epoch, "loss": loss, "learning_rate": 0.1}
                lines.append({**row, "images_per_s": float(rng.normal(310, 8))})
            rise = 1 - math.exp(-epoch / 4)
            shares = {"largest": 0.3 + 0.5 * rise} | ({"smallest": 0.25 + 0.42 * rise} if phase == "train" else {})
            lines.append({"phase": phase, "epoch": epoch, "step": before + epoch * 350, "val_top1": shares})
        before += epochs * 350
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def fake_workdir(root, *, precisions=("float32", "int8")):
    """A work directory as a finished run leaves it, with invented numbers."""
    rng = np.random.default_rng(3)
    recipe = {
        "name": "cifar10",
        "space": {
            "family": "mobilenet_v3",
            "width_mult": 0.5,
            "kernel": "fixed",
            "coupling": "compound",
            "profile": "mobile",
        },
        "data": {"source": "folder:cifar10", "resolutions": [24, 28, 32], "batch_size": 128},
        "teacher": {"epochs": 12, "learning_rate": 3.2, "subnets": 1, "kernels": [7]},
        "train": {"epochs": 16, "learning_rate": 1.6, "subnets": 4},
        "optimizer": {"dropout": 0.1},
        "seed": 0,
    }
    files.write_json(root / "recipe.json", {"recipe": recipe}, kind="recipe", recipe_hash="5f0c2d7e9a114b38")
    supernet = {"space": SPACE.to_json(), "labels": [f"class{i}" for i in range(10)]}
    files.write_json(root / "supernet" / "supernet.json", supernet, kind="supernet")
    write_metrics(root / "metrics.jsonl", rng)
    accuracy = fake_tables()
    accuracy.save(root / "accuracy" / "val.json")
    tables = {precision: fake_latency(precision) for precision in precisions}
    front = search(SPACE, accuracy=accuracy, latency=tables["int8"])
    front.save(root / "front.json")
    for precision, table in tables.items():
        table.save(root / "latency" / f"host-{precision}-t1.json")
        for budget_ms, choice in front.chosen.items():
            artifact = fake_artifact(choice, table, budget_ms, rng)
            path = root / "models" / f"{artifact['file']}.json"
            files.write_json(path, artifact, kind="artifact", recipe_hash="5f0c2d7e9a114b38")
    return root


def copy_without(source, target, missing):
    for path in source.rglob("*.json*"):
        name = path.relative_to(source)
        if missing not in (name.parts[0], str(name)):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(path.read_bytes())
    return target


class Page(html.parser.HTMLParser):
    """Collects text, attributes, and tags that were opened and not closed."""

    VOID = ("meta", "br", "path", "use", "rect")

    def __init__(self, text):
        super().__init__()
        self.text, self.links, self.tags, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href", "action", "data", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def words(page):
    return " ".join(" ".join(Page(page).text).split())
