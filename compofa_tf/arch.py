"""An architecture is a value: one member of a family. No TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from compofa_tf.errors import InputError

Expand = float
"""Ratio of middle to input channels of a block; a whole number in the MobileNet families."""


@dataclass(frozen=True, order=True)
class Arch:
    """One member of a family: a value, hashable and comparable.

    Made by ``Space.arch``, which checks it. ``expands`` and ``kernels`` have one entry per block of the full-depth
    network, stage-major; entries of blocks that the depths drop are 0, so equal networks are equal values.

    Attributes:
      depths: Blocks kept in each stage; in the ResNet family those beyond the fixed ones.
      expands: Expand ratio per block.
      kernels: Side of the depthwise kernel per block.
      resolution: Side of the square input in pixels.
      widths: Which of the family's widths each width choice takes, 0 the narrowest; empty where widths are fixed.
    """

    depths: tuple[int, ...]
    expands: tuple[Expand, ...]
    kernels: tuple[int, ...]
    resolution: int
    widths: tuple[int, ...] = ()

    def at(self, resolution: int) -> Arch:
        """Returns the same subnet at another input resolution."""
        return replace(self, resolution=resolution)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON-serialisable mapping."""
        return {
            "depths": list(self.depths),
            "expands": list(self.expands),
            "kernels": list(self.kernels),
            "resolution": self.resolution,
            **({"widths": list(self.widths)} if self.widths else {}),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Arch:
        """Inverse of ``to_json``; whether a space has the result is for ``Space`` to say."""
        found = content if isinstance(content, dict) else {}
        lists: list[Any] = [found.get(key) for key in ("depths", "expands", "kernels")]
        lists.append(found.get("widths", []))
        if not all(isinstance(entries, (list, tuple)) and all(map(_is_number, entries)) for entries in lists):
            raise InputError(f"Not an architecture: depths, expands, kernels, resolution. Received: {content!r}")
        depths, expands, kernels, widths = (tuple(entries) for entries in lists)
        return cls(depths, expands, kernels, found.get("resolution", 0), widths)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))
