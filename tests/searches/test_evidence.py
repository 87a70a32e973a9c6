"""What choosing adds, where the truth is known; and which subnets cannot be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from compofa_tf import families
from compofa_tf.accuracy.answers import Answers
from compofa_tf.searches.candidate import Candidate
from compofa_tf.searches.evidence import evidence_of
from compofa_tf.searches.front import Front
from compofa_tf.statistics import paired_interval

SPACE = families.mobilenet_v3(width_mult=0.25, input_size=32, classes=10)
ARCHS = list(SPACE.enumerate(resolutions=(32,)))[:60]


def simulated(seed, *, shares, pictures):
    """A front of subnets of known true accuracy on pictures of different difficulty, later ones slower."""
    rng = np.random.default_rng(seed)
    answers = Answers(pictures)
    candidates = []
    for i, (arch, share) in enumerate(zip(ARCHS, shares)):
        right = rng.random(pictures) < share
        answers.add(SPACE.id(arch), right)
        candidates.append(Candidate(SPACE.id(arch), arch, float(right.mean()), pictures, 1.0 + i / 100))
    front = Front(
        space=SPACE, candidates=tuple(candidates), total=len(candidates), budgets=(1.2, 10.0), precision="int8",
        latency={"device": "host"}, accuracy={"data": "made up"},
    )  # fmt: skip
    return front, answers


def test_the_optimism_is_about_what_choosing_really_adds():
    """Sixty subnets that are all equally good: whatever leads leads by chance."""
    true, estimated, real = 0.7, [], []
    for seed in range(30):
        front, answers = simulated(seed, shares=[true] * 60, pictures=300)
        found = evidence_of(front, answers, repeats=100)
        estimated.append(found["optimism"]["10"])
        real.append(front.best(10.0).top1 - true)
    # The best of 60 shares of 300 pictures lies 2.3 standard deviations of 2.6 points above the truth.
    assert np.mean(real) == pytest.approx(0.06, abs=0.008)
    assert np.mean(estimated) == pytest.approx(np.mean(real), abs=0.008)


def test_choosing_among_few_or_a_clear_winner_adds_little():
    shares = [0.6] * 59 + [0.9]
    front, answers = simulated(0, shares=shares, pictures=2000)
    found = evidence_of(front, answers)
    assert abs(found["optimism"]["10"]) < 0.003
    assert found["optimism"]["1.2"] > found["optimism"]["10"]
    assert found["no_better_than"].get(front.best(10.0).id) is None


def test_points_that_cannot_be_told_apart_from_a_faster_one_are_marked(tmp_path):
    front, answers = simulated(1, shares=[0.7] * 60, pictures=300)
    found = evidence_of(front, answers)
    later = [point.id for point in front.points[1:]]
    assert later and set(found["no_better_than"]) <= set(later)
    assert front.points[1].id in found["no_better_than"]
    marked = Front(**{**vars_of(front), "evidence": found})
    text = str(marked)
    assert f"do not show that {front.points[1].id} is better than {front.points[0].id}." in text
    assert "too good by about this many points" in text
    marked.save(tmp_path / "front.json")
    assert Front.load(tmp_path / "front.json").evidence == found


def vars_of(front):
    names = ("space", "candidates", "total", "budgets", "precision", "latency", "accuracy")
    return {name: getattr(front, name) for name in names}


@pytest.mark.parametrize("seed", range(3))
def test_the_paired_interval_covers_the_true_difference(seed):
    """Two classifiers that share most of their errors; 95 % of 400 intervals, within three standard deviations."""
    rng, count, covered = np.random.default_rng(seed), 200, 0
    for _ in range(400):
        both, one, other = rng.multinomial(count, [0.7, 0.08, 0.05, 0.17])[:3]
        low, high = paired_interval(int(one), int(other), count)
        covered += low <= 0.03 <= high
        assert low <= (one - other) / count <= high and both >= 0
    assert 0.95 - 3 * 0.011 <= covered / 400 <= 0.95 + 3 * 0.011


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="must fit into the sample"):
        paired_interval(3, 3, 5)
