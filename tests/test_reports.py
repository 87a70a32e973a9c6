"""The report: every number that the run recorded, nothing from elsewhere, and no failure where stages are missing."""

from __future__ import annotations

import html.parser
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from compofa_tf import families, files
from compofa_tf.accuracy.table import AccuracyRecord, AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Timing
from compofa_tf.reports import figures, reading, tables
from compofa_tf.reports import page as page_module
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
        "accuracy": {"top1": top1, "top5": 0.98, "count": VAL_IMAGES, "low": low, "high": high},
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = fake_workdir(tmp_path_factory.mktemp("runs") / "cifar10")
    return root, page_module.report(root).read_text(encoding="utf-8")


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


def test_report_is_one_file_that_asks_for_nothing(finished):
    root, page = finished
    assert (root / "report.html").read_text(encoding="utf-8") == page
    parsed = Page(page)
    assert parsed.open == [] and "script" not in parsed.tags and "link" not in parsed.tags and "img" not in parsed.tags
    assert parsed.links and all(link.startswith("#") for link in parsed.links)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)


def test_report_names_every_number_of_the_artifacts(finished):
    root, page = finished
    text = words(page)
    sidecars = [files.read_json(path, kind="artifact") for path in (root / "models").glob("*.json")]
    assert len(sidecars) == 6
    for sidecar in sidecars:
        accuracy, latency = sidecar["accuracy"], sidecar["latency"]
        for part in (
            sidecar["arch"]["id"],
            sidecar["file"],
            sidecar["sha256"][:12],
            tables.byte_size(sidecar["size_bytes"]),
            tables.short_count(sidecar["macs"]),
            f"{100 * accuracy['top1']:.1f} %",
            f"{100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f}",
            f"{100 * sidecar['float_accuracy']['top1']:.1f} %",
            tables.milliseconds(latency["measured"]["ms"]),
            tables.milliseconds(latency["measured"]["p90_ms"]),
            tables.milliseconds(latency["predicted_ms"]),
            tables.difference(100 * (latency["measured"]["ms"] / latency["predicted_ms"] - 1)),
            f"{sidecar['budget_ms']:g}",
        ):
            assert part in text, part


def test_report_says_what_was_trained_and_how_it_was_measured(finished):
    root, page = finished
    text = words(page)
    for part in (
        "gives 243 subnets. All 729 candidates (3 resolutions)", "all 729 candidates, ", "folder:cifar10", "16 epochs",
        "4 subnets per step", "per 2048 images, kernels 7", "dropout 0.1",
        "recipe hash 5f0c2d7e9a114b38", "subnets 243", "classes 10", "processor AMD EPYC",
        "runtime LiteRT 2.3.0, XNNPACK", "runs 300 per piece", "24 whole subnets", "images/s (median)",
        "same class as the Keras model on 98.4 % of 64 images",
        "host, AMD EPYC, XNNPACK, threads: 1, 200 runs, after 20 warm-up runs, LiteRT 2.3.0, 2026-11-22;",
        "accuracy on 5,000 images", "95 %, Wilson score", "compofa_tf 0", "numpy 2", "compofa benchmark", "largest",
        "smallest",
    ):  # fmt: skip
        assert part in text, part
    for path in (root / "latency").iterdir():
        content = files.read_json(path, kind="latency_table")
        found = content["validation"]
        assert f"pieces {len(content['entries'])} measured" in text
        assert f"mean error {found['mean_absolute_error_percent']:.2f} % (absolute)" in text
        assert (
            f"worst error {found['worst_error_percent']:.2f} %" in text and f"Spearman {found['spearman']:.4f}" in text
        )
    assert "Not there yet" not in text and "could not be used" not in text


def test_report_follows_light_and_dark_pages(finished):
    _, page = finished
    assert "prefers-color-scheme: dark" in page and "#fe0" not in page
    drawn = set(re.findall(r"var\(--([a-z0-9]+)\)", page))
    defined = set(re.findall(r"--([a-z0-9]+(?:-[a-z]+)?):", page))
    assert {"r0", "r1", "r2", "accent", "sans"} <= drawn <= defined


