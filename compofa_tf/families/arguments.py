"""Checks of the arguments that all families share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from compofa_tf.errors import InputError

PROFILES = ("mobile", "edgetpu")


def check_arguments(
    *,
    width_mult: Any,
    profile: Any,
    classes: Any,
    input_size: Any,
    sizes: Collection[int],
    strides: Sequence[int],
    count: int,
) -> None:
    """Raises ``InputError`` for the first argument that no family takes.

    Args:
      width_mult: Number in (0, 8].
      profile: One of ``PROFILES``.
      classes: Whole number of at least 2.
      input_size: One of ``sizes``.
      sizes: Image sides that the family has strides for.
      strides: ``count`` strides of 1 or 2, those of the stem first.
      count: Stages and the stem.
    """
    if profile not in PROFILES:
        raise InputError(f"profile must be mobile or edgetpu. Received: profile={profile!r}")
    if input_size not in sizes:
        raise InputError(f"input_size must be one of {sorted(sizes)}. Received: input_size={input_size!r}")
    if not isinstance(width_mult, (int, float)) or not 0 < width_mult <= 8:
        raise InputError(f"width_mult must be in (0, 8]. Received: width_mult={width_mult!r}")
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise InputError(f"classes must be a whole number of at least 2. Received: classes={classes!r}")
    if len(strides) != count or any(stride not in (1, 2) for stride in strides):
        raise InputError(
            f"strides needs {count} entries of 1 or 2: the stem, then the stages. Received: strides={strides!r}"
        )
