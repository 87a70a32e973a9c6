"""Extracting a subnet of a run as a plain Keras model."""

from __future__ import annotations

from pathlib import Path

from compofa_tf import files
from compofa_tf.nets.subnet import extract
from compofa_tf.pipeline.run import Run
from compofa_tf.space import Arch


def extract_model(run: Run, arch: Arch, path: Path, *, overwrite: bool = False) -> None:
    """Writes a subnet as a ``.keras`` file, calibrated (``Run.calibrated``), with a JSON of labels and normalisation.

    Args:
      run: A run with a finished training.
      arch: The subnet, resolution included.
      path: The file; the JSON is ``<path>.json``.
      overwrite: Whether an earlier file may be replaced.

    Raises:
      InputError: If the file exists and may not be replaced, or another command writes models there.
    """
    with run.writing("models"):
        files.refuse_to_replace(path, overwrite=overwrite)
        model = extract(run.calibrated(arch), arch)
        with files.atomic_write(path) as temporary:
            model.save(temporary)
        payload = {
            "arch": {**arch.to_json(), "id": run.space.id(arch)},
            "space": run.space.to_json(),
            "normalization": run.normalization,
            "labels": run.labels,
            "sha256": files.sha256(path),
        }
        files.write_json(f"{path}.json", payload, kind="keras_model", recipe_hash=run.recipe.hash)
