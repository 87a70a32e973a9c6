"""Training a family into a work directory."""

from __future__ import annotations

from pathlib import Path

from compofa_tf.pipeline.run import Run
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.training.loop import train


def train_family(recipe: Recipe, *, path: Path, checkpoint_minutes: float = 10.0) -> Run:
    """Trains a family, or goes on where an earlier call stopped, and returns the run.

    Args:
      recipe: The setting; of a run that goes on it must be the same.
      path: Work directory; created when absent.
      checkpoint_minutes: A checkpoint is written after so many minutes at the latest.

    Raises:
      InputError: As ``train``; or if another command trains there.
    """
    run = Run(path)
    with run.writing("training"):
        train(recipe, workdir=path, checkpoint_minutes=checkpoint_minutes)
    return run
