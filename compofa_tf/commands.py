"""The commands that fill a work directory, in their order: what each needs, what it writes, what comes next.

Paths only: nothing is read, so that any list of runs can say what to do with each of them.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from compofa_tf.workdir import WorkDir


@dataclass(frozen=True)
class Output:
    """Something that a command leaves in a work directory.

    Attributes:
      name: What it is called in a sentence, without an article.
      files: Returns the files by which it is known; one of them is enough.
    """

    name: str
    files: Callable[[WorkDir], Sequence[Path]]

    def there(self, workdir: WorkDir) -> bool:
        """Whether a work directory has it."""
        return any(path.exists() for path in self.files(workdir))


@dataclass(frozen=True)
class Command:
    """A command that writes into a work directory.

    Attributes:
      words: What is typed after ``compofa``, without the work directory; ``{recipe}`` stands for a recipe.
      needs: What must be there before.
      writes: What it leaves, what is finished last at the end.
      example: A whole command line.
    """

    words: str
    needs: tuple[Output, ...]
    writes: tuple[Output, ...]
    example: str

    def line(self, workdir: WorkDir, *, resumed: bool = False) -> str:
        """Returns the command line for a work directory, as a shell takes it.

        Args:
          workdir: The work directory.
          resumed: Whether a training goes on with the recipe that lies there; otherwise its name is still to be given.
        """
        where = shlex.quote(str(workdir.path))
        if "{recipe}" in self.words:
            path = str(workdir.path)
            # A name alone would be that of a recipe.
            recipe = shlex.quote(path if os.sep in path else f".{os.sep}{path}") if resumed else "NAME"
            return f"compofa {self.words.format(recipe=recipe)} --workdir {where}"
        name, _, more = self.words.partition(" ")
        return f"compofa {name} {where} {more}".rstrip()


RECIPE = Output("recipe", lambda workdir: [workdir.recipe_file])
CURVES = Output("training curves", lambda workdir: [workdir.metrics_file])
WEIGHTS = Output("weights", lambda workdir: [workdir.supernet_file])
ACCURACY = Output("accuracy table", lambda workdir: workdir.accuracy_files)
LATENCY = Output("latency table", lambda workdir: workdir.latency_files)
FRONT = Output("front", lambda workdir: workdir.front_files)
MODELS = Output("exported model", lambda workdir: workdir.sidecar_files)
REPORT = Output("report", lambda workdir: [workdir.report_file])

COMMANDS = (
    Command(
        "train --recipe {recipe}",
        (),
        (RECIPE, CURVES, WEIGHTS),
        "compofa train --recipe small --data folder:photos/ --workdir runs/photos",
    ),
    Command("measure --accuracy", (WEIGHTS,), (ACCURACY,), "compofa measure runs/photos --accuracy"),
    Command("measure --latency", (WEIGHTS,), (LATENCY,), "compofa measure runs/photos --latency"),
    Command("search", (ACCURACY, LATENCY), (FRONT,), "compofa search runs/photos --budget-ms 5,10,20"),
    Command("export", (FRONT,), (MODELS,), "compofa export runs/photos"),
    Command("report", (), (REPORT,), "compofa report runs/photos"),
)
"""In the order in which they are given."""

OUTPUTS = tuple(output for command in COMMANDS for output in command.writes)


def writer(output: Output) -> Command:
    """Returns the command that writes an output."""
    return next(command for command in COMMANDS if output in command.writes)


def written(workdir: WorkDir) -> set[Output]:
    """Returns the outputs that are there or were not needed for what is there.

    Imported weights come without training curves, and a front of published accuracies and latencies without tables.
    """
    found = {output for output in OUTPUTS if output.there(workdir)}
    for command in reversed(COMMANDS):
        if command.writes[-1] in found:
            found |= {*command.needs, *command.writes}
    return found


def missing(workdir: WorkDir, *, there: Collection[Output] | None = None) -> list[tuple[Output, Command]]:
    """Returns the outputs that are not there, each with the command that writes it, in the order of the commands.

    Args:
      workdir: The work directory.
      there: What counts as there, for a caller that has looked into the files; ``written`` when absent.
    """
    found = written(workdir) if there is None else there
    return [(output, command) for command in COMMANDS for output in command.writes if output not in found]


def next_command(workdir: WorkDir) -> str:
    """Returns the command line to give next, as a shell takes it; in the end the benchmark of an exported model."""
    absent = missing(workdir)
    return absent[0][1].line(workdir, resumed=RECIPE.there(workdir)) if absent else benchmark(workdir)


def benchmark(workdir: WorkDir) -> str:
    """Returns the command line that measures the smallest exported model once more, as a shell takes it."""
    models = [path.with_suffix("") for path in workdir.sidecar_files]
    smallest = min(models, key=lambda path: path.stat().st_size if path.exists() else math.inf)
    return f"compofa benchmark {shlex.quote(str(smallest))}"
