"""What is said about the published files of one network: the form of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compofa_tf.errors import InputError
from compofa_tf.space import Space
from compofa_tf.space.units import Unit

_GRID = tuple(round(0.05 * step, 2) for step in range(1, 81))
_PUBLISHED = (1.0, 1.2, 1.3)

WIDTH_MULTS = (*_PUBLISHED, *(width for width in _GRID if width not in _PUBLISHED))
"""Width multipliers that a checkpoint may have: 0.05 to 4, the published ones first."""


@dataclass(frozen=True)
class CheckpointNames:
    """How PyTorch checkpoints of a network name and number their tensors, and what can be told from them.

    ``{}`` in a name is a number: the items of a list (``blocks.0``, ``blocks.1``, ...) are counted as they follow one
    another in the network, in extracted subnets those that were kept.

    Attributes:
      mark: What a key begins with in every checkpoint of the network.
      unmarked: What none begins with, where another network has the same mark; empty if there is no such.
      units: How the keys of a unit that is no block begin, by its name.
      blocks: How the keys of the blocks begin: of all units that ``units`` does not name.
      parts: How the keys of a part of a block go on, by its name.
      stem: The unit whose channels are those after the stem.
      classifier: The unit whose channels are the classes.
      writes: The part whose channels are those after a block.
      told: ``(part, axis)`` pairs: the sizes, of weights ``[out, in, height, width]``, that tell one form of a block
        from another.
      tried: Arguments of the family that a checkpoint may be of, the most usual first.
      larger: Changes of these for the larger spaces that an extracted subnet may be of.
      kernels_may_be_fixed: Whether supernets were published with fixed kernels, too: matrices may then be dropped.
    """

    mark: str
    units: Mapping[str, str]
    blocks: str
    parts: Mapping[str, str]
    stem: str
    writes: str
    told: tuple[tuple[str, int], ...]
    tried: tuple[Mapping[str, Any], ...]
    larger: tuple[Mapping[str, Any], ...] = ()
    classifier: str = "classifier"
    unmarked: str = ""
    kernels_may_be_fixed: bool = False

    def pattern(self, unit: Unit, part: str) -> str:
        """Returns how the keys of a part begin; raises ``InputError`` if the table does not say it."""
        if unit.name in self.units:
            return self.units[unit.name]
        if part not in self.parts:
            raise InputError(
                "The published names of this family say nothing about a unit of its space; add it to their table. "
                f"Received: unit={unit.name}, part={part}"
            )
        return f"{self.blocks}.{self.parts[part]}"

    def told_by(self, unit: Unit) -> tuple[tuple[str, int], ...]:
        """Returns the sizes that tell one form of a unit from another: of units that are no blocks what they write."""
        if unit.name in self.units or not unit.parts:
            return tuple((part.name, 0) for part in unit.parts)
        return self.told


@dataclass(frozen=True)
class LookupRows:
    """How the rows of published latency tables are named, and which networks they describe.

    Attributes:
      width_mult: Width of the networks whose operations they hold.
      units: First word of the row of a unit that is no block, by its name.
      blocks: First word of the rows of blocks.
      made_for: Arguments of the spaces that they are for, the usual value first.
    """

    width_mult: float
    units: Mapping[str, str]
    blocks: str
    made_for: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedNetwork:
    """All that is said about the published files of one family.

    Attributes:
      family: Its name in ``compofa_tf.families``.
      checkpoints: Names in its PyTorch checkpoints.
      lookup: Names in its latency tables, if there are any.
      predictor_made_for: Arguments of the spaces that its accuracy predictor knows, the usual value first; None if
        there is no predictor.
    """

    family: str
    checkpoints: CheckpointNames
    lookup: LookupRows | None = None
    predictor_made_for: Mapping[str, tuple[Any, ...]] | None = None


def is_made_for(space: Space, made_for: Mapping[str, tuple[Any, ...]]) -> bool:
    """Returns whether the arguments of a space are among those that something was made for; absent ones are usual."""
    return all(space.arguments.get(name, known[0]) in known for name, known in made_for.items())
