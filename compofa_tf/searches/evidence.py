"""How far the pictures that chose can be believed: what choosing the best of many adds, and what cannot be told apart.

No TensorFlow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compofa_tf.accuracy.answers import Answers
from compofa_tf.searches.candidate import best_first
from compofa_tf.searches.front import Front

REPEATS = 200
"""Times that the pictures are drawn anew."""


def evidence_of(front: Front, answers: Answers, *, repeats: int = REPEATS, seed: int = 0) -> dict[str, Any]:
    """Returns what the answers of single pictures say about a front of measured accuracies.

    *Optimism*: the best of many subnets owes some of its lead to the pictures that chose it. Those are drawn anew, with
    replacement (bootstrap); each time the best within a budget is chosen on the drawn pictures and judged on those that
    were not drawn. By how much the accuracy of the chosen subnet exceeds the mean of these judgements is estimated to
    be too good (bootstrap bias correction: I. Tsamardinos, E. Greasidou and G. Borboudakis, Machine Learning 107,
    2018).

    *No better than*, of top-1: points of the front of which these pictures do not show that they are more accurate than
    a faster one: the 95 % interval of the difference, on the same pictures, holds 0.

    Both are of the figures that the search was made with, those of the table, and of what they alone would have chosen.

    Args:
      front: The front.
      answers: Right or wrong, of all its candidates.
      repeats: Times that the pictures are drawn.
      seed: Of the draws.

    Returns:
      ``pictures``, ``repeats``, ``optimism`` by budget in ms as text, ``no_better_than``: id to id of the fastest such.
      JSON-serialisable.
    """
    names = [candidate.id for candidate in front.candidates]
    right = answers.matrix(names)
    return {
        "pictures": answers.count,
        "repeats": repeats,
        "optimism": _optimism(front, _weighted(front, answers, right), repeats, seed),
        "no_better_than": _no_better_than(front, answers) if front.objective == "top1" else {},
    }


def _weighted(front: Front, answers: Answers, right: np.ndarray) -> np.ndarray:
    """Right answers as float32, each 1 for top-1; for balanced accuracy the classes count the same, 1 on average."""
    if front.objective == "top1" or answers.labels is None:
        return right.astype(np.float32)
    counts = np.bincount(answers.labels)
    weights = answers.count / (counts[answers.labels] * np.count_nonzero(counts))
    return right * weights.astype(np.float32)


def _optimism(front: Front, right: np.ndarray, repeats: int, seed: int) -> dict[str, float]:
    count = right.shape[1]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=repeats)
    left_out = (drawn == 0).T.astype(np.float32)  # [pictures, repeats]
    chosen_by = right @ drawn.T.astype(np.float32)
    judged = right @ left_out / np.maximum(1, left_out.sum(axis=0))  # [candidates, repeats]
    latency = np.asarray([candidate.predicted_ms for candidate in front.candidates])
    found = {}
    for budget_ms in front.budgets:
        within = np.flatnonzero(latency <= budget_ms)
        best = within[np.argmax(chosen_by[within], axis=0)]  # of equals the fastest, as candidates are sorted
        chosen = min((front.candidates[i] for i in within), key=best_first)
        found[f"{budget_ms:g}"] = float(chosen.score - judged[best, np.arange(repeats)].mean())
    return found


def _no_better_than(front: Front, answers: Answers) -> dict[str, str]:
    found = {}
    for i, point in enumerate(front.points):
        for faster in front.points[:i]:
            if answers.difference(point.id, faster.id).low <= 0:
                found[point.id] = faster.id
                break
    return found
