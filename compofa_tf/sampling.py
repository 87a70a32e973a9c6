"""What each step trains, as pure functions of (seed, step, index): the same on every worker and after a resume.

Built on the counter-based generator Philox (Salmon et al., SC 2011), so any step can be asked for without drawing those
before it. No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compofa_tf.arch import Arch
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
    space: Space, *, seed: int, step: int, subnets: int, resolution: int, depths: Sequence[int] = ()
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

    Raises:
      InputError: If a stage has none of the allowed depths.
    """
    return tuple(_draw(space, (seed, step, index), resolution, depths) for index in range(subnets))


def codes_at(
    space: Space, *, seed: int, step: int, subnets: int, resolution: int, depths: Sequence[int] = ()
) -> np.ndarray:
    """Returns ``archs_at`` as codes: int32 ``[subnets, space.code_size]``."""
    archs = archs_at(space, seed=seed, step=step, subnets=subnets, resolution=resolution, depths=depths)
    return np.stack([space.encode(arch) for arch in archs])


def _draw(space: Space, place: tuple[int, int, int], resolution: int, depths: Sequence[int]) -> Arch:
    seed, step, index = place
    rng = np.random.Generator(np.random.Philox(key=[seed, _SUBNET_STREAM], counter=[0, 0, step, index]))
    if not depths:
        return space.sample(rng, resolution=resolution)
    known = space.stages[0].depths
    if not set(depths) <= set(known):
        raise InputError(f"depths must be some of {known}. Received: depths={tuple(depths)}")
    return space.sample(rng, resolution=resolution, depth_weights=[float(depth in depths) for depth in known])
