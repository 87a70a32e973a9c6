"""Losses against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from compofa_tf.training import losses


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    logits, teacher = rng.normal(size=(2, 6, 5)).astype(np.float32) * 3
    return rng.integers(0, 5, 6).astype(np.int32), logits, teacher


def expected_smoothed(labels, logits, smoothing):
    target = np.full(logits.shape, smoothing / logits.shape[1])
    target[np.arange(len(labels)), labels] += 1 - smoothing
    return -(target * log_softmax(logits.astype(np.float64))).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothing_is_spread_over_all_classes(batch, smoothing):
    labels, logits, _ = batch
    found = losses.smoothed_cross_entropy(labels, logits, smoothing=smoothing)
    np.testing.assert_allclose(found, expected_smoothed(labels, logits, smoothing), rtol=1e-5)


@pytest.mark.parametrize("kd_ratio", [0.5, 1.0, 3.0])
def test_distillation_formula(batch, kd_ratio):
    labels, logits, teacher = batch
    soft = -(np.exp(log_softmax(teacher.astype(np.float64))) * log_softmax(logits.astype(np.float64))).sum(-1)
    expected = 2 / (kd_ratio + 1) * (kd_ratio * soft + expected_smoothed(labels, logits, 0.1))
    found = losses.distillation(labels, logits, teacher, kd_ratio=kd_ratio, smoothing=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_no_gradient_reaches_the_teacher(batch):
    labels, logits, teacher = (tf.constant(value) for value in batch)
    with tf.GradientTape() as tape:
        tape.watch([logits, teacher])
        loss = tf.reduce_sum(losses.distillation(labels, logits, teacher))
    to_subnet, to_teacher = tape.gradient(loss, [logits, teacher])
    assert to_teacher is None
    assert np.abs(to_subnet).max() > 0.1


def test_large_logits_stay_finite():
    logits = tf.constant([[1e4, -1e4, 0.0]])
    assert np.isfinite(losses.distillation(tf.constant([1]), logits, -logits).numpy()).all()
