"""How pixels become network inputs: stated once, and carried by every exported model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compofa_tf.errors import InputError

_NAMED = {
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Normalization:
    """``(pixel / 255 - mean) / std`` per channel, red, green, blue.

    Attributes:
      mean: Subtracted from pixel / 255, one value per channel.
      std: Divides the difference, one positive value per channel.
      name: ``"symmetric"`` (inputs in [-1, 1]), ``"imagenet"`` (the statistics that the published PyTorch nets were
        trained with) or any other word for own values.

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
        """Returns ``"symmetric"`` or ``"imagenet"``.

        Raises:
          InputError: If the name is neither.
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

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable description."""
        return {"name": self.name, "mean": list(self.mean), "std": list(self.std)}
