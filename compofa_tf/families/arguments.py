"""What all families do with their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from compofa_tf.errors import InputError

PROFILES = ("mobile", "edgetpu")


def checked_arguments(
    *,
    by_size: Mapping[int, tuple[int, ...]],
    input_size: Any,
    strides: Sequence[int] | None,
    width_mult: Any,
    profile: Any,
    classes: Any,
    **others: Any,
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Checks the arguments of a family and writes down what rebuilds it.

    Args:
      by_size: The family's strides, those of the stem first, for each side of the images that it is meant for.
      input_size: One of those sides.
      strides: As many strides of 1 or 2 instead of those, or None.
      width_mult: Number in (0, 8].
      profile: One of ``PROFILES``.
      classes: Whole number of at least 2.
      **others: Arguments that ``Space`` or the family checks.

    Returns:
      The strides, and ``Space.arguments``.

    Raises:
      InputError: For the first argument that no family takes.
    """
    if profile not in PROFILES:
        raise InputError(f"profile must be {' or '.join(PROFILES)}. Received: profile={profile!r}")
    if input_size not in by_size:
        raise InputError(f"input_size must be one of {sorted(by_size)}. Received: input_size={input_size!r}")
    if isinstance(width_mult, bool) or not isinstance(width_mult, Real) or not 0 < float(width_mult) <= 8:
        raise InputError(f"width_mult must be in (0, 8]. Received: width_mult={width_mult!r}")
    if isinstance(classes, bool) or not isinstance(classes, Integral) or classes < 2:
        raise InputError(f"classes must be a whole number of at least 2. Received: classes={classes!r}")
    usual = by_size[input_size]
    if strides is not None and not isinstance(strides, Sequence):
        raise InputError(f"strides needs {len(usual)} entries of 1 or 2. Received: strides={strides!r}")
    steps = tuple(strides) if strides else usual
    if len(steps) != len(usual) or any(stride not in (1, 2) for stride in steps):
        raise InputError(
            f"strides needs {len(usual)} entries of 1 or 2: the stem, then the stages. Received: strides={steps!r}"
        )
    arguments = {
        "width_mult": float(width_mult),
        **others,
        "profile": profile,
        "classes": int(classes),
        "input_size": input_size,
    }
    return steps, arguments if steps == usual else {**arguments, "strides": list(steps)}
