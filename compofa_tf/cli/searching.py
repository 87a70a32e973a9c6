"""The command that chooses: search."""

from __future__ import annotations

import argparse
from typing import Any

from compofa_tf import commands
from compofa_tf._lazy import later
from compofa_tf.cli.options import (
    Subcommand,
    add_overwrite,
    add_run,
    add_settings,
    assignments,
    numbers,
    open_run,
    tell,
)
from compofa_tf.progress import say
from compofa_tf.workdir import RUNS


def _search(options: argparse.Namespace) -> None:
    run = open_run(options, writes=True).changed(assignments(options))
    front = later(__name__, "pipeline.searching").find_front(
        run,
        budgets_ms=options.budget_ms,
        accuracy=options.accuracy,
        latency=options.latency,
        seed=options.seed,
        objective=options.objective,
        overwrite=options.overwrite,
    )
    if options.objective:
        run = run.changed([f"search.objective={options.objective}"])
    _tell_front(front)
    tell(commands.writer(commands.MODELS).line(run), wrote=str(run.front_file))


def _tell_front(front: Any) -> None:
    """Prints what was searched, and the best subnet within each budget."""
    if front.predicted:
        say(f"Accuracies are predicted, by the {front.accuracy['predictor']}: {front.accuracy['caveat']}.")
    if "caveat" in front.latency["conditions"]:
        origin, caveat = (front.latency["conditions"][name] for name in ("origin", "caveat"))
        say(f"Latencies are not of this machine: {origin}; {caveat}.")
    say(f"{len(front)} subnets on the front, from {front.coverage}.")
    shown = "predicted top-1" if front.predicted else "balanced" if front.objective == "balanced" else "top-1"
    whole = any(best.whole is not None for best in front.chosen.values())
    say(f"budget ms  predicted ms  {shown:>8}  {'on all pictures  ' if whole else ''}subnet")
    for budget_ms, best in front.chosen.items():
        on_all = "" if best.whole_score is None else f"{best.whole_score:.2%}"
        score = f"{best.score:{max(8, len(shown))}.2%}"
        say(f"{budget_ms:9.4g}  {best.predicted_ms:12.4g}  {score}  {f'{on_all:>15}  ' if whole else ''}{best.id}")
    for line in front.doubts:
        say(line)


def _search_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--budget-ms",
        type=numbers(float),
        default=(),
        metavar="MS[,MS...]",
        help="latency budgets; default: the recipe's, or three spread over what is reachable",
    )
    parser.add_argument(
        "--accuracy",
        default="measured",
        metavar="SOURCE",
        help="measured (default), or published: predicted by the authors' network, for ImageNet and MobileNetV3 spaces",
    )
    parser.add_argument(
        "--latency",
        default="measured",
        metavar="SOURCE",
        help="measured (default), published (the authors' Samsung Note10 tables) or lookup:FOLDER (tables like them)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the evolution in spaces too large to be looked at outright"
    )
    parser.add_argument(
        "--objective",
        metavar="top1|balanced",
        help="what is as large as it can be within a budget (search.objective): top-1, or mean recall of the classes",
    )
    add_overwrite(parser)
    add_settings(parser)


COMMANDS = (
    Subcommand(
        "search",
        "find the front and the best subnet within each latency budget",
        f"compofa search {RUNS}/photos --budget-ms 5,10,20",
        _search,
        _search_arguments,
    ),
)
