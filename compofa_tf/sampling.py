"""What each step trains, as pure functions of (seed, step, index): the same on every worker and after a resume.

Built on the counter-based generator Philox (Salmon et al., SC 2011), so any step can be asked for without drawing those
before it. No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compofa_tf.arch import Arch, Expand
from compofa_tf.errors import InputError
from compofa_tf.space import Space

_RESOLUTION_STREAM, _SUBNET_STREAM = 1, 2


def resolutions_at(resolutions: Sequence[int], *, seed: int, steps: int) -> np.ndarray:
    """Returns the input resolution of every step from step 0, drawn uniformly.

    Entry ``i`` depends on ``resolutions``, ``seed`` and ``i`` only: a longer run begins like a shorter one.

    Args:
      resolutions: Sides in pixels to draw from.
      seed: Seed of the run.
      steps: Number of steps.

    Returns:
      int32 ``[steps]``, pixels.
    """
    raw = np.random.Philox(key=[seed, _RESOLUTION_STREAM]).random_raw(steps)
    index = (raw >> np.uint64(32)) * np.uint64(len(resolutions)) >> np.uint64(32)
    return np.asarray(resolutions, np.int32)[index.astype(np.int64)]


def archs_at(
    space: Space,
    *,
    seed: int,
    step: int,
    subnets: int,
    resolution: int,
    depths: Sequence[int] = (),
    expands: Sequence[Expand] = (),
    kernels: Sequence[int] = (),
) -> tuple[Arch, ...]:
    """Returns the members that one step trains.

    Each is drawn as ``Space.sample`` does: uniform over the choices of each stage, hence over all members of a compound
    space with fixed kernels.

    Args:
      space: The family.
      seed: Seed of the run.
      step: Step counted from the beginning of the run.
      subnets: Number of members; those of a smaller number are a prefix.
      resolution: Resolution of the step in pixels.
      depths: Depths that stages may take; empty: all of them.
      expands: Expand ratios that blocks may take; empty: all of them.
      kernels: Kernel sides that blocks may take; empty: all of them.

    Raises:
      InputError: If a limit names what the space does not let vary, see ``check_limits``.
    """
    check_limits(space, depths=depths, expands=expands, kernels=kernels)
    drawn = []
    for index in range(subnets):
        rng = np.random.Generator(np.random.Philox(key=[seed, _SUBNET_STREAM], counter=[0, 0, step, index]))
        drawn.append(space.sample(rng, resolution=resolution, depths=depths, expands=expands, kernels=kernels))
    return tuple(drawn)


def codes_at(space: Space, **choices: Any) -> np.ndarray:
    """Returns ``archs_at``, whose arguments it takes, as codes: int32 ``[subnets, space.code_size]``."""
    return np.stack([space.encode(arch) for arch in archs_at(space, **choices)])


def check_limits(
    space: Space, *, depths: Sequence[int] = (), expands: Sequence[Expand] = (), kernels: Sequence[int] = ()
) -> None:
    """Checks what a phase may sample against the space.

    Every value must be a choice of some stage, and every stage that has a choice must be left with one.

    Raises:
      InputError: Naming the limit that does not fit.
    """
    if expands and space.coupling == "compound":
        raise InputError(
            "In a compound space the depth decides the expand ratio: limit depths instead, and leave expands empty. "
            f"Received: expands={tuple(expands)}"
        )
    if kernels and space.kernel == "fixed":
        raise InputError(f"This space has fixed kernels: leave kernels empty. Received: kernels={tuple(kernels)}")
    for name, values, of_stage in (
        ("depths", depths, [stage.depths for stage in space.stages]),
        ("expands", expands, [stage.expands for stage in space.stages if stage.blocks]),
        ("kernels", kernels, [stage.kernels for stage in space.stages if stage.blocks]),
    ):
        known, given = set().union(*of_stage), set(values)
        bare = [number for number, choice in enumerate(of_stage, 1) if len({*choice}) > 1 and not given & {*choice}]
        if given and (bare or not given <= known):
            which = f", with at least one for stage {bare[0]}" if bare and given <= known else ""
            raise InputError(f"{name} must be some of {tuple(sorted(known))}{which}. Received: {name}={tuple(values)}")
