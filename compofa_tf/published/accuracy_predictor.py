"""The accuracy predictor that was published with CompOFA: a small network from a subnet to its accuracy. NumPy only."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.published import networks
from compofa_tf.published.networks.network import is_made_for
from compofa_tf.space import Arch, Space
from compofa_tf.space.archs import Archs

KERNELS = (3, 5, 7)
EXPANDS = (3, 4, 6)
_BLOCKS = 20
_INPUTS = 128
_LAYERS = ("0", "2", "4", "6")
_SHAPES = ((400, _INPUTS), (400, 400), (400, 400), (1, 400))
_FIRST_RESOLUTION, _RESOLUTION_STEP, _RESOLUTIONS = 112, 16, 8


class AccuracyPredictor:
    """Predicts the ImageNet top-1 accuracy of subnets of the MobileNetV3 spaces from their choices alone.

    Four dense layers with ReLU between them. The 128 inputs are zeros and ones: for each of 20 blocks which of the
    kernels 3, 5, 7 it has, then for each which of the expand ratios 3, 4, 6 (a dropped block has none), then which of 8
    resolutions, ``(resolution - 112) // 16``: 164, 168 and 172 look like 160. Its authors trained it on subnets of
    the Once-for-All space of width 1.2 (arXiv:1908.09791), so for every other space its numbers are an extrapolation.

    Args:
      space: A ``mobilenet_v3`` space as published: width 1.0 or 1.2, profile mobile, its own strides, 1000 classes.
      weights: Arrays by published name: ``0.weight`` float ``[400, 128]``, ``0.bias`` and so on.

    Raises:
      InputError: If the space is of another shape, or a weight is missing, misshapen or not finite.
    """

    def __init__(self, space: Space, weights: Mapping[str, np.ndarray]) -> None:
        _check_made_for(space)
        self.space = space
        self._layers = []
        for name, shape in zip(_LAYERS, _SHAPES):
            weight, bias = (_checked(weights, f"{name}.{part}") for part in ("weight", "bias"))
            if weight.shape != shape or bias.shape != shape[:1]:
                raise InputError(
                    f"Layer {name} of an accuracy predictor has the shapes {shape} and {shape[:1]}. "
                    f"Received: {weight.shape} and {bias.shape}"
                )
            self._layers.append((np.ascontiguousarray(weight.T), bias))

    @classmethod
    def published(cls, space: Space) -> AccuracyPredictor:
        """Returns the authors' predictor, which ships with this package (Apache-2.0, CompOFA repository)."""
        with importlib.resources.as_file(
            importlib.resources.files("compofa_tf.published") / "accuracy_predictor.npz"
        ) as path:
            return cls.load(path, space=space)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, space: Space) -> AccuracyPredictor:
        """Reads weights from an ``.npz`` of plain arrays; raises ``InputError`` naming the file if it holds others."""
        return cls(space, files.read_arrays(path))

    def encode(self, archs: Archs) -> np.ndarray:
        """Returns the 128 inputs of subnets: float32 ``[count, 128]``."""
        count = len(archs)
        rows = np.zeros((count, _INPUTS), np.float32)
        for values, options, start in (
            (archs.kernels, KERNELS, 0),
            (archs.expands, EXPANDS, len(KERNELS) * _BLOCKS),
        ):
            for position, option in enumerate(options):
                rows[:, start + position : start + len(options) * _BLOCKS : len(options)] = values == option
        steps = (archs.resolutions - _FIRST_RESOLUTION) // _RESOLUTION_STEP
        if count and not (steps.min() >= 0 and steps.max() < _RESOLUTIONS):
            raise InputError(
                f"The accuracy predictor knows resolutions from {_FIRST_RESOLUTION} to "
                f"{_FIRST_RESOLUTION + _RESOLUTIONS * _RESOLUTION_STEP - 1} px. "
                f"Received: {sorted(set(archs.resolutions.tolist()))}"
            )
        rows[np.arange(count), _INPUTS - _RESOLUTIONS + steps] = 1
        return rows

    def predict_all(self, archs: Archs) -> np.ndarray:
        """Returns predicted top-1 accuracies in [0, 1]: float32 ``[count]``."""
        rows = self.encode(archs)
        # Several resolutions look alike to it, so that a space at many of them has far fewer different inputs.
        bits = np.packbits(rows.astype(bool), axis=1).view("V16")[:, 0]
        _, first, inverse = np.unique(bits, return_index=True, return_inverse=True)
        x = rows[first]
        *hidden, last = self._layers
        for weight, bias in hidden:
            x = x @ weight
            x += bias
            np.maximum(x, 0, out=x)
        return (x @ last[0] + last[1])[inverse, 0]

    def predict(self, arch: Arch) -> float:
        """Returns the predicted top-1 accuracy of a subnet, in [0, 1]; ``InputError`` for one of another space."""
        return float(self.predict_all(Archs.of(self.space, [arch]))[0])

    def to_json(self) -> dict[str, Any]:
        """What a front says about where its accuracies come from."""
        return {
            "predictor": "published accuracy predictor of CompOFA (MLP, ImageNet top-1)",
            "caveat": "trained on subnets of the Once-for-All space of width 1.2; other spaces are an extrapolation",
        }


def _check_made_for(space: Space) -> None:
    known = {network.family: network.predictor_made_for for network in networks.known()}
    made_for = known.get(space.family)
    four_each = all(span.stop - span.start == 4 for span in space.block_spans)
    if made_for is None or space.block_spans[-1].stop != _BLOCKS or not four_each:
        predicted = " or ".join(family for family, spaces in known.items() if spaces is not None)
        raise InputError(f"The accuracy predictor is for the {predicted} family only. Received: space={space!r}")
    if not is_made_for(space, made_for):
        raise InputError(
            "The accuracy predictor is for ImageNet's 1000 classes, width_mult 1.0 or 1.2, profile mobile and the "
            f"published strides; measure accuracies of other spaces. Received: space={space!r}"
        )


def _checked(weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in weights:
        raise InputError(f"An accuracy predictor has a {name}. Received: {', '.join(sorted(weights)) or 'nothing'}")
    value = np.asarray(weights[name])
    if value.dtype.kind != "f" or not np.isfinite(value).all():
        raise InputError(f"Weights of an accuracy predictor are finite numbers. Received: {name} holds others")
    return value.astype(np.float32)
