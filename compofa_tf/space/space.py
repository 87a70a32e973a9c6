"""The space of subnets: what can be sampled, enumerated, encoded, named and built. No TensorFlow.

A family (``compofa_tf.families``) writes down widths, strides and choices once, as a ``Space``. The supernet, the plain
subnet, costs, latency tables and checkpoints all read it from here. Method: CompOFA, arXiv:2104.12642, section 3.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compofa_tf.space import names, printing, sampling
from compofa_tf.space.arch import Arch, Expand
from compofa_tf.space.codes import Codes
from compofa_tf.space.layout import Layout
from compofa_tf.space.pieces import Piece, pieces_are_blocks, pieces_of
from compofa_tf.space.stages import Slot


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Space(Layout):
    """All subnets that share weights: a layout that a family wrote down.

    Attributes:
      family: Name under which ``compofa_tf.families.get`` finds the family.
      arguments: The keyword arguments that made it.
      profile: ``"mobile"`` or ``"edgetpu"``.
      classes: Number of classes.
      epsilon: Batch-norm epsilon.
    """

    family: str
    arguments: dict[str, Any]
    profile: str
    classes: int
    epsilon: float = 1e-5

    def __eq__(self, other: object) -> bool:
        """Spaces are equal when their descriptions are."""
        return isinstance(other, Space) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self.fingerprint)

    def __len__(self) -> int:
        """``size`` where it fits; Python raises ``OverflowError`` for larger spaces."""
        return self.size

    def __bool__(self) -> bool:
        """Always true, also where ``len`` cannot say how many there are."""
        return True

    def __repr__(self) -> str:
        """Names the family, its arguments and its size."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"<Space {self.family}({arguments}): {self.size} subnets>"

    def __str__(self) -> str:
        """The family as a table: a row per stage, with what may be chosen."""
        head = f"{self.family}: {self.size:,} subnets, profile {self.profile}, {self.classes:,} classes"
        return f"{head}\n{printing.choices_of(self)}\n{printing.table_of(self)}"

    def to_json(self) -> dict[str, Any]:
        """Returns what rebuilds the space (``families.from_json``): the name of the family and its arguments."""
        return {"family": self.family, "settings": dict(self.arguments)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ when the description differs."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @functools.cached_property
    def codes(self) -> Codes:
        """Slots, and codes of subnets."""
        return Codes(self)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot of the network in execution order."""
        return self.codes.slots

    @property
    def stage_slots(self) -> tuple[Slot, ...]:
        """The slots of the stages, those of the full-depth network, stage-major."""
        return self.codes.stage_slots

    @property
    def elastic_slots(self) -> tuple[Slot, ...]:
        """The slots with more than one option: the entries of a code, before its resolution."""
        return self.codes.elastic_slots

    @property
    def code_size(self) -> int:
        """Entries of a code: one per elastic slot, then the resolution."""
        return self.codes.size

    def encode(self, arch: Arch) -> np.ndarray:
        """Returns the code of a subnet.

        Returns:
          int32 ``[code_size]``: the option of each elastic slot, then the resolution in pixels.
        """
        return self.codes.encode(arch)

    def decode(self, code: Sequence[int] | np.ndarray) -> Arch:
        """Inverse of ``encode``; raises ``InputError`` for a code of no subnet."""
        return self.codes.decode(code)

    def id(self, arch: Arch) -> str:
        """Returns a short readable name, for example ``"r192-d23423"``; ``parse`` reads it back.

        ``r`` is the resolution, ``d`` the depths; spaces with free expand ratios or kernels add ``-e`` and ``-k`` with
        the kept blocks of each stage, stages separated by dots.
        """
        return names.name_of(self, arch)

    def parse(self, name: str) -> Arch:
        """Returns the subnet that ``id`` gave this name; raises ``InputError`` if there is none."""
        return names.arch_of(self, name)

    def sample(
        self,
        rng: np.random.Generator,
        *,
        resolution: int | None = None,
        resolutions: Sequence[int] | None = None,
        depths: Sequence[int] = (),
        expands: Sequence[Expand] = (),
        kernels: Sequence[int] = (),
    ) -> Arch:
        """Draws a subnet; see ``sampling.draw``.

        Args:
          rng: Source of randomness; the result is a pure function of its state.
          resolution: Side of the input in pixels.
          resolutions: Resolutions to draw from uniformly; without any, that of the images that the space is meant for.
          depths: Depths to draw from; empty: all. Where a stage has no choice, or none of these, they do not apply.
          expands: Expand ratios to draw from, likewise, for what is free per block.
          kernels: Kernel sides to draw from, likewise.
        """
        if resolution is None:
            choices = resolutions or (int(self.arguments.get("input_size", 224)),)
            resolution = int(choices[int(rng.integers(len(choices)))])
        return sampling.draw(self, rng, resolution=resolution, depths=depths, expands=expands, kernels=kernels)

    def enumerate(self, *, resolutions: Sequence[int]) -> Iterator[Arch]:
        """Yields every subnet at every resolution, lazily, in a fixed order.

        Resolutions are the outermost loop, in the order given. Then lexicographic: the first stage is slowest; a stage
        runs through its choices in the order of ``stage_choices``.
        """
        return sampling.every(self, resolutions=resolutions)

    @property
    def pieces_are_blocks(self) -> bool:
        """Whether a latency table measures single blocks, because stages have too many forms, or else whole stages."""
        return pieces_are_blocks(self)

    def pieces(self, arch: Arch) -> tuple[Piece, ...]:
        """Returns what a latency table measures of a subnet: stem, stages (blocks in large spaces), head."""
        return pieces_of(self, arch)
