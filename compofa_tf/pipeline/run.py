"""An opened work directory: what its files say, its network and its data, and who may write to it. No TensorFlow."""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compofa_tf import commands, families, files
from compofa_tf._lazy import later
from compofa_tf.accuracy.table import MOST_MEASURED
from compofa_tf.data.card import DataCard, load_card, located, require_named
from compofa_tf.deploy.ends import Ends
from compofa_tf.deploy.targets import PRECISIONS
from compofa_tf.errors import InputError
from compofa_tf.locks import locked
from compofa_tf.progress import say
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.space import Arch, Space
from compofa_tf.workdir import WorkDir

_OUTPUTS = {
    "training": "the training",
    "accuracy": "the accuracy table",
    "front": "the front",
    "models": "the models",
    "recipe": "the recipe",
}


@dataclass(frozen=True)
class Run(WorkDir):
    """A work directory with what its files say, each read once.

    A command makes one, asks it for what it needs, and writes under ``writing``.

    Attributes:
      other_data: Where this command takes pictures from instead of those of the run; the run does not change.
    """

    other_data: str | None = None

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The recipe of the run; ``InputError`` if nothing was trained here."""
        if not self.recipe_file.exists():
            command = commands.writer(commands.RECIPE).line(self)
            raise InputError(f"{self.path} is not a work directory: run `{command}` first.")
        return Recipe.load(self.path)

    @functools.cached_property
    def _supernet(self) -> dict[str, Any]:
        """What ``supernet.json`` says of the weights."""
        self.require_trained()
        return files.read_json(self.supernet_file, kind="supernet")

    def require_trained(self) -> None:
        """Raises ``InputError`` that names the command to run first, unless there are weights."""
        _ = self.recipe
        if not self.supernet_file.exists():
            command = commands.writer(commands.WEIGHTS).line(self, resumed=True)
            raise InputError(f"Training has not finished in {self.path}: run `{command}`.")

    def require_front(self) -> None:
        """Raises ``InputError`` that names the command to run first, unless something was searched."""
        self.require(self.front_file, commands.FRONT)

    def require(self, file: Path, output: commands.Output, *, instead: str = "") -> None:
        """Raises ``InputError`` that names the command which writes an output, unless its file is there.

        Args:
          file: The file.
          output: What it is.
          instead: Ends the sentence, with what could be done otherwise.
        """
        if not file.exists():
            raise InputError(f"There is no {file}: run `{commands.writer(output).line(self)}` first{instead}.")

    @functools.cached_property
    def space(self) -> Space:
        """The space of the trained supernet, read without TensorFlow."""
        return families.from_json(self._supernet.get("space"))

    @functools.cached_property
    def only(self) -> Arch | None:
        """The one arch that has weights, where an extracted subnet was imported; else None."""
        name = self._supernet.get("only")
        return self.space.parse(name) if name else None

    @property
    def archs(self) -> list[Arch] | None:
        """The archs that have weights: None for all; of an imported subnet it at each resolution of the table."""
        only = self.only
        return None if only is None else [only.at(resolution) for resolution in self.recipe.accuracy.resolutions]

    def parse(self, name: str) -> Arch:
        """Returns the subnet of a name; ``InputError`` if the space has none of it, or it has no weights here."""
        arch = self.space.parse(name)
        if self.only is not None and arch != self.only.at(arch.resolution):
            raise InputError(
                f"Only one subnet has weights in {self.path}, {self.space.id(self.only.at(arch.resolution))}, at any "
                f"resolution. Received: {name}"
            )
        return arch

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        with files.interpreted(self.supernet_file, again="train or import again"):
            return list(self._supernet["labels"])

    @property
    def normalization(self) -> dict[str, Any]:
        """The normalisation of the input images."""
        with files.interpreted(self.supernet_file, again="train or import again"):
            return dict(self._supernet["normalization"])

    def ends(self, precision: str) -> Ends:
        """The ends of the files of a precision: those that the recipe asks for, where it has them."""
        settings = self.recipe.deploy
        io = settings.io if PRECISIONS[precision].integer else None
        return Ends.of(precision, self.space.profile, io=io, scores=settings.scores)

    def latency_table_file(self, precision: str) -> Path:
        """The latency table of a precision, under the recipe's device and threads."""
        settings = self.recipe.latency
        return self.latency_file(settings.device, precision, settings.threads)

    @functools.cached_property
    def net(self) -> Any:
        """The ``Supernet``; imports TensorFlow."""
        return later(__name__, "nets.supernet").Supernet.load(self.path)

    @property
    def card(self) -> DataCard | None:
        """What the data set was when the weights were made; None where nobody wrote it down."""
        return load_card(self.data_card_file)

    @property
    def source(self) -> str:
        """Where the pictures are: a relative path counts from the folder in which it was given."""
        if self.other_data is not None:
            return self.other_data
        card, source = self.card, self.recipe.data.source
        return located(source, card.relative_to if card is not None and card.source == source else None)

    @functools.cached_property
    def data(self) -> Any:
        """The ``Data`` of the run, its labels counting in the classes of the weights; imports TensorFlow.

        Raises:
          InputError: If it cannot be used, or has none of the classes that the weights are for.
        """
        recipe = self.recipe
        found = later(__name__, "data").load(self.source, recipe.data, seed=recipe.seed, workdir=self.path, log=say)
        own = self.labels
        if not found.labelled or not own:
            return found
        require_named(own, found.labels, where=f"the network in {self.path}")
        return found.bound_to(own)

    @property
    def calibration_images(self) -> int:
        """Images that batch-norm statistics are computed from; 0 for an imported subnet, which came with its own."""
        return 0 if self.only else self.recipe.accuracy.calibration_images

    def images_for_calibration(self, resolution: int, *, count: int) -> Any:
        """Returns batches of training images with the preprocessing of an evaluation, at most ``count`` images."""
        batch_size = self.recipe.accuracy.batch_size
        return self.data.calibration(resolution=resolution, batch_size=batch_size, count=count)

    def calibrated(self, arch: Arch) -> Any:
        """Returns the ``Supernet`` with the batch-norm statistics of a subnet, at the resolution of its arch.

        Of an imported subnet they are those that it came with, else they are computed now.
        """
        if self.calibration_images:
            images = self.images_for_calibration(arch.resolution, count=self.calibration_images)
            later(__name__, "nets.subnet").calibrate(self.net, arch, images)
        return self.net

    def writing(self, output: str) -> contextlib.AbstractContextManager[None]:
        """Returns the context in which a command writes an output; in it no other command may.

        Args:
          output: ``"training"`` (checkpoints, metrics, weights), ``"accuracy"``, the name of a latency table without
            its ending, ``"front"``, ``"models"`` or ``"recipe"``. The report needs none: it is made anew, as a whole.

        Raises:
          InputError: On entering, if another command writes it.
        """
        return locked(self.lock_file(output), what=_OUTPUTS.get(output, f"the latency table {output}"))

    def changed(self, assignments: Sequence[str]) -> Run:
        """Returns the run with settings that are other ones from now on: ``recipe.json`` is written and told of.

        Args:
          assignments: ``"key=value"`` texts, see ``Recipe.override``; none that decides the weights.

        Raises:
          InputError: For another setting, because the weights come from it, or for one that does not exist or fit.
        """
        if not assignments:
            return self
        self.require_trained()
        with self.writing("recipe"):
            before = Recipe.load(self.path)
            after = before.override(assignments)
            card = self._moved(before, after)
            differences = before.differences(after)
            if fixed := before.differences(after, of_training=True):
                raise InputError(
                    f"{self.path} was trained with other settings, which cannot change afterwards; train in another "
                    f"work directory. There and here: {'; '.join(fixed)}"
                )
            if differences:
                if card is not None:
                    card.save(self.data_card_file)
                after.save(self.recipe_file)
                say(f"From now on other settings in {self.recipe_file}, before and now: {'; '.join(differences)}.")
        return Run(self.path)

    def _moved(self, before: Recipe, after: Recipe) -> DataCard | None:
        """The card with another place of the data, if that is another one and the data there is the same."""
        card, source = self.card, after.data.source
        if card is None or source == before.data.source:
            return None
        differences = card.differences(self._surveyed(source, after).card())
        if differences:
            raise InputError(
                f"{source} is not the data that {self.path} was trained on ({'; '.join(differences)}); its accuracy on "
                "other pictures is told by `compofa evaluate`, and a training on them needs another work directory."
            )
        return card.at(source)

    def _surveyed(self, source: str, recipe: Recipe) -> Any:
        """The ``Survey`` of another source."""
        survey = later(__name__, "data.survey").Survey
        return survey.of(source, recipe.data, seed=recipe.seed, workdir=self.path)

    def looking_at(self, source: str) -> Run:
        """Returns the run with pictures from elsewhere for one command, and says how they differ."""
        card, recipe = self.card, self.recipe
        differences = [] if card is None else card.differences(self._surveyed(source, recipe).card())
        for difference in differences:
            say(f"Not the pictures of the run: {difference}.")
        return Run(self.path, other_data=source)

    @property
    def next_command(self) -> str:
        """The command line to give next, as a shell takes it; where a file is damaged, by what is there alone."""
        absent = [output for output, _ in commands.missing(self)]
        if commands.WEIGHTS not in absent and commands.FRONT in absent:
            with contextlib.suppress(InputError):
                return self.next_towards_front
        return commands.next_command(self)

    @property
    def next_towards_front(self) -> str:
        """The command line of what is still to be measured, or of the search.

        What was imported may have images without classes; then the authors' predictor stands in for the accuracy table.
        """
        where = shlex.quote(str(self.path))
        accurate, timed = commands.ACCURACY.there(self), commands.LATENCY.there(self)
        imported = self._supernet.get("imported_from") is not None
        if timed and (accurate or imported):
            return f"compofa search {where}{'' if accurate else ' --accuracy published'}"
        if accurate or imported:
            return f"compofa measure {where} --latency"
        sample = " --sample 200" if self.space.size > MOST_MEASURED else ""
        return f"compofa measure {where}{' --accuracy' if timed else ''}{sample}"
