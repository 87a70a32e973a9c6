"""The command line: one sub-command per stage, each ending with what it wrote and what to run next."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from absl.flags import argparse_flags

from compofa_tf._version import __version__
from compofa_tf.errors import InputError
from compofa_tf.locks import locked
from compofa_tf.progress import say
from compofa_tf.workdir import WorkDir

Command = Callable[[argparse.Namespace], None]


def main() -> None:
    """Entry point of ``compofa``."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app.run(run, flags_parser=parse)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the parsed command line; exits with code 2 when it cannot be parsed."""
    parser = argparse_flags.ArgumentParser(
        prog="compofa",
        description="One trained network, the right model for every device.",
        epilog="Start with: compofa demo. With --verbosity=1 an error shows its traceback.",
    )
    parser.add_argument("--version", action="version", version=f"compofa_tf {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    stages = (_train, _import_torch, _evaluate, _measure, _search, _extract, _export, _benchmark, _report)
    for add in (_demo, _space, *stages, _recipes):
        add(commands)
    return parser.parse_args(list(arguments)[1:])


def run(options: argparse.Namespace) -> int:
    """Runs a parsed command; returns the exit code. What a user can mend is one line on standard error."""
    try:
        options.command(options)
    except (InputError, OSError) as error:
        if flags.FLAGS.verbosity > 0:
            traceback.print_exc()
        text = " ".join(str(error).split())
        print(f"compofa: error: {text}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("compofa: interrupted; run the same command again to go on.", file=sys.stderr, flush=True)
        return 130
    return 0


def _add(commands: Any, name: str, command: Command, text: str, example: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"Example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def _workdir_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="work directory of the run")


def _overwrite_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run of this command wrote")


def _set_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, for example train.epochs=2"
    )


def _numbers(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def convert(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(","))

    convert.__name__ = f"comma-separated {kind.__name__}"
    return convert


# Stages


def _demo(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.pipeline import demo

        demo.run(options.workdir, smallest=options.smallest)

    parser = _add(
        commands, "demo", command, "the whole way on a small data set, in minutes", "compofa demo --workdir runs/demo"
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/demo"), metavar="DIR", help="default: runs/demo")
    parser.add_argument(
        "--smallest", action="store_true", help="the shortest form, for a quick check of an installation"
    )


def _train(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf import recipes
        from compofa_tf.quiet import import_tensorflow_quietly
        from compofa_tf.recipes.recipe import Recipe

        named = options.recipe
        recipe = Recipe.load(named) if named.endswith(".json") or os.path.isdir(named) else recipes.get(named)
        source = [f"data.source={options.data}"] if options.data else []
        recipe = recipe.override([*source, *options.set])
        workdir = options.workdir or Path("runs") / recipe.name
        import_tensorflow_quietly()
        from compofa_tf.accuracy.table import MOST_MEASURED
        from compofa_tf.training.loop import train
        from compofa_tf.training.threads import share_cores_for_training

        share_cores_for_training()

        with locked(WorkDir(workdir).lock_file("training"), what="the training"):
            net = train(recipe, workdir=workdir)
        sample = " --sample 200" if net.space.size > MOST_MEASURED else ""
        _next(f"the supernet in {WorkDir(workdir).supernet}", f"compofa measure --workdir {workdir}{sample}")

    parser = _add(
        commands,
        "train",
        command,
        "train a family; run the same command again to resume",
        "compofa train --recipe small --data folder:photos/ --workdir runs/photos",
    )
    parser.add_argument(
        "--recipe", required=True, metavar="NAME", help="`compofa recipes` lists them; or a recipe.json"
    )
    parser.add_argument("--data", metavar="SOURCE", help="digits, folder:PATH or tfds:NAME; default: the recipe's")
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="default: runs/NAME")
    _set_option(parser)


def _import_torch(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.quiet import import_tensorflow_quietly

        import_tensorflow_quietly()
        from compofa_tf.pipeline.importing import import_checkpoint

        with locked(WorkDir(options.workdir).lock_file("training"), what="the training"):
            import_checkpoint(
                options.file,
                workdir=options.workdir,
                data=options.data,
                space=options.space,
                kernel_matrices=options.kernel_matrices,
                overrides=options.set,
            )
        _next(f"the supernet in {WorkDir(options.workdir).supernet}", f"compofa measure {_of(options)} --latency")

    parser = _add(
        commands,
        "import-torch",
        command,
        "a published PyTorch checkpoint as a work directory, without training",
        "compofa import-torch model_best_compofa_simple.pth.tar --workdir runs/compofa --data folder:imagenet",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the .pth file; needs the extra [torch]")
    _workdir_option(parser)
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="folder:PATH or tfds:NAME with the classes of the checkpoint, in their order; or images:PATH, photos "
        "without classes, to calibrate on",
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
    _set_option(parser)


def _measure(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.pipeline import run as stages
        from compofa_tf.quiet import import_tensorflow_quietly

        workdir = stages.Run(options.workdir)
        both = not (options.accuracy or options.latency)
        _ = workdir.space
        import_tensorflow_quietly()
        with locked(WorkDir(options.workdir).lock_file("training"), what="the training"):
            if options.accuracy or both:
                stages.measure_accuracy(workdir, limit=options.limit, sample=options.sample, images=options.images)
            if options.latency or both:
                stages.measure_latency(workdir)
        predicted = "" if workdir.accuracy_file.exists() else " --accuracy published"
        folders = [workdir.accuracy_file.parent] * (options.accuracy or both)
        folders += [options.workdir / "latency"] * (options.latency or both)
        _next(f"tables in {' and '.join(map(str, folders))}", f"compofa search {_of(options)}{predicted}")

    parser = _add(
        commands,
        "measure",
        command,
        "measure the accuracy of every subnet and the latency table of this machine; resumes",
        "compofa measure --workdir runs/photos",
    )
    _workdir_option(parser)
    parser.add_argument("--accuracy", action="store_true", help="only the accuracy table")
    parser.add_argument("--latency", action="store_true", help="only the latency tables")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N subnets, for a quick look")
    parser.add_argument("--sample", type=int, metavar="N", help="only N subnets drawn at random")
    parser.add_argument("--images", type=int, metavar="N", help="validation images per subnet")


def _search(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.pipeline import run as stages

        workdir = stages.Run(options.workdir)
        if workdir.front_file.exists() and not options.overwrite:
            raise InputError(f"{workdir.front_file} exists; pass --overwrite to search again.")
        front = stages.find_front(
            workdir,
            budgets_ms=options.budget_ms,
            accuracy=options.accuracy,
            latency=options.latency,
            seed=options.seed,
        )
        _tell_front(front)
        _next(str(workdir.front_file), f"compofa export {_of(options)}")

    parser = _add(
        commands,
        "search",
        command,
        "find the front and the best subnet within each latency budget",
        "compofa search --workdir runs/photos --budget-ms 5,10,20",
    )
    _workdir_option(parser)
    parser.add_argument(
        "--budget-ms",
        type=_numbers(float),
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
    _overwrite_option(parser)


def _tell_front(front: Any) -> None:
    """Prints what was searched, and the best member within each budget."""
    if front.predicted:
        say(f"Accuracies are predicted, by the {front.accuracy['predictor']}: {front.accuracy['caveat']}.")
    if "caveat" in front.latency["conditions"]:
        origin, caveat = (front.latency["conditions"][name] for name in ("origin", "caveat"))
        say(f"Latencies are not of this machine: {origin}; {caveat}.")
    say(f"{len(front)} subnets on the front, from {front.coverage}.")
    top1 = "predicted top-1" if front.predicted else "top-1  "
    say(f"budget ms  predicted ms  {top1}  subnet")
    for budget_ms, best in front.chosen.items():
        say(f"{budget_ms:9.4g}  {best.predicted_ms:12.4g}  {best.top1:{len(top1)}.2%}  {best.id}")


def _export(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.pipeline import run as stages
        from compofa_tf.quiet import import_tensorflow_quietly

        workdir = stages.Run(options.workdir)
        if not workdir.front_file.exists():
            raise InputError(f"There is no {workdir.front_file}: run `compofa search {_of(options)}` first.")
        import_tensorflow_quietly()
        with locked(WorkDir(options.workdir).lock_file("training"), what="the training"):
            artifacts = stages.export_models(workdir, overwrite=options.overwrite)
        _next(f"{len(artifacts)} models in {workdir.models}", f"compofa report {_of(options)}")
        missed = stages.over_budget(artifacts)
        if missed:
            raise InputError(missed)

    parser = _add(
        commands,
        "export",
        command,
        "write, execute and measure the chosen models as .tflite",
        "compofa export --workdir runs/photos",
    )
    _workdir_option(parser)
    _overwrite_option(parser)


def _report(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.reports.page import report

        page = report(options.workdir)
        _next(str(page), f"open {page} in a browser")

    parser = _add(commands, "report", command, "write report.html", "compofa report --workdir runs/photos")
    _workdir_option(parser)


# Looking at things


def _space(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf import recipes
        from compofa_tf.space import cost

        space = recipes.get(options.recipe).override(options.set).space.build(classes=options.classes)
        say(f"{space!r}")
        for name, arch in (
            ("smallest", space.smallest(options.resolution)),
            ("largest", space.largest(options.resolution)),
        ):
            macs, params = cost.macs(space, arch), cost.params(space, arch)
            say(f"{name}: {space.id(arch)}, {macs / 1e6:.1f} M multiply-adds, {params / 1e6:.2f} M parameters")
        _next("nothing", f"compofa train --recipe {options.recipe}")

    parser = _add(commands, "space", command, "show the family of a recipe", "compofa space --recipe imagenet")
    parser.add_argument("--recipe", default="imagenet", metavar="NAME", help="default: imagenet")
    parser.add_argument("--classes", type=int, default=1000, metavar="N", help="default: 1000")
    parser.add_argument("--resolution", type=int, default=224, metavar="PX", help="default: 224")
    _set_option(parser)


def _recipes(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf import recipes

        for name in recipes.names():
            say(f"{name:10} {recipes.describe(name)}")
        _next("nothing", "compofa train --recipe small --data folder:PATH")

    _add(commands, "recipes", command, "list the recipes", "compofa recipes")


def _evaluate(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.pipeline import run as stages
        from compofa_tf.quiet import import_tensorflow_quietly

        workdir = stages.Run(options.workdir)
        _ = workdir.space
        arch = workdir.parse(options.arch) if options.arch else None
        if (arch is None) == (options.model is None):
            raise InputError("Give --arch (a subnet of the run) or --model (a .keras or .tflite file).")
        import_tensorflow_quietly()
        say(str(stages.evaluate(workdir, arch=arch, model=options.model, images=options.images)))
        _next("nothing", f"compofa report {_of(options)}")

    parser = _add(
        commands,
        "evaluate",
        command,
        "accuracy of a subnet, a Keras model or a .tflite file on the validation images",
        "compofa evaluate --workdir runs/demo --arch r32-d23423",
    )
    _workdir_option(parser)
    parser.add_argument("--arch", metavar="ID", help="a subnet, for example r32-d23423; it is calibrated first")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a .keras or .tflite file")
    parser.add_argument("--images", type=int, metavar="N", help="validation images; default: all")


def _extract(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.pipeline import run as stages
        from compofa_tf.quiet import import_tensorflow_quietly

        workdir = stages.Run(options.workdir)
        arch = workdir.parse(options.arch)
        target = options.output or workdir.models / f"{options.arch}.keras"
        if target.exists() and not options.overwrite:
            raise InputError(f"{target} exists; pass --overwrite to replace it.")
        import_tensorflow_quietly()
        stages.extract_model(workdir, arch, target)
        _next(str(target), f"compofa evaluate {_of(options)} --model {target}")

    parser = _add(
        commands,
        "extract",
        command,
        "a subnet as a plain Keras model, calibrated",
        "compofa extract --workdir runs/demo --arch r32-d23423",
    )
    _workdir_option(parser)
    parser.add_argument("--arch", required=True, metavar="ID", help="for example r32-d23423")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: models/ID.keras in the work directory")
    _overwrite_option(parser)


def _benchmark(commands: Any) -> None:
    def command(options: argparse.Namespace) -> None:
        from compofa_tf.latency.benchmarking import benchmark

        row = benchmark(options.model, device=options.device, threads=options.threads)
        say(str(row))
        _next("nothing", "compofa report --workdir DIR shows all models of a run")

    parser = _add(
        commands, "benchmark", command, "latency of a .tflite file", "compofa benchmark runs/demo/models/m.tflite"
    )
    parser.add_argument("model", type=Path, metavar="FILE", help="a .tflite file")
    parser.add_argument("--device", default="host", metavar="NAME", help="default: host")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")


def _of(options: argparse.Namespace) -> str:
    return f"--workdir {options.workdir}"


def _next(wrote: str, command: str) -> None:
    if wrote != "nothing":
        say(f"Wrote {wrote}.")
    say(f"Next: {command}")


if __name__ == "__main__":
    main()
