"""Where the files of a run are: every file name of a work directory, once. Paths only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SUPERNET_NAME, WEIGHTS_NAME = "supernet.json", "weights.npz"
"""Files of a folder of weights, ``supernet/`` and ``teacher/``."""

RUNS = Path("runs")
"""Where runs are kept when nothing else is said."""


@dataclass(frozen=True)
class WorkDir:
    """The files of one run.

    Attributes:
      path: The directory.
    """

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The recipe of the run; a folder that has it is a work directory."""
        return self.path / "recipe.json"

    @property
    def data_card_file(self) -> Path:
        """What the data set was: class names in their order, counts, a fingerprint of the files."""
        return self.path / "data.json"

    @property
    def data_index_file(self) -> Path:
        """What was found out about the files of a data set, so that unchanged ones are not checked again."""
        return self.path / "data_index.json"

    @property
    def unpacked_images(self) -> Path:
        """Images of data sets that come as one large file."""
        return self.path / "images"

    @property
    def prepared_pictures(self) -> Path:
        """Pictures in another form than the user's files: upright, smaller, readable."""
        return self.path / "pictures"

    @property
    def metrics_file(self) -> Path:
        """What was found while training, a line of JSON each."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The same for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of the training."""
        return self.path / "checkpoints"

    @property
    def teacher(self) -> Path:
        """Weights of the teacher."""
        return self.path / "teacher"

    @property
    def supernet(self) -> Path:
        """Weights of the family; they are there when training has finished."""
        return self.path / "supernet"

    @property
    def supernet_file(self) -> Path:
        """What the weights are of."""
        return self.supernet / SUPERNET_NAME

    @property
    def weights_file(self) -> Path:
        """The weights themselves."""
        return self.supernet / WEIGHTS_NAME

    @property
    def accuracy_file(self) -> Path:
        """The accuracy table."""
        return self.path / "accuracy" / "val.json"

    @property
    def whole_accuracy_file(self) -> Path:
        """Accuracies of the front's points on all pictures, where the table is of a part of them."""
        return self.accuracy_file.parent / "whole" / self.accuracy_file.name

    @property
    def accuracy_files(self) -> list[Path]:
        """Every accuracy table that is there."""
        return sorted(self.accuracy_file.parent.glob("*.json"))

    def latency_file(self, device: str, precision: str, threads: int) -> Path:
        """The latency table of a device (its name, or the path of its file), a precision and a number of threads."""
        return self.path / "latency" / f"{Path(device).stem}-{precision}-t{threads}.json"

    @property
    def latency_files(self) -> list[Path]:
        """Every latency table that is there."""
        return sorted((self.path / "latency").glob("*.json"))

    @property
    def front_file(self) -> Path:
        """What the search found."""
        return self.path / "front.json"

    @property
    def front_files(self) -> list[Path]:
        """Every front that is there."""
        return sorted(self.path.glob("front*.json"))

    @property
    def models(self) -> Path:
        """Extracted and exported models."""
        return self.path / "models"

    @property
    def model_files(self) -> list[Path]:
        """Everything that exports wrote: models, and what lies beside them."""
        return sorted(self.models.glob("*.tflite*"))

    @property
    def sidecar_files(self) -> list[Path]:
        """What lies beside the exported models."""
        return sorted(self.models.glob("*.tflite.json"))

    @property
    def report_file(self) -> Path:
        """The report."""
        return self.path / "report.html"

    def lock_file(self, output: str) -> Path:
        """What says that a command is writing an output."""
        return self.path / ".locks" / f"{output}.lock"


def runs_in(folder: Path = RUNS) -> list[WorkDir]:
    """Returns the work directories in a folder, the one that was last written to first."""
    found = [WorkDir(path) for path in folder.glob("*") if WorkDir(path).recipe_file.is_file()]
    return sorted(found, key=_last_written, reverse=True)


def _last_written(run: WorkDir) -> tuple[float, str]:
    files = [run.recipe_file, run.metrics_file, run.supernet_file, run.accuracy_file, run.front_file, run.report_file]
    files += [*run.latency_files, *run.sidecar_files]
    return max(file.stat().st_mtime for file in files if file.exists()), run.path.name