def test_report_is_deterministic(finished, tmp_path):
    root, page = finished
    assert page_module.report(root, path=tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_predicted_and_measured_never_mix(finished):
    root, _ = finished
    run = reading.read_run(root)
    front = run.fronts["front.json"]
    (panel,) = reading.panels([front], run.artifacts)
    assert len(panel.marks) == 3 and [mark.budget_ms for mark in panel.marks] == list(front.budgets)
    for mark, artifact in zip(panel.marks, (a for a in run.artifacts if a["precision"] == "int8")):
        choice = next(c for c in front.candidates if c.id == mark.label)
        assert mark.predicted == (choice.predicted_ms, choice.top1)
        assert mark.measured.ms == artifact["latency"]["measured"]["ms"]
        assert mark.measured.top1 == artifact["accuracy"]["top1"] and mark.measured.low == artifact["accuracy"]["low"]


def test_unmeasured_choices_are_marked_as_predicted_only(finished):
    run = reading.read_run(finished[0])
    (panel,) = reading.panels([run.fronts["front.json"]], [])
    assert len(panel.marks) == 3 and all(mark.predicted and mark.measured is None for mark in panel.marks)


# Partial and damaged work directories


def test_precision_that_was_measured_but_not_searched_gets_its_panel(finished):
    run = reading.read_run(finished[0])
    float32, int8 = reading.all_fronts(run)
    assert [float32.precision, int8.precision] == ["float32", "int8"] and run.problems == []
    assert float32.budgets == () and int8.budgets and int8 is run.fronts["front.json"]
    panels = reading.panels([float32, int8], run.artifacts)
    assert all(len(panel.marks) == 3 for panel in panels)
    assert all(mark.budget_ms is None and mark.measured for mark in panels[0].marks)


def test_without_any_front_the_family_is_still_drawn(finished, tmp_path):
    text = words(page_module.report(copy_without(finished[0], tmp_path / "run", "front.json")).read_text())
    assert "no front yet: run compofa search" in text and "float32 on host" in text and "int8 on host" in text
    assert "Best within each budget" not in text


def test_latency_table_that_does_not_fit_becomes_a_problem(finished, tmp_path):
    root = copy_without(finished[0], tmp_path / "run", "nothing")
    other = families.mobilenet_v3(classes=10, input_size=32)
    LatencyTable(other, precision="float32").save(root / "latency" / "host-float32-t1.json")
    text = words(page_module.report(root).read_text())
    assert "host-float32-t1.json cannot be used: it is of another space" in text and "int8 on host" in text


def test_empty_workdir_names_every_missing_stage(tmp_path):
    text = words(page_module.report(tmp_path).read_text())
    for what, stage in (
        ("recipe", "train"), ("training curves", "train"), ("accuracy table", "measure"), ("latency table", "measure"),
        ("front", "search"), ("exported model", "export"),
    ):  # fmt: skip
        assert re.search(rf"no {what} yet: run compofa {stage} ", text), what
    assert f"Next compofa train --recipe NAME --workdir {tmp_path}" in text


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("recipe.json", "no recipe yet"),
        ("metrics.jsonl", "no training curves yet"),
        ("accuracy", "no accuracy table yet"),
        ("latency", "no latency table yet"),
        ("front.json", "no front yet"),
        ("models", "no exported model yet"),
    ],
)
def test_each_stage_may_be_missing(finished, tmp_path, missing, named):
    root = copy_without(finished[0], tmp_path / "run", missing)
    text = words(page_module.report(root).read_text())
    assert named in text and "Accuracy against latency" in text


def copy_without(source, target, missing):
    for path in source.rglob("*.json*"):
        name = path.relative_to(source)
        if missing not in (name.parts[0], str(name)):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(path.read_bytes())
    return target


def test_damaged_files_are_named_and_the_rest_is_shown(finished, tmp_path):
    root = copy_without(finished[0], tmp_path / "run", "nothing")
    broken = [root / "front.json", root / "accuracy" / "val.json", sorted((root / "models").iterdir())[0]]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-300])
    with open(root / "metrics.jsonl", "a") as metrics:
        metrics.write('not json\n{"phase": "train", "step": 7')
    text = words(page_module.report(root).read_text())
    assert all(f"{path} is not readable as JSON" in text for path in broken)
    assert "metrics.jsonl has 1 unreadable line;" in text
    assert "Exported files" in text and "no front yet" in text


def test_missing_workdir_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such work directory"):
        page_module.report(tmp_path / "absent")


@pytest.mark.parametrize("strange", [{}, {"latency": None, "accuracy": 3}, {"arch": [], "size_bytes": "big"}])
def test_sidecars_with_missing_or_strange_keys_do_not_break_the_page(tmp_path, strange):
    files.write_json(tmp_path / "models" / "m.tflite.json", strange, kind="artifact")
    assert "Exported files" in page_module.report(tmp_path).read_text()


def test_hostile_names_are_text(finished, tmp_path):
    hostile = "<script>alert('x')</script>\"&$\\frac{$"
    root = copy_without(finished[0], tmp_path / "<b>run&amp;", "nothing")
    for path in (root / "models").iterdir():
        content = json.loads(path.read_text())
        content["arch"]["id"] = content["file"] = hostile
        content["latency"]["measured"]["device"] = hostile
        path.write_text(json.dumps(content))
    table = next((root / "latency").iterdir())
    table.write_text(json.dumps(json.loads(table.read_text()) | {"device": hostile}))
    front = json.loads((root / "front.json").read_text())
    front["latency"]["device"] = hostile
    (root / "front.json").write_text(json.dumps(front))
    with open(root / "metrics.jsonl", "a") as metrics:
        metrics.write(json.dumps({"phase": hostile, "step": 5, "loss": 1.0, "val_top1": {hostile: 0.5}}) + "\n")
    page = page_module.report(root).read_text()
    parsed = Page(page)
    assert parsed.open == [] and "script" not in parsed.tags and "b" not in parsed.tags
    assert hostile in "".join(parsed.text) and all(link.startswith("#") for link in parsed.links)


