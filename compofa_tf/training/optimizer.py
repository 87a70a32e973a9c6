"""SGD with Nesterov momentum, as the published training has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from compofa_tf.nets.supernet import Supernet
from compofa_tf.recipes.settings import OptimizerSettings


class Nesterov:
    """SGD with Nesterov momentum in the form of PyTorch, weight decay on kernels only.

    ``g += weight_decay * w`` for kernels, ``v = momentum * v + g``, ``w -= learning_rate * (g + momentum * v)``. The
    published training uses this form. ``keras.optimizers.SGD`` keeps the learning rate inside the velocity instead,
    which agrees only while the rate is constant; this one is also a single fused operation per variable.

    A kernel that no subnet of the step uses has gradient 0; it still decays and keeps moving with its velocity. In the
    published code its gradient is absent and it stays as it is; see ``docs/fidelity.md``.

    Args:
      net: The supernet whose trainable variables are updated.
      settings: Momentum and weight decay.
    """

    def __init__(self, net: Supernet, settings: OptimizerSettings) -> None:
        trainable = {name: v for name, v in net.variables_by_name.items() if v.trainable}
        decayed = {id(variable) for variable in net.kernel_variables}
        self.variables: list[tf.Variable] = [variable.value for variable in trainable.values()]
        self.velocities: dict[str, tf.Variable] = {
            name: tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False, name=f"{name}/velocity")
            for name, v in trainable.items()
        }
        self._decay = [settings.weight_decay if id(v) in decayed else 0.0 for v in trainable.values()]
        self._momentum = settings.momentum

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Updates the variables; runs in a replica, whose gradients are first summed with those of the others."""
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
        context.merge_call(self._update, args=(list(gradients), learning_rate))

    def _update(self, strategy: tf.distribute.Strategy, gradients: list[Any], learning_rate: Any) -> None:
        for variable, velocity, gradient, decay in zip(
            self.variables, self.velocities.values(), gradients, self._decay, strict=True
        ):
            strategy.extended.update(variable, self._move, args=(velocity, gradient, learning_rate, decay))

    def _move(
        self, variable: tf.Variable, velocity: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor, decay: float
    ) -> None:
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=velocity.handle,
            lr=rate,
            grad=gradient + decay * variable if decay else gradient,
            momentum=self._momentum,
            use_nesterov=True,
        )
