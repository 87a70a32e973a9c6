"""The command line: finds the commands, parses, runs one of them, and says in one line what went wrong.

A command is a ``Subcommand`` in the tuple ``COMMANDS`` of any module of this folder.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Sequence

from absl import app, flags, logging
from absl.flags import argparse_flags

from compofa_tf import cli
from compofa_tf._version import __version__
from compofa_tf.cli.looking import list_runs
from compofa_tf.cli.options import Subcommand
from compofa_tf.errors import InputError
from compofa_tf.quiet import decoder_complaints_hidden

_ORDER = ("training", "measuring", "searching", "exporting", "looking")
"""Modules in the order in which ``--help`` shows their commands; those of others come after them."""

_SIGPIPE = 13
_NO_COMMANDS = ("main", "options")


def main() -> None:
    """Entry point of ``compofa``."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever else uses Keras here
    _any_text()
    app.call_after_init(_warnings_only)
    app.run(run, flags_parser=parse)


def _warnings_only() -> None:
    """Programs of absl also show what libraries only tell; here that takes ``--verbosity=1``."""
    if flags.FLAGS.verbosity <= 0:
        logging.set_verbosity(logging.WARNING)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the parsed command line; exits with code 2 when it cannot be parsed."""
    parser = argparse_flags.ArgumentParser(
        prog="compofa",
        description="One trained network, the right model for every device.",
        epilog="Start with: compofa demo. Without a command: the runs here, and what comes next in each. With "
        "--verbosity=1 an error shows its traceback.",
    )
    parser.add_argument("--version", action="version", version=f"compofa_tf {__version__}")
    parser.set_defaults(command=list_runs)
    commands = parser.add_subparsers(metavar="COMMAND")
    for command in subcommands():
        command.add_to(commands)
    return parser.parse_args(list(arguments)[1:])


def subcommands() -> Iterator[Subcommand]:
    """Yields every command of the modules in this folder."""
    names = [module.name for module in pkgutil.iter_modules(cli.__path__) if module.name not in _NO_COMMANDS]
    for name in sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        yield from importlib.import_module(f"{cli.__name__}.{name}").COMMANDS


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _any_text() -> None:
    """Lets names be printed that the encoding of the terminal lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run(options: argparse.Namespace) -> int:
    """Runs a parsed command; returns the exit code. What a user can mend is one line on standard error."""
    try:
        with decoder_complaints_hidden():
            options.command(options)
            _flush()
    except BrokenPipeError:  # who reads has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + _SIGPIPE
    except (InputError, OSError) as error:
        if flags.FLAGS.verbosity > 0:
            traceback.print_exc()
        print(f"compofa: error: {_in_one_line(error)}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("compofa: interrupted; run the same command again to go on.", file=sys.stderr, flush=True)
        return 130
    return 0


_MENDS = {
    errno.EROFS: "nothing can be written on that disk; name a work directory elsewhere (--workdir)",
    errno.EACCES: "give yourself the right to it, or name a work directory elsewhere (--workdir)",
    errno.ENOSPC: "the disk is full; make room and run the same command again, what was there is still there",
}
"""What to change where the system refuses something."""


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    mend = _MENDS.get(error.errno or 0) if isinstance(error, OSError) else None
    return f"{text}; {mend}." if mend else text


if __name__ == "__main__":
    main()
