"""Search with the published latency tables and accuracy predictor: exact for the compound space, else evolution.

Four budgets in one run, with the tables of the Samsung Note10 that ship with the package. With ``--original FILE`` (a
JSON file with ``runs``, each with ``arch``, ``target_ms``, ``accuracy``) the best of its runs stand beside ours.

    python benchmarks/search.py --seeds 0 1 2 --json search.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compofa_tf import families
from compofa_tf.latency.devices.host import processor
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.published.lookup_tables import latency_from_lookup, published_lookup_tables
from compofa_tf.searches.evolution import Evolution
from compofa_tf.searches.exact import search
from compofa_tf.searches.front import Front

BUDGETS_MS = (15.0, 20.0, 25.0, 30.0)
SPACES = {
    "compofa": families.mobilenet_v3(),
    "compofa-elastic": families.mobilenet_v3(kernel="elastic"),
    "ofa": families.mobilenet_v3(coupling="independent", kernel="elastic"),
}
RESOLUTIONS = {"compofa": tuple(range(160, 225, 4))}
EVOLVED_RESOLUTIONS = (160, 176, 192, 208, 224)


def timed(find: Callable[[], Front]) -> tuple[float, Front]:
    """Returns the seconds of a search and what it found."""
    started = time.perf_counter()
    front = find()
    return time.perf_counter() - started, front


def best_of(runs: list[dict[str, Any]], name: str) -> dict[float, float]:
    """Returns the best accuracy of the original's runs for each budget."""
    return {
        budget_ms: max((r["accuracy"] for r in runs if r["arch"] == name and r["target_ms"] == budget_ms), default=0.0)
        for budget_ms in BUDGETS_MS
    }


def main() -> None:
    """Searches the three spaces, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--original", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs = json.loads(options.original.read_text(encoding="utf-8"))["runs"] if options.original else []
    tables = published_lookup_tables()
    rows: list[dict[str, Any]] = []
    header = " ".join(f"{f'{ms:g} ms':>9}" for ms in BUDGETS_MS)
    print(f"{'space':16} {'search':10} {'seed':>4} {'s':>7} {'looked at':>10} {header}   (predicted top-1)")
    for name, space in SPACES.items():
        sides = RESOLUTIONS.get(name, EVOLVED_RESOLUTIONS)
        latency = latency_from_lookup(space, tables, resolutions=sides)
        predictor = AccuracyPredictor.published(space)
        exact = name in RESOLUTIONS
        for seed in options.seeds:
            evolution = None if exact else Evolution(seed=seed)
            seconds, front = timed(
                lambda space=space, latency=latency, predictor=predictor, evolution=evolution: search(
                    space, accuracy=predictor, latency=latency, budgets_ms=BUDGETS_MS, evolution=evolution
                )
            )
            found = {budget_ms: front.best(budget_ms).top1 for budget_ms in BUDGETS_MS}
            kind = "exact" if exact else "evolution"
            cells = " ".join(f"{top1:9.6f}" for top1 in found.values())
            print(f"{name:16} {kind:10} {seed:4} {seconds:7.3f} {front.examined or 0:10} {cells}")
            rows.append({"space": name, "search": kind, "seed": seed, "seconds": seconds, "top1": list(found.values())})
        if runs:
            best = best_of(runs, name)
            print(
                f"{name:16} {'original':10} {'':4} {'':7} {'':10} {' '.join(f'{top1:9.6f}' for top1 in best.values())}"
            )
    if options.json:
        report = {
            "date": datetime.date.today().isoformat(),
            "cpu": processor(),
            "budgets_ms": list(BUDGETS_MS),
            "rows": rows,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
