"""Short names of subnets, such as ``r192-d23423``: for tables, files and the command line. No TensorFlow.

Depths, widths, kernels and whole expand ratios are written as one digit each, other ratios in percent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from compofa_tf.errors import InputError
from compofa_tf.space.arch import Arch
from compofa_tf.space.layout import Layout


def name_of(layout: Layout, arch: Arch) -> str:
    """Returns the name of a subnet: see ``Space.id``."""
    layout.check(arch)
    name = f"r{arch.resolution}-d{''.join(map(str, arch.depths))}"
    if arch.widths and layout.coupling == "independent":
        name += f"-w{''.join(map(str, arch.widths))}"
    digits = _ratio_digits(layout)
    for letter, values in _free(layout, arch.expands, arch.kernels):
        kept = (
            values[span][: stage.kept_blocks(depth)]
            for stage, span, depth in zip(layout.stages, layout.block_spans, arch.depths)
            if stage.blocks
        )
        write = _percent(digits) if letter == "e" and digits > 1 else "{:g}".format
        name += f"-{letter}" + ".".join("".join(map(write, stage)) for stage in kept)
    return name


def _percent(digits: int) -> Any:
    return lambda ratio: f"{round(100 * ratio):0{digits}d}"


def _ratio_digits(layout: Layout) -> int:
    """Digits of a written expand ratio: 1 where all are whole and below 10, else those of the largest percentage."""
    ratios = [ratio for stage in layout.stages for ratio in stage.expands]
    whole = all(ratio == int(ratio) and ratio < 10 for ratio in ratios)
    return 1 if whole else max(len(str(round(100 * ratio))) for ratio in ratios)


def arch_of(layout: Layout, name: str) -> Arch:
    """Returns the subnet of a name: see ``Space.parse``."""
    text = str(name).strip()
    parts = {part[:1]: part[1:] for part in text.split("-")}
    try:
        free = {letter: _entries(layout, letter, parts[letter]) for letter, _ in _free(layout, (), ())}
        arch = layout.arch(
            depths=[int(digit) for digit in parts["d"]],
            resolution=int(parts["r"]),
            expands=free.get("e"),
            kernels=free.get("k"),
            widths=[int(digit) for digit in parts["w"]] if "w" in parts else None,
        )
    except (KeyError, ValueError) as error:
        example = name_of(layout, layout.smallest(224))
        raise InputError(
            f"No subnet of this space has that name; names look like {example}. Received: {name!r}"
        ) from error
    if name_of(layout, arch) != text:
        raise InputError(
            f"No subnet of this space has that name; did you mean {name_of(layout, arch)}? Received: {name!r}"
        )
    return arch


def _free(layout: Layout, expands: Sequence, kernels: Sequence) -> list[tuple[str, Sequence]]:
    """The letter of what is free per block in this space, and the value that was given for it."""
    free = [("e", expands)] if layout.coupling == "independent" else []
    return [*free, ("k", kernels)] if layout.kernel == "elastic" else free


def _entries(layout: Layout, letter: str, text: str) -> list[Any]:
    """One entry per block of the full-depth network from the digits of the kept ones."""
    digits = _ratio_digits(layout) if letter == "e" else 1
    spans = [span for stage, span in zip(layout.stages, layout.block_spans) if stage.blocks]
    values: list[Any] = []
    for span, written in zip(spans, text.split("."), strict=True):
        numbers = [int(number) for number in re.findall(f".{{{digits}}}", written)]
        kept = [number / 100 for number in numbers] if digits > 1 else numbers
        values += [*kept, *[0] * (span.stop - span.start - len(kept))]
    return values
