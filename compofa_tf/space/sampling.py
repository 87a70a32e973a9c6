"""Drawing and enumerating subnets; what each step trains, as pure functions of (seed, step, index). No TensorFlow.

The same is drawn on every worker and after a resume. Built on the counter-based generator Philox (Salmon et al., SC
2011), so any step can be asked for without drawing those before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.space.arch import Arch, Expand, StageChoice
from compofa_tf.space.codes import Codes
from compofa_tf.space.layout import Layout
from compofa_tf.space.stages import Stage

_RESOLUTION_STREAM, _SUBNET_STREAM = 1, 2


def draw(
    layout: Layout,
    rng: np.random.Generator,
    *,
    resolution: int,
    depths: Sequence[int] = (),
    expands: Sequence[Expand] = (),
    kernels: Sequence[int] = (),
) -> Arch:
    """Draws a subnet as the papers do: a depth per stage, then what is free per block, each independently.

    In a compound space with fixed kernels that is uniform over all subnets, in the others over the *choices*.

    Args:
      layout: What may be chosen.
      rng: Source of randomness; the result is a pure function of its state.
      resolution: Side of the input in pixels.
      depths: Depths to draw from; empty: all. Where a stage has no choice, or none of these, they do not apply.
      expands: Expand ratios to draw from, likewise, for what is free per block.
      kernels: Kernel sides to draw from, likewise.
    """
    limits = (depths, expands, kernels)
    return layout.check(Arch.of([_drawn(layout, stage, rng, *limits) for stage in layout.stages], resolution))


def _drawn(
    layout: Layout,
    stage: Stage,
    rng: np.random.Generator,
    depths: Sequence[int],
    expands: Sequence[Expand],
    kernels: Sequence[int],
) -> StageChoice:
    open_depths = _limited(stage.depths, depths)
    depth = open_depths[int(rng.integers(len(open_depths)))]
    may = [_limited(*pair) for pair in zip(layout.allowed(stage, depth), (expands, kernels))]
    blocks = [(_draw_one(rng, may[0]), _draw_one(rng, may[1])) for _ in range(stage.blocks)]
    widths = tuple(_draw_one(rng, values) for values in layout.allowed_widths(stage, depth))
    kept = blocks[: stage.kept_blocks(depth)]  # all were drawn, so that what follows does not hang on the depth
    return StageChoice.of(depth, kept, count=stage.blocks, widths=widths)


def _limited(values: tuple[Any, ...], allowed: Sequence[Any]) -> tuple[Any, ...]:
    """The values that are allowed, in their order; all of them where that leaves none."""
    return tuple(value for value in values if value in allowed) or values


def _draw_one(rng: np.random.Generator, allowed: tuple[Any, ...]) -> Any:
    return allowed[int(rng.integers(len(allowed))) if len(allowed) > 1 else 0]


def every(layout: Layout, *, resolutions: Sequence[int]) -> Iterator[Arch]:
    """Yields every subnet at every resolution; see ``Space.enumerate``."""
    for resolution in resolutions:
        checked = layout.smallest(resolution).resolution
        for choices in itertools.product(*layout.stage_choices()):
            yield Arch.of(choices, checked)


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
    layout: Layout,
    *,
    seed: int,
    step: int,
    subnets: int,
    resolution: int,
    depths: Sequence[int] = (),
    expands: Sequence[Expand] = (),
    kernels: Sequence[int] = (),
) -> tuple[Arch, ...]:
    """Returns the subnets that one step trains, each drawn as ``draw`` does.

    Args:
      layout: What may be chosen.
      seed: Seed of the run.
      step: Step counted from the beginning of the run.
      subnets: Number of subnets; those of a smaller number are a prefix.
      resolution: Resolution of the step in pixels.
      depths: Depths that stages may take; empty: all of them.
      expands: Expand ratios that blocks may take; empty: all of them.
      kernels: Kernel sides that blocks may take; empty: all of them.

    Raises:
      InputError: If a limit names what the space does not let vary, see ``check_limits``.
    """
    check_limits(layout, depths=depths, expands=expands, kernels=kernels)
    drawn = []
    for index in range(subnets):
        rng = np.random.Generator(np.random.Philox(key=[seed, _SUBNET_STREAM], counter=[0, 0, step, index]))
        drawn.append(draw(layout, rng, resolution=resolution, depths=depths, expands=expands, kernels=kernels))
    return tuple(drawn)


def codes_at(codes: Codes, **choices: Any) -> np.ndarray:
    """Returns the subnets that one step trains as codes.

    Args:
      codes: ``Space.codes``.
      **choices: All arguments of ``archs_at`` but the first.

    Returns:
      int32 ``[subnets, codes.size]``.
    """
    return np.stack([codes.encode(arch) for arch in archs_at(codes.layout, **choices)])


def check_limits(
    layout: Layout, *, depths: Sequence[int] = (), expands: Sequence[Expand] = (), kernels: Sequence[int] = ()
) -> None:
    """Checks what a phase may sample against the space.

    Every value must be a choice of some stage, and every stage that has a choice must be left with one.

    Raises:
      InputError: Naming the limit that does not fit.
    """
    if expands and layout.coupling == "compound":
        raise InputError(
            "In a compound space the depth decides the expand ratio: limit depths instead, and leave expands empty. "
            f"Received: expands={tuple(expands)}"
        )
    if kernels and layout.kernel == "fixed":
        raise InputError(f"This space has fixed kernels: leave kernels empty. Received: kernels={tuple(kernels)}")
    for name, values, of_stage in (
        ("depths", depths, [stage.depths for stage in layout.stages]),
        ("expands", expands, [stage.expands for stage in layout.stages if stage.blocks]),
        ("kernels", kernels, [stage.kernels for stage in layout.stages if stage.blocks]),
    ):
        known, given = set().union(*of_stage), set(values)
        bare = [number for number, choice in enumerate(of_stage, 1) if len({*choice}) > 1 and not given & {*choice}]
        if given and (bare or not given <= known):
            which = f", with at least one for stage {bare[0]}" if bare and given <= known else ""
            raise InputError(f"{name} must be some of {tuple(sorted(known))}{which}. Received: {name}={tuple(values)}")
