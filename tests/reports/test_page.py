"""The report: every number that the run recorded, nothing from elsewhere, and no failure where something is missing."""

from __future__ import annotations

import json
import re

import pytest
from finished_run import Page, copy_without, words

from compofa_tf import files
from compofa_tf.reports import formats
from compofa_tf.reports.page import report


def test_report_is_one_file_that_asks_for_nothing(finished):
    root, page = finished
    assert (root / "report.html").read_text(encoding="utf-8") == page
    parsed = Page(page)
    assert parsed.open == [] and "script" not in parsed.tags and "link" not in parsed.tags and "img" not in parsed.tags
    assert parsed.links and all(link.startswith("#") for link in parsed.links)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)


def test_report_names_every_number_of_the_sidecars(finished):
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
            formats.byte_size(sidecar["size_bytes"]),
            formats.short_count(sidecar["macs"]),
            f"{100 * accuracy['top1']:.1f} %",
            f"{100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f}",
            f"{100 * sidecar['float_accuracy']['top1']:.1f} %",
            formats.milliseconds(latency["measured"]["ms"]),
            formats.milliseconds(latency["measured"]["p90_ms"]),
            formats.milliseconds(latency["predicted_ms"]),
            formats.difference(100 * (latency["measured"]["ms"] / latency["predicted_ms"] - 1)),
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
        "accuracy on 5,000 val images, test on 10,000",
        "95 %, Wilson score", "compofa_tf 0", "numpy 2", "compofa benchmark", "largest",
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
    assert report(root, path=tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_without_any_front_the_family_is_still_drawn(finished, tmp_path):
    text = words(report(copy_without(finished[0], tmp_path / "run", "front.json")).read_text())
    assert "no front yet: run compofa search" in text and "float32 on host" in text and "int8 on host" in text
    assert "Best within each budget" not in text


def test_empty_workdir_names_what_is_missing_and_its_commands(tmp_path):
    text = words(report(tmp_path).read_text())
    for what, command in (
        ("recipe", "train"), ("training curves", "train"), ("accuracy table", "measure"), ("latency table", "measure"),
        ("front", "search"), ("exported model", "export"),
    ):  # fmt: skip
        assert re.search(rf"no {what} yet: run compofa {command} ", text), what
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
def test_anything_may_be_missing(finished, tmp_path, missing, named):
    root = copy_without(finished[0], tmp_path / "run", missing)
    text = words(report(root).read_text())
    assert named in text and "Accuracy against latency" in text


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
    page = report(root).read_text()
    parsed = Page(page)
    assert parsed.open == [] and "script" not in parsed.tags and "b" not in parsed.tags
    assert hostile in "".join(parsed.text) and all(link.startswith("#") for link in parsed.links)
