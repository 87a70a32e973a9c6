"""The training step: teacher, several subnets in a loop inside one graph, summed gradients, one Nesterov update."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from compofa_tf.nets.supernet import Supernet
from compofa_tf.space import Arch
from compofa_tf.training import losses
from compofa_tf.training.optimizer import Nesterov
from compofa_tf.training.threads import subnets_side_by_side

_ANY_RESOLUTION = 224
"""An arch has one; where a network runs, that of the images counts."""


class TrainingStep:
    """One optimizer step on one batch, compiled once for all subnets and image sizes.

    >>> step = TrainingStep(net, Nesterov(net, settings), teacher=teacher)
    >>> losses = step(images, labels, codes, learning_rate, kd_ratio)

    Call arguments:
      images: float32 ``[batch, height, width, 3]``, normalised. Inside a strategy: the replica's share of the batch.
      labels: int32 ``[batch]``.
      codes: int32 ``[subnets, code_size]``; ignored when ``arch`` is given.
      learning_rate: float32 scalar, already scaled to the batch size.
      kd_ratio: float32 scalar, above 0; ignored without a teacher.
      seed: int64 ``[2]``, for example the seed of the run and the step; decides what is dropped out.

    Returns the loss of each subnet, float32 ``[subnets]``, averaged over the global batch.

    Args:
      net: The supernet that is trained.
      optimizer: Its optimizer.
      teacher: Holds the teacher's weights; its largest subnet gives the soft labels, with batch statistics as in the
        published training. Without one the loss is the smoothed cross-entropy.
      arch: Trains this one subnet with a static graph, which compiles faster, instead of the coded ones.
      label_smoothing: Share of the label spread over all classes.
      dropout: Share of the classifier's inputs that are 0 in each image, drawn anew for each subnet; the others grow by
        what is lost. The teacher that gives soft labels has none.
    """

    def __init__(
        self,
        net: Supernet,
        optimizer: Nesterov,
        *,
        teacher: Supernet | None = None,
        arch: Arch | None = None,
        label_smoothing: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        self.net, self.optimizer, self.teacher, self.arch = net, optimizer, teacher, arch
        self.label_smoothing, self.dropout = label_smoothing, dropout
        self._teacher_arch = None if teacher is None else teacher.space.largest(_ANY_RESOLUTION)
        self._trace_count = 0
        scalar = tf.TensorSpec([], tf.float32)
        self._compiled = tf.function(
            self._distributed,
            input_signature=(
                tf.TensorSpec([None, None, None, 3], tf.float32, "images"),
                tf.TensorSpec([None], tf.int32, "labels"),
                tf.TensorSpec([None, net.space.code_size], tf.int32, "codes"),
                scalar,
                scalar,
                tf.TensorSpec([2], tf.int64, "seed"),
            ),
            autograph=False,
        )

    def __call__(
        self, images: Any, labels: Any, codes: Any, learning_rate: float, kd_ratio: float = 1.0, *, seed: Any = (0, 0)
    ) -> tf.Tensor:
        """Trains on one batch; see the class."""
        return self._compiled(images, labels, codes, learning_rate, kd_ratio, tf.constant(seed, tf.int64))

    @property
    def trace_count(self) -> int:
        """How often the step was traced: once, whatever subnets and image sizes it was called with."""
        return self._trace_count

    def _distributed(self, *inputs: tf.Tensor) -> tf.Tensor:
        self._trace_count += 1
        strategy = tf.distribute.get_strategy()
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(self.replica_step, args=inputs), axis=None)

    def replica_step(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        codes: tf.Tensor,
        learning_rate: tf.Tensor,
        kd_ratio: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """The step as one replica runs it; returns its share of the losses, which add up over replicas."""
        found, gradients = self.gradients(images, labels, codes, kd_ratio, seed)
        self.optimizer.apply(gradients, learning_rate)
        return found

    def gradients(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        codes: tf.Tensor,
        kd_ratio: tf.Tensor | float = 1.0,
        seed: tf.Tensor | tuple[int, int] = (0, 0),
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns losses ``[subnets]`` and the gradients summed over subnets, one per variable of the optimizer.

        Both are divided by the global batch, so that replicas are to be summed.
        """
        teacher_logits = None
        if self.teacher is not None:
            teacher_logits = self.teacher(images, self._teacher_arch, training=True)
        one = functools.partial(self._subnet, images, labels, teacher_logits, kd_ratio)
        if self.arch is not None:
            loss, gradients = one(self.arch, seed)
            return loss[tf.newaxis], gradients

        def body(index: tf.Tensor, found: tf.TensorArray, sums: list[tf.Tensor]) -> tuple[Any, Any, Any]:
            loss, gradients = one(codes[index], tf.random.fold_in(seed, tf.cast(index, tf.int64)))
            return index + 1, found.write(index, loss), [s + g for s, g in zip(sums, gradients, strict=True)]

        subnets = tf.shape(codes)[0]
        start = (
            tf.constant(0),
            tf.TensorArray(self.net.compute_dtype, subnets, element_shape=[]),
            [tf.zeros(variable.shape, variable.dtype) for variable in self.optimizer.variables],
        )
        _, found, sums = tf.while_loop(
            lambda index, *_: index < subnets, body, start, parallel_iterations=subnets_side_by_side()
        )
        return found.stack(), sums

    def _subnet(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        teacher_logits: tf.Tensor | None,
        kd_ratio: Any,
        arch: Any,
        seed: Any,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        global_batch = tf.cast(tf.shape(labels)[0] * replicas, self.net.compute_dtype)
        with tf.GradientTape() as tape:
            logits = self._logits(images, arch, seed)
            if teacher_logits is None:
                each = losses.smoothed_cross_entropy(labels, logits, smoothing=self.label_smoothing)
            else:
                each = losses.distillation(
                    labels, logits, teacher_logits, kd_ratio=kd_ratio, smoothing=self.label_smoothing
                )
            loss = tf.reduce_sum(each) / global_batch
        zero = tf.UnconnectedGradients.ZERO
        return loss, tape.gradient(loss, self.optimizer.variables, unconnected_gradients=zero)

    def _logits(self, images: tf.Tensor, arch: Any, seed: Any) -> tf.Tensor:
        """Logits in training, with dropout before the classifier."""
        if not self.dropout:
            return self.net(images, arch, training=True)
        features = self.net.run_slots(images, arch, slice(-1), training=True)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.random.fold_in(tf.cast(seed, tf.int64), tf.cast(replica, tf.int64))
        features = tf.nn.experimental.stateless_dropout(features, self.dropout, seed=seed)
        return self.net.run_slots(features, arch, slice(-1, None), training=True)
