"""Accuracy of a supernet, a model and what cannot be evaluated."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from compofa_tf.accuracy import evaluation
from compofa_tf.errors import InputError
from compofa_tf.nets import subnet


def counted(logits, labels):
    return evaluation.count_correct(evaluation.ranks_of(logits, labels)).tolist()


def test_counts_agree_with_ranks_by_hand():
    logits = np.array([[3.0, 2, 1, 0, -1, -2], [0, 1, 2, 3, 4, 5], [0, 5, 4, 3, 2, 1]], np.float32)
    assert counted(logits, np.array([0, 0, 5])) == [1, 2, 3]


def test_constant_and_non_finite_outputs_earn_nothing():
    assert counted(np.zeros((4, 3), np.float32), np.zeros(4, int)) == [0, 4, 4]
    assert counted(np.full((2, 3), np.nan, np.float32), np.zeros(2, int)) == [0, 0, 2]


def test_supernet_and_extracted_model_have_the_same_accuracy(net, fake_data):
    data = fake_data
    arch = net.space.arch(depths=(1, 2), resolution=16)
    subnet.calibrate(net, arch, data.calibration(resolution=16, batch_size=32, count=64))
    through_net = evaluation.evaluate(net, data.eval(resolution=16, batch_size=25), arch=arch)
    through_model = evaluation.evaluate(subnet.extract(net, arch), data.eval(resolution=16, batch_size=25))
    assert through_net == through_model
    assert through_net.count == 60


def test_a_perfect_and_a_useless_model():
    images = tf.data.Dataset.from_tensors((tf.eye(5)[:, None, None, :], tf.range(5)))
    inputs = keras.Input((1, 1, 5))
    perfect = keras.Model(inputs, keras.layers.Flatten()(inputs))
    found = evaluation.evaluate(perfect, images)
    assert (found.top1, found.top5, found.count) == (1.0, 1.0, 5)
    assert 0.5 < found.interval[0] < 1.0 == found.interval[1]


@pytest.mark.parametrize(
    ("model", "arch", "message"),
    [(object(), None, "Received: object"), ("missing.keras", None, "missing.keras")],
)
def test_what_cannot_be_evaluated_is_named(model, arch, message):
    with pytest.raises(InputError, match=message):
        evaluation.evaluate(model, [], arch=arch)


def test_a_supernet_needs_an_arch_and_data(net):
    with pytest.raises(InputError, match="give arch"):
        evaluation.evaluate(net, [])
    with pytest.raises(InputError, match="empty dataset"):
        evaluation.evaluate(net, [], arch=net.space.smallest(16))
