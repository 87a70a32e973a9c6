"""Commands that only tell: the runs here, space, recipes."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from compofa_tf._lazy import later
from compofa_tf.cli.options import Subcommand, add_recipe_settings, add_run, open_run, tell
from compofa_tf.errors import InputError
from compofa_tf.progress import say
from compofa_tf.quiet import import_tensorflow_quietly
from compofa_tf.workdir import RUNS, runs_in


def list_runs(options: argparse.Namespace) -> None:
    """Tells which runs there are here, and what comes next in each of them; how to begin where there is none."""
    runs = runs_in()
    if not runs:
        say(f"There is no run in {RUNS}/ yet. The whole way on a small data set takes minutes; with your own images")
        say("(one folder per class) it begins with: compofa train --recipe small --data folder:PATH")
        tell("compofa demo")
        return
    following = {str(run.path): later(__name__, "pipeline.run").Run(run.path).next_command for run in runs}
    say("Runs here, the newest first, and what comes next in each:")
    for path, command in following.items():
        say(f"  {path:{max(map(len, following))}}  {command}")
    tell(next(iter(following.values())))


def _status(options: argparse.Namespace) -> None:
    run = open_run(options, writes=False)
    for line in later(__name__, "pipeline.status").status(run):
        say(line)
    tell(run.next_command)


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)


def _classify(options: argparse.Namespace) -> None:
    answers = later(__name__, "pipeline.classifying").classify(options.model, options.pictures, top=options.top)
    refused = 0
    for answer in answers:
        refused += bool(answer.reason)
        said = ", ".join(f"{label} {score:.1%}" for label, score in answer.scores) or f"not used: {answer.reason}"
        say(f"{answer.picture}: {said}")
    tell(f"compofa benchmark {shlex.quote(str(options.model))}")
    if refused:
        raise InputError(f"{refused} of {len(options.pictures)} pictures could not be used.")


def _classify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite file of `compofa export`")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to name of each; default: 3")


def _space(options: argparse.Namespace) -> None:
    recipe = later(__name__, "recipes").get(options.recipe).override(options.set)
    space, cost = recipe.space.build(classes=options.classes), later(__name__, "space.cost")
    say(str(space))
    for name, arch in (
        ("smallest", space.smallest(options.resolution)),
        ("largest", space.largest(options.resolution)),
    ):
        macs, params = cost.macs(space, arch), cost.params(space, arch)
        say(f"{name}: {space.id(arch)}, {macs / 1e6:.1f} M multiply-adds, {params / 1e6:.2f} M parameters")
    tell(f"compofa train --recipe {options.recipe}")


def _space_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", default="imagenet", metavar="NAME", help="default: imagenet")
    parser.add_argument("--classes", type=int, default=1000, metavar="N", help="default: 1000")
    parser.add_argument("--resolution", type=int, default=224, metavar="PX", help="default: 224")
    add_recipe_settings(parser)


def _data(options: argparse.Namespace) -> None:
    recipe = later(__name__, "recipes").get(options.recipe).override(options.set)
    if options.source.startswith("tfds:"):
        import_tensorflow_quietly()
    survey = later(__name__, "data.survey").Survey.of(options.source, recipe.data, seed=recipe.seed)
    for line in survey.lines():
        say(line)
    source = shlex.quote(options.source)
    if not survey.listing.classes:
        tell(f"compofa import-torch CHECKPOINT.pth --workdir {RUNS}/imported --data {source}")
        return
    changes = "".join(f" --set {shlex.quote(one)}" for one in options.set)
    tell(f"compofa train --recipe {options.recipe} --data {source}{changes}")


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="digits, folder:PATH, csv:FILE, images:PATH or tfds:NAME")
    parser.add_argument("--recipe", default="small", metavar="NAME", help="whose settings count; default: small")
    add_recipe_settings(parser)


def _recipes(options: argparse.Namespace) -> None:
    recipes = later(__name__, "recipes")
    for name in recipes.names():
        say(f"{name:10} {recipes.describe(name)}")
    tell("compofa train --recipe small --data folder:PATH")


COMMANDS = (
    Subcommand(
        "classify",
        "say what is on pictures, from an exported file alone",
        f"compofa classify {RUNS}/photos/models/m.tflite photo.jpg",
        _classify,
        _classify_arguments,
    ),
    Subcommand(
        "data",
        "look at a data set: what was understood, what is wrong with it",
        "compofa data folder:photos/",
        _data,
        _data_arguments,
    ),
    Subcommand(
        "status",
        "what a run is doing, or where it stopped, with its curves",
        f"compofa status {RUNS}/photos",
        _status,
        _status_arguments,
    ),
    Subcommand("space", "show the family of a recipe", "compofa space --recipe imagenet", _space, _space_arguments),
    Subcommand("recipes", "list the recipes", "compofa recipes", _recipes),
)
