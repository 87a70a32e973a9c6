"""What several commands have in common: how a command is described, how a run is named, what is said at the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compofa_tf._lazy import later
from compofa_tf.errors import InputError
from compofa_tf.progress import say
from compofa_tf.workdir import RUNS, WorkDir, runs_in

_NAMED_RUNS = 8


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    return None


@dataclass(frozen=True)
class Subcommand:
    """A command as it is typed.

    Attributes:
      name: The word after ``compofa``.
      text: What it does, for the list of commands and its own help.
      example: A whole command line.
      run: Does it, given the parsed words. ``InputError`` and ``OSError`` become one line and exit code 1.
      arguments: Adds its arguments to a parser.
    """

    name: str
    text: str
    example: str
    run: Callable[[argparse.Namespace], None]
    arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments

    def add_to(self, commands: Any) -> None:
        """Makes the command known to the sub-parsers of a parser."""
        parser = commands.add_parser(
            self.name,
            help=self.text,
            description=self.text[0].upper() + self.text[1:] + ".",
            epilog=f"Example: {self.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(command=self.run)
        self.arguments(parser)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the work directory of an existing run, as the first word or ``--workdir``; see ``open_run``."""
    parser.add_argument("path", nargs="?", type=Path, metavar="RUN", help=f"work directory, for example {RUNS}/photos")
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="the same")


def add_settings(
    parser: argparse.ArgumentParser, *, data: str = "where the same pictures are from now on, for example folder:PATH"
) -> None:
    """Adds settings of an existing run that may change, and ``--data`` with a help of its own."""
    parser.add_argument("--data", metavar="SOURCE", help=data)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the run from now on: accuracy.*, latency.*, search.* or deploy.*",
    )


def add_recipe_settings(parser: argparse.ArgumentParser) -> None:
    """Adds settings of a recipe, any of them."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, for example train.epochs=2"
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Adds ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run of this command wrote")


def numbers(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Returns a type for ``add_argument``: comma-separated numbers of a kind."""

    def convert(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(","))

    convert.__name__ = f"comma-separated {kind.__name__}"
    return convert


def assignments(options: argparse.Namespace) -> list[str]:
    """Returns what ``--data`` and ``--set`` assign."""
    source = [f"data.source={options.data}"] if options.data else []
    return [*source, *options.set]


def open_run(options: argparse.Namespace, *, writes: bool) -> Any:
    """Returns the ``Run`` that a command is about, and says which where that was left open.

    Args:
      options: With what ``add_run`` added.
      writes: A command that only reads takes the newest run where none is named; one that writes takes the only one.

    Raises:
      InputError: If two different work directories are named, or it is not clear which one is meant.
    """
    named = [path for path in (options.path, options.workdir) if path is not None]
    if len({path.resolve() for path in named}) > 1:
        raise InputError(
            f"Two work directories are named, only one can be meant. Received: {named[0]} and --workdir {named[1]}"
        )
    path = named[0] if named else _found(runs_in(), writes=writes)
    return later(__name__, "pipeline.run").Run(path)


def _found(runs: Sequence[WorkDir], *, writes: bool) -> Path:
    if not runs:
        raise InputError(
            f"There is no run in {RUNS}/; begin one with `compofa demo` or `compofa train`, or name a work directory "
            "after the command."
        )
    if writes and len(runs) > 1:
        listed = ", ".join(str(run.path) for run in runs[:_NAMED_RUNS])
        more = f" and {len(runs) - _NAMED_RUNS} more" if len(runs) > _NAMED_RUNS else ""
        raise InputError(f"There are several runs, name one of them after the command: {listed}{more}.")
    say(f"Using {runs[0].path}, the {'only' if writes else 'newest'} run.")
    return runs[0].path


def tell(next_command: str, *, wrote: str | None = None) -> None:
    """Says what a command wrote, and what to type next."""
    if wrote is not None:
        say(f"Wrote {wrote}.")
    say(f"Next: {next_command}")
