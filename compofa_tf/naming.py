"""Short names of subnets, such as ``r192-d23423``: for tables, files and the command line. No TensorFlow.

Depths, expand ratios and kernels are written as one digit each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compofa_tf.arch import Arch
from compofa_tf.errors import InputError

if TYPE_CHECKING:
    from compofa_tf.space import Space


def name_of(space: Space, arch: Arch) -> str:
    """Returns the name of a member: see ``Space.id``."""
    space.check(arch)
    name = f"r{arch.resolution}-d{''.join(map(str, arch.depths))}"
    for letter, values in _free(space, arch.expands, arch.kernels):
        stages = (values[span][:depth] for span, depth in zip(space.block_spans, arch.depths))
        name += f"-{letter}" + ".".join("".join(f"{value:g}" for value in stage) for stage in stages)
    return name


def arch_of(space: Space, name: str) -> Arch:
    """Returns the member of a name: see ``Space.parse``."""
    text = str(name).strip()
    parts = {part[:1]: part[1:] for part in text.split("-")}
    try:
        depths = [int(digit) for digit in parts["d"]]
        free = {letter: _digits(space, parts[letter]) for letter, _ in _free(space, (), ())}
        arch = space.arch(depths=depths, resolution=int(parts["r"]), expands=free.get("e"), kernels=free.get("k"))
    except (KeyError, ValueError) as error:
        example = name_of(space, space.smallest(224))
        raise InputError(
            f"No subnet of this space has that name; names look like {example}. Received: {name!r}"
        ) from error
    if name_of(space, arch) != text:
        raise InputError(
            f"No subnet of this space has that name; did you mean {name_of(space, arch)}? Received: {name!r}"
        )
    return arch


def _free(space: Space, expands: Sequence, kernels: Sequence) -> list[tuple[str, Sequence]]:
    """The letter of what is free per block in this space, and the value that was given for it."""
    free = [("e", expands)] if space.coupling == "independent" else []
    return [*free, ("k", kernels)] if space.kernel == "elastic" else free


def _digits(space: Space, text: str) -> list[int]:
    """One entry per block of the full-depth network from the digits of the kept ones."""
    values: list[int] = []
    for span, digits in zip(space.block_spans, text.split("."), strict=True):
        kept = [int(digit) for digit in digits]
        values += kept + [0] * (span.stop - span.start - len(kept))
    return values
