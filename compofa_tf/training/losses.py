"""Losses of the co-training step as pure functions."""

from __future__ import annotations

import tensorflow as tf


def smoothed_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, *, smoothing: float = 0.1) -> tf.Tensor:
    """Returns the cross-entropy against smoothed labels.

    The target is ``(1 - smoothing) * one_hot(label) + smoothing / classes``: the smoothed share is spread over all
    classes, the true one included (Szegedy et al., arXiv:1512.00567, section 7).

    Args:
      labels: int ``[batch]``, class indices.
      logits: float ``[batch, classes]``.
      smoothing: Share that is spread, in [0, 1).

    Returns:
      float ``[batch]``, nats.
    """
    classes = tf.shape(logits)[-1]
    rest = smoothing / tf.cast(classes, logits.dtype)
    target = tf.one_hot(labels, classes, on_value=1.0 - smoothing + rest, off_value=rest, dtype=logits.dtype)
    return tf.nn.softmax_cross_entropy_with_logits(target, logits)


def soft_cross_entropy(teacher_logits: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy against the teacher's softmax, through which no gradient flows.

    Args:
      teacher_logits: float ``[batch, classes]``.
      logits: float ``[batch, classes]``.

    Returns:
      float ``[batch]``, nats (Hinton et al., arXiv:1503.02531, at temperature 1).
    """
    return tf.nn.softmax_cross_entropy_with_logits(tf.stop_gradient(tf.nn.softmax(teacher_logits)), logits)


def distillation(
    labels: tf.Tensor,
    logits: tf.Tensor,
    teacher_logits: tf.Tensor,
    *,
    kd_ratio: float | tf.Tensor = 1.0,
    smoothing: float = 0.1,
) -> tf.Tensor:
    """Returns the loss of one subnet under distillation (Once-for-All and CompOFA, arXiv:2104.12642, section 3.3).

    ``2 / (kd_ratio + 1) * (kd_ratio * CE(softmax(teacher), logits) + CE_smooth(labels, logits))``. Training without a
    teacher uses ``smoothed_cross_entropy`` as it is: the factor 2 belongs to distillation only, so this function at
    ``kd_ratio=0`` would give twice that.

    Args:
      labels: int ``[batch]``, class indices.
      logits: float ``[batch, classes]`` of the subnet.
      teacher_logits: float ``[batch, classes]`` of the teacher.
      kd_ratio: Weight of the soft labels against the true ones, above 0.
      smoothing: Label smoothing, in [0, 1).

    Returns:
      float ``[batch]``.
    """
    soft = soft_cross_entropy(teacher_logits, logits)
    hard = smoothed_cross_entropy(labels, logits, smoothing=smoothing)
    return 2.0 / (kd_ratio + 1.0) * (kd_ratio * soft + hard)
