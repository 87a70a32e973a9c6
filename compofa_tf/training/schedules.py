"""Learning-rate schedules as pure functions of the step. No TensorFlow."""

from __future__ import annotations

import math

IMAGES_PER_RATE = 2048
"""Learning rates of recipes are for this many images per step (Goyal et al., arXiv:1706.02677, section 2.1)."""


def cosine(step: int, *, total_steps: int, peak: float, warmup_steps: int = 0) -> float:
    """Returns the learning rate of one step: linear warm-up, then half a cosine towards 0.

    During warm-up the rate is ``peak * (step + 1) / warmup_steps``. Afterwards it is
    ``peak / 2 * (1 + cos(pi * t))`` with ``t = (step - warmup_steps) / (total_steps - warmup_steps)``: exactly ``peak``
    on the first step and just above 0 on the last one. Source: SGDR, arXiv:1608.03983, equation 5, without restarts.

    Args:
      step: Step of the phase, from 0 to ``total_steps - 1``.
      total_steps: Steps of the phase, warm-up included.
      peak: Largest learning rate.
      warmup_steps: Steps of warm-up, from 0 to ``total_steps``.

    Raises:
      ValueError: If the step is outside the phase.
    """
    if not 0 <= step < total_steps or not 0 <= warmup_steps <= total_steps:
        raise ValueError(
            "step must be below total_steps, and warmup_steps not above it. "
            f"Received: step={step}, total_steps={total_steps}, warmup_steps={warmup_steps}"
        )
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return 0.5 * peak * (1.0 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))


def scaled(learning_rate: float, *, batch_size: int) -> float:
    """Returns a recipe's learning rate, which is for 2048 images per step, for a global batch of ``batch_size``."""
    return learning_rate * batch_size / IMAGES_PER_RATE
