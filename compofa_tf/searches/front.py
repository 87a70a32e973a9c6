"""What a search found: the Pareto front of a space and the best subnet within each latency budget. No TensorFlow."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from compofa_tf import families, files
from compofa_tf.accuracy.table import AccuracyRecord
from compofa_tf.errors import InputError
from compofa_tf.searches.budgets import check_budgets, pareto, round_up
from compofa_tf.searches.candidate import Candidate, best_first, fastest_first, whole_to_json
from compofa_tf.space import Space
from compofa_tf.space.printing import aligned

KIND = "front"
HEADROOM = 1.05
"""Default budgets lie this far above what they aim at, because a prediction may be a few percent low."""
KEPT_ALTERNATIVES = 8
"""Alternatives per budget that are listed in ``front.json`` for its readers."""


@dataclass(frozen=True, eq=False)
class Front:
    """The outcome of ``search``. Iterating gives the points of the Pareto front, fastest first; ``print`` a table.

    Attributes:
      space: The space.
      candidates: Every covered subnet, fastest first; of a search with predicted accuracies only its Pareto front.
      total: Archs times resolutions of the space.
      budgets: Latency budgets in ms, ascending.
      precision: Precision of the latency table.
      latency: What the latency table was measured on: device, threads, conditions.
      accuracy: What the accuracy table was measured on: data, role of the pictures, how many and how they were drawn,
        precision, device, calibration images.
      recipe_hash: ``Recipe.hash`` of the run, if any.
      examined: How many were looked at; all candidates when absent.
      evidence: How far the accuracies can be believed (``searches.evidence``); empty where nobody asked.
      objective: What is as large as it can be within a budget: ``"top1"`` or ``"balanced"``.
    """

    space: Space
    candidates: tuple[Candidate, ...]
    total: int
    budgets: tuple[float, ...]
    precision: str
    latency: dict[str, Any]
    accuracy: dict[str, Any]
    recipe_hash: str | None = None
    examined: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    objective: str = "top1"

    def __post_init__(self) -> None:
        """Puts candidates and budgets into order and rejects impossible budgets."""
        if not self.candidates:
            raise InputError("A front needs at least one candidate; measure accuracies first. Received: none")
        object.__setattr__(self, "candidates", tuple(sorted(self.candidates, key=fastest_first)))
        object.__setattr__(self, "budgets", check_budgets(self.budgets))
        for budget_ms in self.budgets:
            self.best(budget_ms)

    def __len__(self) -> int:
        """Number of points of the front."""
        return len(self.points)

    def __iter__(self) -> Iterator[Candidate]:
        """Iterates over ``points``."""
        return iter(self.points)

    def __repr__(self) -> str:
        """Says what was covered and found."""
        return (
            f"<Front of {len(self)} points from {self.examined or len(self.candidates)} of {self.total} candidates, "
            f"{self.precision}, budgets {list(self.budgets)} ms>"
        )

    def __str__(self) -> str:
        """The front as a table: a row per point, with the budgets that it was chosen for."""
        head = f"{self.space.family} on {self.latency.get('device', 'a device')}, {self.precision}: "
        head += f"{len(self)} points from {self.coverage}"
        rows = [self._head(), *map(self._row, self)]
        return "\n".join([head, *aligned(rows, "<" + ">" * (len(rows[0]) - 2) + "<"), *self.doubts])

    def _head(self) -> list[str]:
        measured = [] if self.predicted else ["95 % interval"]
        balanced = ["balanced"] if self.objective == "balanced" else []
        whole = ["on all pictures"] if self._wholes else []
        first = "predicted top-1" if self.predicted else "top-1"
        return ["id", first, *measured, *balanced, *whole, "predicted ms", "best within"]

    def _row(self, point: Candidate) -> list[str]:
        low, high = point.interval
        measured = [] if self.predicted else [f"{low:.1%} to {high:.1%}"]
        balanced = [] if point.balanced is None else [f"{point.balanced:.1%}"]
        score = point.whole_score
        whole = ["-" if score is None else f"{score:.1%}"] if self._wholes else []
        budgets = ", ".join(f"{ms:g} ms" for ms, chosen in self.chosen.items() if chosen == point)
        predicted_ms = f"{point.predicted_ms:#.4g}".rstrip(".")
        return [point.id, f"{point.top1:.1%}", *measured, *balanced, *whole, predicted_ms, budgets]

    @functools.cached_property
    def _wholes(self) -> bool:
        return any(point.whole is not None for point in self.points)

    @property
    def unconfirmed(self) -> tuple[Candidate, ...]:
        """Points whose accuracy is that of a part of the pictures alone."""
        images, available = (self.accuracy.get(name) for name in ("images", "available"))
        if self.predicted or images is None or (available is not None and images >= available):
            return ()
        if any(point.count < images for point in self.points):  # then there were no more
            return ()
        return tuple(point for point in self.points if point.whole is None)

    @property
    def doubts(self) -> list[str]:
        """What the pictures that chose do not show, a line each; empty where that is not known."""
        alike = self.evidence.get("no_better_than", {})
        lines = [f"These pictures do not show that {name} is better than {other}." for name, other in alike.items()]
        if self.unconfirmed:
            lines.append(
                f"Accuracies are those of {self.accuracy['images']:,} of the pictures; {len(self.unconfirmed)} of "
                f"{len(self)} points were not measured on all of them (measuring again does that)."
            )
        optimism = self.evidence.get("optimism", {})
        if optimism:
            listed = ", ".join(f"{100 * value:.1f} within {budget} ms" for budget, value in optimism.items())
            name = "top-1" if self.objective == "top1" else "balanced accuracy"
            pictures = f"the {self.evidence['pictures']:,} pictures that"
            where = (
                f"The figures on {pictures} the search saw make"
                if self._wholes
                else (f"Chosen on {pictures} they are measured on, which makes")
            )
            lines.append(f"{where} {name} too good by about this many points: {listed}.")
        return lines

    @functools.cached_property
    def points(self) -> tuple[Candidate, ...]:
        """The Pareto front, fastest first.

        A candidate is on it if no other is at least as accurate and at most as slow, and better in one of the two.
        Candidates equal in both stay together.
        """
        latency = np.array([candidate.predicted_ms for candidate in self.candidates])
        score = np.array([candidate.score for candidate in self.candidates])
        return tuple(self.candidates[i] for i in np.flatnonzero(pareto(latency, score)))

    @functools.cached_property
    def chosen(self) -> dict[float, Candidate]:
        """The best subnet within each budget."""
        return {budget_ms: self.best(budget_ms) for budget_ms in self.budgets}

    def best(self, budget_ms: float) -> Candidate:
        """Returns the most accurate subnet predicted within a budget; of equals the faster, then the smaller id.

        Where all points within the budget were measured on all pictures, that decides between them.

        Args:
          budget_ms: Upper bound of the predicted latency in ms, inclusive; any, not only one of ``budgets``.

        Raises:
          InputError: If the budget is no positive number or below the fastest subnet, which the message names.
        """
        return self._within(budget_ms)[0]

    def alternatives(self, budget_ms: float, *, count: int | None = None) -> tuple[Candidate, ...]:
        """Returns what to try, in order, when ``best`` turns out to be slower than predicted.

        That is the rest of the front within the budget, most accurate first. Unless figures on all pictures have put
        them into another order, each one is faster than the one before (or ties with it in both values), and nothing
        else that is as fast is more accurate.

        Args:
          budget_ms: As for ``best``.
          count: How many at most; all when absent.
        """
        return tuple(self._within(budget_ms)[1:][:count])

    def _within(self, budget_ms: float) -> list[Candidate]:
        (budget_ms,) = check_budgets((budget_ms,))
        affordable = [point for point in self.points if point.predicted_ms <= budget_ms]
        if affordable:
            wholes = {point: point.whole_score for point in affordable}
            if None in wholes.values():
                return sorted(affordable, key=best_first)
            return sorted(affordable, key=lambda point: (-(wholes[point] or 0.0), *best_first(point)))
        fastest = self.points[0]
        raise InputError(
            f"No subnet of the space is that fast: the fastest, {fastest.id}, is predicted at "
            f"{fastest.predicted_ms:.4g} ms ({self.precision}); use a budget of at least "
            f"{round_up(fastest.predicted_ms, digits=3):g} ms. Received: budget_ms={budget_ms:g}"
        )

    @property
    def predicted(self) -> bool:
        """Whether the accuracies are predictions and not measurements."""
        return self.examined is not None

    @property
    def coverage(self) -> str:
        """How many subnets, resolutions counted, were looked at, in words."""
        if self.accuracy.get("search") == "evolution":
            return f"{self.examined:,} evaluations in an evolution over {self.total:,} candidates"
        if self.total == 1:
            return "the only candidate"
        count = len(self.candidates) if self.examined is None else self.examined
        return f"all {count:,} candidates" if count == self.total else f"{count:,} of {self.total:,} candidates"

    @property
    def _covered(self) -> dict[str, int]:
        if self.examined is None:
            return {"measured": len(self.candidates), "of": self.total}
        return {"predicted": self.examined, "of": self.total}

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable mapping; the format is described in ``docs/formats.md``."""
        family = {
            "id": [candidate.id for candidate in self.candidates],
            "top1": [candidate.top1 for candidate in self.candidates],
            "count": [candidate.count for candidate in self.candidates],
            "predicted_ms": [candidate.predicted_ms for candidate in self.candidates],
        }
        if self.objective == "balanced":
            family["balanced"] = [candidate.balanced for candidate in self.candidates]
        wholes = {c.id: whole_to_json(c.whole) for c in self.candidates if c.whole is not None}
        chosen = [
            {
                "budget_ms": budget_ms,
                "id": self.best(budget_ms).id,
                "alternatives": [other.id for other in self.alternatives(budget_ms, count=KEPT_ALTERNATIVES)],
            }
            for budget_ms in self.budgets
        ]
        return {
            "space": self.space.to_json(),
            "fingerprint": self.space.fingerprint,
            "precision": self.precision,
            "objective": self.objective,
            "figures": {
                "accuracy": "predicted" if self.predicted else "measured",
                "latency": "predicted",
                "optimism": "estimated",
            },
            "latency": self.latency,
            "accuracy": self.accuracy,
            "covered": self._covered,
            "budgets_ms": list(self.budgets),
            "chosen": chosen,
            "points": [point.to_json() for point in self.points],
            **({"evidence": self.evidence} if self.evidence else {}),
            **({"whole": wholes} if wholes else {}),
            "family": family,
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Writes the front atomically as JSON."""
        files.write_json(path, self.to_json(), kind=KIND, recipe_hash=self.recipe_hash, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, space: Space | None = None) -> Front:
        """Reads a file of ``save`` and checks that its front and choices follow from its candidates.

        Args:
          path: The file.
          space: The space that it must be of, if given.

        Raises:
          InputError: If the file is missing, truncated, no front, damaged, or of another space.
        """
        content = files.read_json(path, kind=KIND)
        with files.interpreted(path, again="search again"):
            return cls._from_json(content, families.space_in(content, expected=space, again="search again"))

    @classmethod
    def _from_json(cls, content: dict[str, Any], own: Space) -> Front:
        family = content["family"]
        names = ("id", "top1", "count", "predicted_ms", *(("balanced",) if "balanced" in family else ()))
        columns = [family[name] for name in names]
        if len({len(column) for column in columns}) != 1:
            raise InputError("its columns differ in length; it is damaged, search again")
        wholes = {
            name: AccuracyRecord(own.parse(name), *(row[key] for key in ("top1", "top5", "count", "balanced")))
            for name, row in content.get("whole", {}).items()
        }
        front = cls(
            space=own,
            candidates=tuple(
                replace(Candidate(name, own.parse(name), *rest), whole=wholes.get(name))
                for name, *rest in zip(*columns)
            ),
            total=content["covered"]["of"],
            budgets=tuple(content["budgets_ms"]),
            precision=content["precision"],
            latency=content["latency"],
            accuracy=content["accuracy"],
            recipe_hash=content["recipe_hash"],
            examined=content["covered"].get("predicted"),
            evidence=content.get("evidence", {}),
            objective=content.get("objective", "top1"),
        )
        stated = [point["id"] for point in content["points"]], [choice["id"] for choice in content["chosen"]]
        if stated != ([point.id for point in front], [choice.id for choice in front.chosen.values()]):
            raise InputError("its points or choices do not follow from its candidates; it was edited, search again")
        return front


def default_budgets(front: Front, *, count: int = 3) -> tuple[float, ...]:
    """Returns budgets spread over what the space can reach, each with another best subnet.

    The targets divide the latencies of the front on a logarithmic scale, from one ``2 * count``-th above the fastest
    point, which leaves room for a prediction that is too low, up to the slowest point. Each target gets 5 % on top and
    is rounded up to two significant digits (three if two budgets would choose the same subnet). Where that does not
    give ``count`` subnets, each target takes the slowest point of the front within it that leaves a point for every
    other target, and gets its own rounded value or else the roundest number from that point to the next slower one.

    Args:
      front: The front; its own budgets do not matter.
      count: How many budgets, at least 1; fewer are returned where the front has fewer points.

    Returns:
      Budgets in ms, ascending, none below the fastest subnet.
    """
    if count < 1:
        raise InputError(f"At least one budget is needed. Received: count={count!r}")
    # Figures on all pictures may leave a point behind a faster one.
    useful = [point for point in front.points if front.best(point.predicted_ms).predicted_ms == point.predicted_ms]
    latencies = sorted({point.predicted_ms for point in useful})
    count = min(count, len(latencies))
    steps = np.linspace(1 / (2 * count), 1.0, count)
    targets = [latencies[0] * (latencies[-1] / latencies[0]) ** float(step) for step in steps]
    for digits in (2, 3):
        budgets = [round_up(HEADROOM * target, digits=digits) for target in targets]
        if len({front.best(budget_ms) for budget_ms in budgets}) == count:
            return tuple(budgets)
    budgets = []
    index = -1
    for position, target in enumerate(targets):
        nearest = int(np.searchsorted(latencies, target, side="right")) - 1
        index = min(max(nearest, index + 1), len(latencies) - count + position)
        following = latencies[index + 1] if index + 1 < len(latencies) else math.inf
        roundest = (round_up(latencies[index], digits=digits) for digits in range(1, 18))
        options = (round_up(HEADROOM * target, digits=2), *roundest)
        budgets.append(next(value for value in options if latencies[index] <= value < following))
    return tuple(budgets)