def test_budgets_of_another_device_are_not_compared_with_measurements_here(finished, tmp_path):
    root = copy_without(finished[0], tmp_path / "run", "nothing")
    front = json.loads((root / "front.json").read_text())
    front["latency"]["device"] = "note10"
    (root / "front.json").write_text(json.dumps(front))
    for path in (root / "models").iterdir():
        content = json.loads(path.read_text())
        content["latency"]["measured"]["ms"] += 1000
        path.write_text(json.dumps(content))
    text = words(page_module.report(root).read_text())
    assert text.count("ms predicted on note10") == text.count("ms measured on host") == 3
    assert "over budget" not in text
    run = reading.read_run(root)
    of_note10 = next(
        panel for panel in reading.panels(reading.all_fronts(run), run.artifacts) if "note10" in panel.title
    )
    assert of_note10.marks and all(mark.measured is None and mark.predicted for mark in of_note10.marks)


# Curves


def run_with(*rows):
    return reading.Run(Path("."), metrics=list(rows))


def test_curves_run_over_all_phases_and_repeated_steps_replace():
    losses, accuracies, phases = reading.curves(
        run_with(
            {"phase": "teacher", "step": 10, "epoch": 1, "loss": 2.0},
            {"phase": "teacher", "epoch": 1, "val_top1": {"largest": 0.5}},
            {"phase": "teacher", "step": 20, "epoch": 2, "loss": 1.5},
            {"phase": "teacher", "step": 20, "epoch": 2, "loss": 1.4},
            {"phase": "train", "step": 25, "epoch": 1, "loss": 4.0, "val_top1": {"largest": 0.6, "smallest": None}},
            {"phase": "train", "step": 28, "epoch": 1, "loss": float("nan"), "val_top1": 3},
            {"unknown": 1},
        )
    )
    assert losses == {"loss": [(10, 2.0), (20, 1.4), (25, 4.0)]}
    assert accuracies == {"largest": [(10, 50.0), (25, 60.0)]}
    assert phases == [("teacher", 20), ("train", 28)]


def test_curves_of_nothing():
    assert reading.curves(run_with()) == ({}, {}, [])


# The figure on its own


def test_figures_of_very_little():
    one = figures.Panel("int8", ((1.5, 0.5, 32),), ((1.5, 0.5),), (32,), (figures.Mark("r32", 2.0, (1.5, 0.5)),))
    assert figures.family_svg(one).startswith("<svg")
    assert figures.curves_svg({"loss": [(0.0, 1.0)]}, phases=[("train", 0.0)], label="loss").startswith("<svg")
    assert figures.check_svg([(1.0, 1.0)], title="check").startswith("<svg")


def test_wide_range_of_latencies_gets_a_logarithmic_axis_with_plain_numbers():
    dots = tuple((0.5 * 1.2**i, 0.5 + i / 100, 160 + 4 * (i % 17)) for i in range(20))
    svg = figures.family_svg(figures.Panel("int8", dots, tuple(dot[:2] for dot in dots), tuple(range(160, 228, 4))))
    assert {">0.5<", ">1<", ">2<", ">5<", ">10<"} <= set(re.findall(r">[0-9.]+<", svg)) and "10^" not in svg


@pytest.mark.parametrize(("name", "magic"), [("family.png", b"\x89PNG"), ("family.svg", b"<?xml")])
def test_family_figure_is_written_and_deterministic(finished, tmp_path, name, magic):
    path = page_module.family_figure(finished[0], tmp_path / "docs" / name)
    assert path.read_bytes().startswith(magic) and path.stat().st_size > 20000
    again = page_module.family_figure(finished[0], tmp_path / name)
    assert again.read_bytes() == path.read_bytes()


def test_family_figure_refuses_other_formats_and_runs_without_front(finished, tmp_path):
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        page_module.family_figure(finished[0], tmp_path / "family.jpg")
    with pytest.raises(InputError, match="no front to draw"):
        page_module.family_figure(tmp_path, tmp_path / "family.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_ramp_gives_different_colours(count):
    for mode in ("light", "dark"):
        colours = figures.ramp(count, mode=mode)
        assert len(set(colours)) == count and all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (tables.percent(0.8272), "82.7 %"),
        (tables.percent(None), "–"),
        (tables.difference(-0.94), "−0.9 %"),
        (tables.difference(4.0), "+4.0 %"),
        (tables.milliseconds(0.01234), "0.012"),
        (tables.milliseconds(4.567), "4.57"),
        (tables.milliseconds(123.4), "123"),
        (tables.byte_size(1_234_000), "1.23 MB"),
        (tables.byte_size(999), "1 kB"),
        (tables.short_count(12_940_000), "12.9 M"),
        (tables.short_count(446_800_000_0), "4.5 G"),
    ],
)
def test_numbers_are_readable(shown, expected):
    assert shown == expected
