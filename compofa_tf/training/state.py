"""What a checkpoint holds, as one value, and the losses that it is made of. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compofa_tf.errors import InputError

NO_LOSSES = np.zeros([0, 0], np.float32)
"""Losses of an epoch that has not begun."""


@dataclass(frozen=True, eq=False)
class TrainState:
    """Everything that decides how a run continues. Sampling needs no state: it is a function of seed and step.

    Attributes:
      step: Steps done, counted over all phases.
      weights: Every variable of the network in training by stable name.
      velocities: Momentum of every trainable variable, by the same names.
      losses: Losses of the steps done in the current epoch, float32 ``[steps, subnets]``.
    """

    step: int
    weights: dict[str, np.ndarray]
    velocities: dict[str, np.ndarray]
    losses: np.ndarray

    def check(self, *, phase: str) -> TrainState:
        """Returns the state; raises ``InputError`` that names a variable that is not finite."""
        for name, array in [*self.weights.items(), *self.velocities.items()]:
            if not np.isfinite(array).all():
                raise _diverged("update", phase, self.step - 1, f"variable={name}")
        return self


class EpochLosses:
    """Losses of the steps of one epoch; looking at them waits for the device, so that is done for several at once.

    Args:
      first_step: Step of the first entry.
      done: Losses of the steps that were done before, ``[steps, subnets]``.
    """

    def __init__(self, first_step: int, done: np.ndarray | None = None) -> None:
        self.first_step = first_step
        self._known: list[Any] = [] if done is None else list(done)
        self._pending: list[Any] = []

    @classmethod
    def of(cls, state: TrainState) -> EpochLosses:
        """Returns those of an epoch that goes on from a state."""
        return cls(state.step - len(state.losses), state.losses)

    def add(self, losses: Any) -> None:
        """Adds the losses of the next step, a tensor ``[subnets]``."""
        self._pending.append(losses)

    def settle(self, phase: str) -> np.ndarray:
        """Returns all losses, float32 ``[steps, subnets]``; ``InputError`` names the first step that is not finite."""
        for losses in self._pending:
            values = np.asarray(losses)
            if not np.isfinite(values).all():
                raise _diverged("loss", phase, self.first_step + len(self._known), f"loss={values.tolist()}")
            self._known.append(values)
        self._pending.clear()
        return np.stack(self._known) if self._known else NO_LOSSES


def _diverged(what: str, phase: str, step: int, received: str) -> InputError:
    return InputError(
        f"The {what} of step {step} in phase {phase} is not finite: training diverged. Try a lower "
        f"{phase}.learning_rate or a longer {phase}.warmup_epochs in another --workdir. Received: {received}"
    )
