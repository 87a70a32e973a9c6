"""Commands that write models and the report: extract, export, report."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from compofa_tf import commands
from compofa_tf._lazy import later
from compofa_tf.cli.options import Subcommand, add_overwrite, add_run, add_settings, assignments, open_run, tell
from compofa_tf.errors import InputError
from compofa_tf.quiet import import_tensorflow_quietly
from compofa_tf.workdir import RUNS


def _extract(options: argparse.Namespace) -> None:
    run = open_run(options, writes=True)
    arch = run.parse(options.arch)
    target = options.output or run.models / f"{options.arch}.keras"
    import_tensorflow_quietly()
    later(__name__, "pipeline.extracting").extract_model(run, arch, target, overwrite=options.overwrite)
    tell(shlex.join(["compofa", "evaluate", str(run.path), "--model", str(target)]), wrote=str(target))


def _extract_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--arch", required=True, metavar="ID", help="for example r32-d23423")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: models/ID.keras in the work directory")
    add_overwrite(parser)


def _export(options: argparse.Namespace) -> None:
    run = open_run(options, writes=True)
    run.require_front()
    ends = [f"deploy.{name}={getattr(options, name)}" for name in ("io", "scores") if getattr(options, name)]
    run = run.changed([*assignments(options), *ends])
    import_tensorflow_quietly()
    exporting = later(__name__, "pipeline.exporting")
    allowed = {"allow_few_images": options.allow_few_images, "allow_disagreement": options.allow_disagreement}
    artifacts = exporting.export_models(run, overwrite=options.overwrite, **allowed)
    tell(commands.writer(commands.REPORT).line(run), wrote=f"{len(artifacts)} models in {run.models}")
    missed = exporting.over_budget(artifacts, run)
    if missed:
        raise InputError(missed)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_overwrite(parser)
    parser.add_argument(
        "--io",
        metavar="float32|uint8|int8",
        help="input and output of integer models, kept as deploy.io; at first float32, which every client opens",
    )
    parser.add_argument(
        "--scores",
        metavar="probabilities|logits",
        help="what models give, kept as deploy.scores; at first probabilities",
    )
    parser.add_argument("--allow-few-images", action="store_true", help="int8 from fewer than 8 calibration images")
    parser.add_argument(
        "--allow-disagreement", action="store_true", help="models that often name another class than the Keras model"
    )
    add_settings(parser)


def _report(options: argparse.Namespace) -> None:
    run = open_run(options, writes=False)
    reports = later(__name__, "reports.page")
    if options.figure is not None:
        wrote = str(reports.family_figure(run.path, options.figure))
    else:
        wrote = f"{reports.report(run.path)}, open it in a browser"
    tell(run.next_command, wrote=wrote)


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="instead only the figure of the family, as .png or .svg"
    )


COMMANDS = (
    Subcommand(
        "extract",
        "a subnet as a plain Keras model, calibrated",
        f"compofa extract {RUNS}/demo --arch r32-d23423",
        _extract,
        _extract_arguments,
    ),
    Subcommand(
        "export",
        "write, execute and measure the chosen models as .tflite",
        f"compofa export {RUNS}/photos",
        _export,
        _export_arguments,
    ),
    Subcommand("report", "write report.html", f"compofa report {RUNS}/photos", _report, _report_arguments),
)
