"""Commands that begin a run: demo, train, import-torch."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from compofa_tf._lazy import later
from compofa_tf.cli.options import Subcommand, add_recipe_settings, assignments, tell
from compofa_tf.quiet import import_tensorflow_quietly
from compofa_tf.workdir import RUNS


def _demo(options: argparse.Namespace) -> None:
    later(__name__, "pipeline.demo").run_demo(options.workdir, smallest=options.smallest)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    default = RUNS / "demo"
    parser.add_argument("--workdir", type=Path, default=default, metavar="DIR", help=f"default: {default}")
    parser.add_argument(
        "--smallest", action="store_true", help="the shortest form, for a quick check of an installation"
    )


def _train(options: argparse.Namespace) -> None:
    named, recipes = options.recipe, later(__name__, "recipes")
    # A name is a name, whatever lies beside you; what it hides is ./NAME.
    if named not in recipes.names() and (named.endswith(".json") or os.path.isdir(named)):
        recipe = later(__name__, "recipes.recipe").Recipe.load(named)
    else:
        recipe = recipes.get(named)
    recipe = recipe.override(assignments(options))
    import_tensorflow_quietly()
    later(__name__, "training.threads").share_cores_for_training()
    training = later(__name__, "pipeline.training")
    where = {"path": options.workdir or RUNS / recipe.name, "checkpoint_minutes": options.checkpoint_minutes}
    run = training.train_family(recipe, **where)
    tell(run.next_command, wrote=f"the supernet in {run.supernet}")


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe", required=True, metavar="NAME", help="`compofa recipes` lists them; or a recipe.json"
    )
    parser.add_argument("--data", metavar="SOURCE", help="digits, folder:PATH or tfds:NAME; default: the recipe's")
    parser.add_argument("--workdir", type=Path, metavar="DIR", help=f"default: {RUNS}/NAME")
    parser.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=10.0,
        metavar="MIN",
        help="what is lost at most when the run is killed; default: 10",
    )
    add_recipe_settings(parser)


def _import_torch(options: argparse.Namespace) -> None:
    import_tensorflow_quietly()
    importing = later(__name__, "pipeline.importing")
    run = later(__name__, "pipeline.run").Run(options.workdir)
    with run.writing("training"):
        importing.import_checkpoint(
            options.file,
            workdir=options.workdir,
            data=options.data,
            space=options.space,
            kernel_matrices=options.kernel_matrices,
            overrides=options.set,
            labels=options.labels,
        )
    tell(run.next_command, wrote=f"the supernet in {run.supernet}")


def _import_torch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the .pth file; needs the extra [torch]")
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="work directory of the run")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="folder:PATH or tfds:NAME with classes of the checkpoint, found by name; or images:PATH, photos "
        "without classes, to calibrate on",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="class names, one per line in the order of the outputs; default: ImageNet's WordNet numbers for 1000 "
        "classes, else numbers",
    )
    parser.add_argument(
        "--space",
        metavar="SPACE",
        help="instead of the recognised one: settings to change, such as coupling=independent,kernel=elastic, or the "
        "path of a work directory or of the JSON file of one",
    )
    parser.add_argument(
        "--kernel-matrices",
        choices=("drop", "apply"),
        default="drop",
        help="of a MobileNetV3: drop (fixed kernels, as the authors evaluate) or apply (elastic kernels)",
    )
    add_recipe_settings(parser)


COMMANDS = (
    Subcommand(
        "demo",
        "the whole way on a small data set, in minutes",
        f"compofa demo --workdir {RUNS}/demo",
        _demo,
        _demo_arguments,
    ),
    Subcommand(
        "train",
        "train a family; run the same command again to resume",
        f"compofa train --recipe small --data folder:photos/ --workdir {RUNS}/photos",
        _train,
        _train_arguments,
    ),
    Subcommand(
        "import-torch",
        "a published PyTorch checkpoint as a work directory, without training",
        f"compofa import-torch model_best_compofa_simple.pth.tar --workdir {RUNS}/compofa --data folder:imagenet",
        _import_torch,
        _import_torch_arguments,
    ),
)
