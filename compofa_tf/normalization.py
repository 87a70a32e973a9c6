"""How pixels become network inputs: stated once, and carried by every exported model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compofa_tf.errors import InputError

_NAMED: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "pixels": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    "centered": ((128 / 255, 128 / 255, 128 / 255), (128 / 255, 128 / 255, 128 / 255)),
}


@dataclass(frozen=True)
class Normalization:
    """``(pixel / 255 - mean) / std`` per channel, red, green, blue.

    Attributes:
      mean: Subtracted from pixel / 255, one value per channel.
      std: Divides the difference, one positive value per channel.
      name: ``"symmetric"`` (inputs in [-1, 1]), ``"imagenet"`` (the statistics that the published PyTorch nets were
        trained with), ``"pixels"`` (left as they are), ``"centered"`` ((pixel - 128) / 128, which 256 steps of an
        integer hold exactly) or any other word for own values.

    Raises:
      InputError: If ``mean`` or ``std`` are not three usable numbers.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str = "custom"

    def __post_init__(self) -> None:
        """Rejects what cannot be divided by."""
        for field, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise InputError(f"A normalization needs three finite numbers. Received: {field}={values}")
        if min(self.std) <= 0:
            raise InputError(f"A normalization divides by std, which must be positive. Received: std={self.std}")

    @classmethod
    def named(cls, name: str) -> Normalization:
        """Returns one of ``"symmetric"``, ``"imagenet"``, ``"pixels"`` and ``"centered"``.

        Raises:
          InputError: If the name is none of them.
        """
        if name not in _NAMED:
            raise InputError(f"A normalization is one of {', '.join(_NAMED)}. Received: normalization={name!r}")
        return cls(*_NAMED[name], name=name)

    def apply(self, images: Any) -> Any:
        """Normalises images.

        Args:
          images: NumPy array or TensorFlow float tensor ``[..., 3]`` of pixels in [0, 255].

        Returns:
          The same kind of array, float32, same shape.
        """
        scale = np.asarray([1 / (255 * std) for std in self.std], np.float32)
        offset = np.asarray([-mean / std for mean, std in zip(self.mean, self.std)], np.float32)
        if isinstance(images, np.ndarray):
            images = images.astype(np.float32)
        return images * scale + offset

    @property
    def uniform(self) -> bool:
        """Whether all channels are normalised alike; MediaPipe knows nothing else."""
        return len(set(self.mean)) == len(set(self.std)) == 1

    def terms(self, to: Normalization) -> tuple[np.ndarray, np.ndarray]:
        """Returns by what values that were normalised so are multiplied, and what is added, to be normalised otherwise.

        Args:
          to: The other normalisation.

        Returns:
          Two float32 ``[3]``.
        """
        own_mean, own_std = np.asarray(self.mean), np.asarray(self.std)
        scale, offset = own_std / to.std, (own_mean - to.mean) / to.std
        return scale.astype(np.float32), offset.astype(np.float32)

    def change(self, images: np.ndarray, *, to: Normalization) -> np.ndarray:
        """Returns images that were normalised so, ``[..., 3]``, as they would be by another normalisation."""
        if to == self:
            return images
        scale, offset = self.terms(to)
        return images * scale + offset

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable description."""
        return {"name": self.name, "mean": list(self.mean), "std": list(self.std)}
