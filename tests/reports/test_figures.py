"""The figures: of very little and of much, always the same bytes, and those of the README from committed files."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from compofa_tf.errors import InputError
from compofa_tf.reports import charts, figures
from compofa_tf.reports.page import family_figure

ROOT = Path(__file__).resolve().parents[2]


def test_figures_of_very_little():
    one = charts.Panel("int8", ((1.5, 0.5, 32),), ((1.5, 0.5),), (32,), (charts.Mark("r32", 2.0, (1.5, 0.5)),))
    assert figures.family_svg(one).startswith("<svg")
    assert figures.curves_svg({"loss": [(0.0, 1.0)]}, phases=[("train", 0.0)], label="loss").startswith("<svg")
    assert figures.check_svg([(1.0, 1.0)], title="check").startswith("<svg")


def test_wide_range_of_latencies_gets_a_logarithmic_axis_with_plain_numbers():
    dots = tuple((0.5 * 1.2**i, 0.5 + i / 100, 160 + 4 * (i % 17)) for i in range(20))
    svg = figures.family_svg(charts.Panel("int8", dots, tuple(dot[:2] for dot in dots), tuple(range(160, 228, 4))))
    assert {">0.5<", ">1<", ">2<", ">5<", ">10<"} <= set(re.findall(r">[0-9.]+<", svg)) and "10^" not in svg


@pytest.mark.parametrize(("name", "magic"), [("family.png", b"\x89PNG"), ("family.svg", b"<?xml")])
def test_family_figure_is_written_and_deterministic(finished, tmp_path, name, magic):
    path = family_figure(finished[0], tmp_path / "docs" / name)
    assert path.read_bytes().startswith(magic) and path.stat().st_size > 20000
    again = family_figure(finished[0], tmp_path / name)
    assert again.read_bytes() == path.read_bytes()


def test_family_figure_refuses_other_formats_and_runs_without_front(finished, tmp_path):
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        family_figure(finished[0], tmp_path / "family.jpg")
    with pytest.raises(InputError, match="no front to draw"):
        family_figure(tmp_path, tmp_path / "family.png")
    assert list(tmp_path.iterdir()) == []


def test_the_figure_of_the_readme_follows_from_the_committed_run(tmp_path):
    """Another version of Matplotlib moves the edges of letters and dots: about one pixel in a hundred is one."""
    again = matplotlib.image.imread(family_figure(ROOT / "tflite/results/cifar10", tmp_path / "family.png"))
    shown = matplotlib.image.imread(ROOT / "docs/images/cifar10-family.png")
    assert again.shape == shown.shape
    assert np.mean(np.abs(again - shown).max(axis=-1) > 0.2) < 0.01
