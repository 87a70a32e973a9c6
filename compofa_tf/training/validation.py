"""Top-1 of named subnets at the end of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compofa_tf.accuracy.evaluation import evaluate
from compofa_tf.data import Data
from compofa_tf.nets.subnet import calibrate
from compofa_tf.nets.supernet import Supernet
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.space import Arch

Validate = Callable[[Supernet, Mapping[str, Arch]], Mapping[str, float]]
"""Gets the supernet and named subnets, returns their top-1 (fractions) by the same names."""

_MOST_IMAGES = 2000


def validator(data: Data, recipe: Recipe) -> Validate:
    """Returns a quick check for the end of an epoch: top-1 of named, calibrated subnets on some validation images.

    Batch-norm statistics are those of the recipe's ``accuracy.calibration_images``. Looked at are at most
    ``accuracy.images``, 2,000 if that is all.
    """
    cached: dict[int, tuple[list[Any], list[Any]]] = {}
    settings = recipe.accuracy

    def validate(net: Supernet, archs: Mapping[str, Arch]) -> dict[str, float]:
        found = {}
        for name, arch in archs.items():
            pipelines: dict[str, Any] = {"resolution": arch.resolution, "batch_size": settings.batch_size}
            if arch.resolution not in cached:
                calibration = data.calibration(**pipelines, count=settings.calibration_images)
                shown = data.eval(**pipelines, limit=settings.images or _MOST_IMAGES)
                cached[arch.resolution] = list(calibration), list(shown)
            calibrate(net, arch, cached[arch.resolution][0])
            found[name] = evaluate(net, cached[arch.resolution][1], arch=arch).top1
        return found

    return validate
