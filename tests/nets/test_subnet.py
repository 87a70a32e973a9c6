"""Extracted subnets: equal to those of the supernet, opened where this package is unknown; calibration."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from spaces import KINDS, images, randomise, small_space

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.nets import subnet
from compofa_tf.nets.supernet import Supernet


@pytest.fixture(scope="module")
def nets():
    made = {kind: Supernet(small_space(*kind)) for kind in KINDS}
    for net in made.values():
        randomise(net)
    return made


@pytest.fixture(params=KINDS, ids="-".join)
def net(request, nets):
    return nets[request.param]


@pytest.fixture(scope="module")
def published():
    net = Supernet(families.mobilenet_v3(width_mult=0.25, input_size=32, classes=10))
    randomise(net)
    return net


def some_archs(space, count=1):
    rng = np.random.default_rng(5)
    return [space.smallest(16), space.largest(16), *(space.sample(rng, resolution=16) for _ in range(count))]


def test_extracted_models_give_the_logits_of_the_supernet(net):
    """Same sums, maybe in another order: 2e-5 of the largest logit."""
    for arch in some_archs(net.space):
        x = images(16)
        expected = net(x, arch).numpy()
        found = subnet.extract(net, arch)(x, training=False).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_extraction_in_training_mode_agrees_too(nets):
    net = nets[KINDS[3]]
    arch, x = net.space.largest(16), images(16)
    expected = net(x, arch, training=True).numpy()
    found = subnet.extract(net, arch)(x, training=True).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_saved_model_opens_where_this_package_is_unknown(published, tmp_path):
    space = published.space
    arch = space.arch(depths=(2, 2, 2, 2, 3), resolution=32)
    x = images(32)
    model = subnet.extract(published, arch)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "images.npz", x=x)
    code = """
import sys
import keras, numpy as np
model = keras.models.load_model("model.keras")
np.save("logits.npy", model(np.load("images.npz")["x"], training=False))
assert not [name for name in sys.modules if name.startswith("compofa_tf")], "compofa_tf was imported"
"""
    subprocess.run(
        [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else [sys.executable, "-c", code],
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), model(x, training=False))
    np.testing.assert_allclose(model(x, training=False), published(x, arch), atol=1e-4)


def test_calibration_is_the_weighted_average_of_the_batches(nets):
    """Against the plain model: statistics of its batch norms' inputs, batch by batch."""
    net = nets[KINDS[0]]
    arch, x = net.space.smallest(16), images(16, 7) * 3 + 1
    assert subnet.calibrate(net, arch, x, batch_size=3) == 7
    model = subnet.extract(net, arch)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    stored = [(np.array(layer.moving_mean), np.array(layer.moving_variance)) for layer in norms]
    before = keras.Model(model.input, [layer.input for layer in norms])
    parts = [x[:3], x[3:6], x[6:]]
    inputs = [[np.asarray(value, np.float64) for value in before(part, training=True)] for part in parts]
    for i, (found_mean, found_variance) in enumerate(stored):
        mean = np.average([part[i].mean((0, 1, 2)) for part in inputs], axis=0, weights=[3, 3, 1])
        variance = np.average([part[i].var((0, 1, 2)) for part in inputs], axis=0, weights=[3, 3, 1])
        np.testing.assert_allclose(found_mean, mean, rtol=0, atol=1e-5 * max(1, np.abs(mean).max()))
        np.testing.assert_allclose(found_variance, variance, rtol=1e-4)


def test_calibration_touches_only_the_statistics_in_use(nets):
    net = nets[KINDS[0]]
    randomise(net, seed=4)
    arch = net.space.smallest(16)
    before = net.get_state()
    subnet.calibrate(net, arch, images(16, 8, seed=2) * 2)
    sizes = {f"{unit.name}/{k.name}": k.out_channels for unit in net.space.units(arch) for k in unit.parts}
    for name, value in net.get_state().items():
        if "moving" not in name:
            np.testing.assert_array_equal(value, before[name])
            continue
        used = sizes.get(name.rpartition("/")[0], 0)
        np.testing.assert_array_equal(value[used:], before[name][used:])
        assert np.all(value[:used] != before[name][:used]), name


def test_calibration_of_one_subnet_does_not_depend_on_what_was_stored(nets):
    net = nets[KINDS[0]]
    arch, x = net.space.largest(16), images(16, 8)
    results = []
    for other in (net.space.smallest(16), net.space.largest(16)):
        subnet.calibrate(net, other, images(16, 8, seed=9) * 5)
        results.append(subnet.extract(net, arch, calibrate_on=x)(x, training=False).numpy())
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_datasets_with_and_without_labels_and_arrays_agree(nets):
    net = nets[KINDS[0]]
    arch, x = net.space.smallest(16), images(16, 6)
    sources = [
        x,
        tf.constant(x),
        tf.data.Dataset.from_tensor_slices(x).batch(256),
        tf.data.Dataset.from_tensor_slices((x, np.zeros(6, np.int32))).batch(256),
        [x],
    ]
    states = []
    for source in sources:
        assert subnet.calibrate(net, arch, source) == 6
        states.append(net.get_state())
    for state in states[1:]:
        for name in state:
            np.testing.assert_allclose(state[name], states[0][name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_bad_calibration_images_leave_the_net_unchanged(nets):
    net = nets[KINDS[0]]
    arch, before = net.space.smallest(16), net.get_state()
    for source, message in (
        (images(16, 0), "Calibration needs at least one image"),
        ([], "Calibration needs at least one image"),
        (images(16)[0], r"Images must be \[count, height, width, 3\]. Received: shape=\(16, 16, 3\)"),
        (np.full_like(images(16), np.nan), r"Images must be finite\. Received: NaN or infinity"),
        ([images(16)[..., :1]], r"Images must be \[count, height, width, 3\]. Received: shape=\(4, 16, 16, 1\)"),
    ):
        with pytest.raises(InputError, match=message):
            subnet.calibrate(net, arch, source)
    with pytest.raises(InputError, match="no such subnet"):
        subnet.calibrate(net, families.mobilenet_v3().largest(16), images(16))
    assert all(np.array_equal(before[name], value) for name, value in net.get_state().items())


@pytest.mark.slow
def test_calibration_in_the_largest_kind_of_space(nets):
    net = nets[KINDS[3]]
    for arch in some_archs(net.space):
        x = images(16, 8)
        model = subnet.extract(net, arch, calibrate_on=x)
        expected = net(x, arch, training=True).numpy()
        np.testing.assert_allclose(model(x, training=False), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
