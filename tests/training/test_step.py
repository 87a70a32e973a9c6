"""The training step against the same sums done by hand, and its number of traces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from spaces import small_space
from tiny import tiny_space

from compofa_tf.nets.supernet import Supernet
from compofa_tf.recipes.settings import OptimizerSettings
from compofa_tf.space.sampling import codes_at
from compofa_tf.training import losses, step
from compofa_tf.training.optimizer import Nesterov
from compofa_tf.training.step import TrainingStep

SETTINGS = OptimizerSettings(momentum=0.9, weight_decay=0.01, label_smoothing=0.1)


@pytest.fixture(scope="module")
def space():
    return tiny_space(classes=5)


@pytest.fixture(scope="module")
def distilling(space):
    """A step with a teacher, shared by the tests of this module: tracing it is what takes time."""
    net, teacher = Supernet(space, seed=1), Supernet(space, seed=2)
    return TrainingStep(net, Nesterov(net, SETTINGS), teacher=teacher)


def batch(resolution=16, size=6):
    rng = np.random.default_rng(resolution)
    images = rng.normal(size=(size, resolution, resolution, 3)).astype(np.float32)
    return tf.constant(images), tf.constant(rng.integers(0, 5, size), tf.int32)


def codes_of(space, *depths):
    return np.stack([space.encode(space.arch(depths=list(d), resolution=16)) for d in depths])


def reset(step):
    for velocity in step.optimizer.velocities.values():
        velocity.assign(tf.zeros_like(velocity))


def by_hand(step, images, labels, codes, kd_ratio):
    """Losses and summed gradients of the subnets, one after the other, each on the static graph of its Arch."""
    net, found, sums = step.net, [], None
    teacher_logits = step.teacher(images, net.space.largest(16), training=True)
    for code in codes:
        with tf.GradientTape() as tape:
            logits = net(images, net.space.decode(code), training=True)
            loss = tf.reduce_mean(
                losses.distillation(
                    labels, logits, teacher_logits, kd_ratio=kd_ratio, smoothing=SETTINGS.label_smoothing
                )
            )
        gradients = tape.gradient(loss, step.optimizer.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        sums = gradients if sums is None else [s + g for s, g in zip(sums, gradients)]
        found.append(float(loss))
    return found, [gradient.numpy() for gradient in sums]


def test_step_is_one_nesterov_update_with_summed_gradients(space, distilling):
    images, labels = batch()
    codes = codes_of(space, (1, 1), (2, 2), (2, 1))
    reset(distilling)
    names = list(distilling.optimizer.velocities)
    kernels = {name for name in names if name.endswith("/kernel")}
    velocity = dict.fromkeys(names, 0.0)
    for rate, kd_ratio in ((0.05, 1.0), (0.02, 0.5)):
        before = [variable.numpy() for variable in distilling.optimizer.variables]
        expected_losses, gradients = by_hand(distilling, images, labels, codes, kd_ratio)
        found = distilling(images, labels, codes, rate, kd_ratio)
        np.testing.assert_allclose(found, expected_losses, rtol=1e-5)
        for name, old, gradient, variable in zip(names, before, gradients, distilling.optimizer.variables):
            gradient = gradient + (SETTINGS.weight_decay * old if name in kernels else 0.0)
            velocity[name] = SETTINGS.momentum * velocity[name] + gradient
            expected = old - rate * (gradient + SETTINGS.momentum * velocity[name])
            np.testing.assert_allclose(variable.numpy(), expected, atol=2e-6, rtol=1e-4, err_msg=name)


def test_weight_decay_moves_kernels_only(space):
    """With gradients of 0 only the decay is left."""
    net = Supernet(space, seed=3)
    optimizer = Nesterov(net, OptimizerSettings(momentum=0.0, weight_decay=0.5))
    for variable in optimizer.variables:
        variable.assign(tf.ones_like(variable))
    optimizer.apply([tf.zeros(variable.shape) for variable in optimizer.variables], tf.constant(0.1))
    moved = {name for name, v in zip(optimizer.velocities, optimizer.variables) if not np.all(v.numpy() == 1.0)}
    assert moved == {name for name in optimizer.velocities if name.endswith("/kernel")}
    assert len(moved) == len(net.kernel_variables) > 0
    for name, variable in zip(optimizer.velocities, optimizer.variables):
        if name in moved:
            np.testing.assert_allclose(variable.numpy(), 0.95)


def test_one_trace_serves_all_subnets_resolutions_and_counts(space, distilling):
    rng = np.random.default_rng(0)
    for number in range(20):
        resolution = (12, 16, 20)[number % 3]
        images, labels = batch(resolution)
        archs = [space.sample(rng, resolution=resolution) for _ in range(1 + number % 2)]
        distilling(images, labels, np.stack([space.encode(arch) for arch in archs]), 1e-3, 1.0)
    assert distilling.trace_count == 1


def test_subnets_side_by_side_give_the_same_gradients(space, distilling, monkeypatch):
    reset(distilling)
    images, labels = batch()
    codes = codes_of(space, (1, 1), (2, 2), (2, 1), (1, 2))
    expected = distilling.gradients(images, labels, codes)
    monkeypatch.setattr(step, "subnets_side_by_side", lambda: 4)
    found = tf.function(distilling.gradients)(images, labels, codes)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-4)


def test_elastic_kernels_with_compound_coupling_train():
    """The published code stops with an error when it samples this space."""
    space = small_space("elastic", "compound")
    net, teacher = Supernet(space, seed=1), Supernet(space, seed=1)
    step = TrainingStep(net, Nesterov(net, SETTINGS), teacher=teacher)
    images, labels = batch()
    before, found = net.get_state(), []
    for number in range(12):
        codes = codes_at(space.codes, seed=0, step=number, subnets=2, resolution=16)
        found.append(step(images, labels, codes, 0.02).numpy().mean())
    assert np.mean(found[-3:]) < np.mean(found[:3])
    after = net.get_state()
    assert all(not np.array_equal(after[name], before[name]) for name in before if name.endswith(("7to5", "5to3")))
    assert step.trace_count == 1


def test_teacher_is_the_largest_subnet_and_stays_as_it_is(space, distilling):
    images, labels = batch()
    before = distilling.teacher.get_state()
    smallest = codes_of(space, (1, 1))
    (found,) = distilling(images, labels, smallest, 0.0, 1e6).numpy()
    logits = distilling.net(images, space.decode(smallest[0]), training=True)
    teacher_logits = distilling.teacher(images, space.largest(16), training=True)
    expected = 2 * float(tf.reduce_mean(losses.soft_cross_entropy(teacher_logits, logits)))
    assert found == pytest.approx(expected, rel=1e-4)
    for name, array in distilling.teacher.get_state().items():
        np.testing.assert_array_equal(array, before[name])


def test_static_step_has_no_factor_of_distillation(space):
    net = Supernet(space, seed=1)
    step = TrainingStep(net, Nesterov(net, SETTINGS), arch=space.largest(16), label_smoothing=0.2)
    images, labels = batch()
    logits = net(images, space.largest(16), training=True)
    expected = float(tf.reduce_mean(losses.smoothed_cross_entropy(labels, logits, smoothing=0.2)))
    found = step(images, labels, codes_of(space, (1, 1), (1, 1)), 0.1, 0.0)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    assert float(step(images, labels, codes_of(space, (1, 1)), 0.1, 0.0)[0]) < expected


def test_dropout_stands_before_the_classifier_and_differs_for_every_subnet(space):
    """By hand: features, features that are dropped out, classifier; the soft labels are of the whole teacher."""
    net, teacher = Supernet(space, seed=1), Supernet(space, seed=2)
    step = TrainingStep(net, Nesterov(net, SETTINGS), teacher=teacher, dropout=0.5)
    (images, labels), seed, arch = batch(), tf.constant([3, 7], tf.int64), space.arch(depths=(1, 2), resolution=16)
    soft = teacher(images, space.largest(16), training=True)
    expected = []
    for index in range(2):
        features = net.run_slots(images, arch, slice(-1), training=True)
        own = tf.random.fold_in(seed, tf.constant(index, tf.int64))
        dropped = tf.random.fold_in(own, tf.constant(0, tf.int64))
        features = tf.nn.experimental.stateless_dropout(features, 0.5, seed=dropped)
        kept = np.count_nonzero(features) / features.numpy().size
        assert 0.2 < kept < 0.8
        logits = net.run_slots(features, arch, slice(-1, None), training=True)
        expected.append(float(tf.reduce_mean(losses.distillation(labels, logits, soft, kd_ratio=1.0, smoothing=0.1))))
    codes = codes_of(space, (1, 2), (1, 2))
    found = step(images, labels, codes, 0.0, seed=(3, 7)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert abs(found[0] - found[1]) > 1e-3
    np.testing.assert_array_equal(step(images, labels, codes, 0.0, seed=(3, 7)), found)
    assert (np.abs(step(images, labels, codes, 0.0, seed=(3, 8)).numpy() - found) > 1e-4).all()


def test_the_static_step_drops_out_too(space):
    net, (images, labels) = Supernet(space, seed=1), batch()
    arch, own = space.largest(16), tf.random.fold_in(tf.constant([3, 7], tf.int64), tf.constant(0, tf.int64))
    features = net.run_slots(images, arch, slice(-1), training=True)
    features = tf.nn.experimental.stateless_dropout(features, 0.5, seed=own)
    logits = net.run_slots(features, arch, slice(-1, None), training=True)
    expected = float(tf.reduce_mean(losses.smoothed_cross_entropy(labels, logits, smoothing=0.1)))
    step = TrainingStep(net, Nesterov(net, SETTINGS), arch=arch, dropout=0.5)
    found = step(images, labels, codes_of(space, (1, 1)), 0.0, seed=(3, 7))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_moving_statistics_are_left_alone(space, distilling):
    images, labels = batch()
    before = distilling.net.get_state()
    distilling(images, labels, codes_of(space, (2, 2)), 0.1, 1.0)
    for name, array in distilling.net.get_state().items():
        if "moving" in name:
            np.testing.assert_array_equal(array, before[name])


REPLICAS = """
import sys, json
import numpy as np, tensorflow as tf
sys.path.insert(0, sys.argv[1])
from tiny import tiny_space
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from compofa_tf.recipes.settings import OptimizerSettings
from compofa_tf.training.optimizer import Nesterov
from compofa_tf.training.step import TrainingStep
from compofa_tf.nets.supernet import Supernet
space = tiny_space(classes=5)
codes = np.stack([space.encode(space.arch(depths=d, resolution=16)) for d in ((1, 2), (2, 1))])
rng = np.random.default_rng(0)
half = rng.normal(size=(4, 16, 16, 3)).astype("float32"), np.array([0, 1, 2, 3], "int32")
sums = {}
one, two = tf.distribute.OneDeviceStrategy("/cpu:0"), tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
for name, strategy, repeat in (("one", one, 2), ("two", two, 1)):
    with strategy.scope():
        net, teacher = Supernet(space, seed=1), Supernet(space, seed=2)
        step = TrainingStep(net, Nesterov(net, OptimizerSettings()), teacher=teacher)

    @tf.function
    def run(images, labels):
        inputs = (images, labels, tf.constant(codes), tf.constant(0.1), tf.constant(1.0), tf.constant([0, 0], tf.int64))
        return strategy.reduce("SUM", strategy.run(step.replica_step, args=inputs), axis=None)

    images, labels = (tf.constant(np.concatenate([part] * repeat)) for part in half)
    sums[name] = [run(images, labels).numpy().tolist() for _ in range(3)]
    np.savez(f"{sys.argv[2]}/{name}.npz", **{key: variable.numpy() for key, variable in net.variables_by_name.items()})
with two.scope():
    step = TrainingStep(net, Nesterov(net, OptimizerSettings()), dropout=0.5)
    inputs = (tf.constant(half[0]), tf.constant(half[1]), tf.constant(codes), tf.constant(0.0), tf.constant(1.0))
    shares = tf.function(lambda: two.run(step.replica_step, args=(*inputs, tf.constant([0, 0], tf.int64))))()
sums["dropped"] = [share.numpy().tolist() for share in two.experimental_local_results(shares)]
print(json.dumps(sums))
"""


@pytest.mark.slow
def test_two_replicas_train_like_one(tmp_path):
    """Each replica gets the same half batch, so batch statistics agree and so must losses and weights."""
    command = [sys.executable, "-c", REPLICAS, str(Path(__file__).parents[1]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(found["two"], found["one"], rtol=1e-5)
    one, two = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("one", "two"))
    for name, array in one.items():
        # Weights are of order 1; sums of float32 gradients in another order differ in the last digits.
        np.testing.assert_allclose(two[name], array, atol=2e-5, err_msg=name)
    first, second = np.array(found["dropped"])
    assert (np.abs(first - second) > 1e-4).all()  # the same images, but each replica drops features of its own
