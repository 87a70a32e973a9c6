"""Commands that measure: measure, evaluate, benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path

from compofa_tf import commands
from compofa_tf._lazy import later
from compofa_tf.cli.options import Subcommand, add_run, add_settings, assignments, open_run, tell
from compofa_tf.errors import InputError
from compofa_tf.progress import say
from compofa_tf.quiet import import_tensorflow_quietly
from compofa_tf.workdir import RUNS, WorkDir


def _measure(options: argparse.Namespace) -> None:
    run = open_run(options, writes=True).changed(assignments(options))
    run.require_trained()
    both = options.accuracy == options.latency
    import_tensorflow_quietly()
    measuring = later(__name__, "pipeline.measuring")
    tables: list[Path] = []
    if options.accuracy or both:
        measuring.measure_accuracy(run, limit=options.limit, sample=options.sample, images=options.images)
        tables.append(run.accuracy_file)
    if options.latency or both:
        measuring.measure_latency(run)
        tables += [run.latency_table_file(precision) for precision in run.recipe.latency.precisions]
    if run.weights_file.exists() and measuring.confirm(run) is not None:
        tables.append(run.whole_accuracy_file)
    tell(run.next_towards_front, wrote=" and ".join(map(str, tables)))


def _measure_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--accuracy", action="store_true", help="only the accuracy table")
    parser.add_argument("--latency", action="store_true", help="only the latency tables")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N subnets, for a quick look")
    parser.add_argument("--sample", type=int, metavar="N", help="only N subnets drawn at random")
    parser.add_argument("--images", type=int, metavar="N", help="validation images per subnet")
    add_settings(parser)


def _evaluate(options: argparse.Namespace) -> None:
    run = open_run(options, writes=bool(options.set)).changed(options.set)
    run.require_trained()
    if options.data:
        run = run.looking_at(options.data)
    arch = run.parse(options.arch) if options.arch else None
    if (arch is None) == (options.model is None):
        raise InputError("Give --arch (a subnet of the run) or --model (a .keras or .tflite file).")
    import_tensorflow_quietly()
    evaluating = later(__name__, "pipeline.evaluating")
    accuracy, per_class = evaluating.evaluate(run, arch or options.model, images=options.images)
    say(str(accuracy))
    if options.per_class:
        say(str(per_class))
    tell(run.next_command)


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--arch", metavar="ID", help="a subnet, for example r32-d23423; it is calibrated first")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a .keras or .tflite file")
    parser.add_argument("--images", type=int, metavar="N", help="validation images; default: all")
    parser.add_argument("--per-class", action="store_true", help="recall of every class, and what is taken for what")
    add_settings(parser, data="pictures to look at instead of those of the run, which stays as it is")


def _benchmark(options: argparse.Namespace) -> None:
    benchmarking = later(__name__, "latency.benchmarking")
    say(str(benchmarking.benchmark(options.model, device=options.device, threads=options.threads)))
    run = WorkDir(options.model.parent.parent)
    exported = run.recipe_file.exists() and options.model.parent == run.models
    tell(commands.writer(commands.REPORT).line(run) if exported else "compofa")


def _benchmark_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="FILE", help="a .tflite file")
    parser.add_argument("--device", default="host", metavar="NAME", help="default: host")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")


COMMANDS = (
    Subcommand(
        "measure",
        "measure the accuracy of every subnet and the latency table of this machine; resumes",
        f"compofa measure {RUNS}/photos",
        _measure,
        _measure_arguments,
    ),
    Subcommand(
        "evaluate",
        "accuracy of a subnet, a Keras model or a .tflite file on the validation images",
        f"compofa evaluate {RUNS}/demo --arch r32-d23423",
        _evaluate,
        _evaluate_arguments,
    ),
    Subcommand(
        "benchmark",
        "latency of a .tflite file",
        f"compofa benchmark {RUNS}/demo/models/m.tflite",
        _benchmark,
        _benchmark_arguments,
    ),
)
