"""Plain models: stock layers only, named after the units, of Keras or of another library of the same layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from spaces import KINDS, images, randomise, small_space

from compofa_tf import families
from compofa_tf.nets import plain, subnet
from compofa_tf.nets.supernet import Supernet
from compofa_tf.space import cost

PROFILES = ("mobile", "edgetpu")


def quarter(profile: str):
    """The published layout at a quarter of the width."""
    return families.mobilenet_v3(width_mult=0.25, input_size=32, classes=10, profile=profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_plain_models_have_the_counted_parameters_and_stock_layers_only(profile):
    space = quarter(profile)
    arch = space.arch(depths=(2, 3, 2, 2, 4), resolution=24)
    model = plain.build(space, arch)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_weights) == cost.params(space, arch)
    assert model.input_shape == (None, arch.resolution, arch.resolution, 3)
    assert model.output_shape == (None, 10)
    assert model.name == space.id(arch)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    assert {layer.name.split("_")[0] for layer in model.layers} <= {
        *("images", "stem", "first", "head", "classifier"),
        *(f"stage{i}" for i in range(1, 6)),
    }


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_pieces_in_a_row_are_the_network(kind):
    net = Supernet(small_space(*kind))
    randomise(net)
    arch = net.space.sample(np.random.default_rng(5), resolution=16)
    x = expected = images(16)
    whole = subnet.extract(net, arch)
    for piece in net.space.pieces(arch):
        model = plain.build_piece(piece, space=net.space)
        assert model.input_shape == (None, piece.height, piece.width, piece.channels)
        for layer in model.layers[1:]:
            layer.set_weights(whole.get_layer(layer.name).get_weights())
        x = model(x, training=False)
    np.testing.assert_allclose(x, whole(expected, training=False), rtol=1e-4, atol=1e-4)


def test_summary_shows_names_of_the_units(capsys):
    space = quarter("mobile")
    plain.build(space, space.smallest(32)).summary()
    assert "stage1_block0" in capsys.readouterr().out


@pytest.mark.parametrize("profile", PROFILES)
def test_a_model_of_tf_keras_has_the_same_layers_and_logits(profile):
    """What tools need that know tf_keras only: h-swish and the gate of squeeze-and-excite are composed there."""
    tf_keras = pytest.importorskip("tf_keras", reason="needs tf_keras, which the tools for quantized training bring")
    space, rng = quarter(profile), np.random.default_rng(0)
    arch = space.arch(depths=(2, 3, 2, 2, 4), resolution=24)
    ours, theirs = (plain.build(space, arch, library=library) for library in (keras, tf_keras))
    assert isinstance(theirs, tf_keras.Model)
    assert {type(layer).__module__.split(".")[0] for layer in theirs.layers} == {"tf_keras"}
    weighted = [layer for layer in ours.layers if layer.weights]
    assert {layer.name for layer in weighted} == {layer.name for layer in theirs.layers if layer.weights}
    for layer in weighted:
        values = [value.numpy() for value in layer.weights]
        if isinstance(layer, keras.layers.BatchNormalization):  # gamma, beta, mean, variance that do something
            values = [rng.uniform(0.5, 1.5, value.shape) for value in values]
        layer.set_weights(values)
        theirs.get_layer(layer.name).set_weights(values)
    x = images(24)
    expected = np.asarray(ours(x, training=False))
    # The same sums of float32 by the same kernels of TensorFlow, the activations in another order.
    np.testing.assert_allclose(theirs(x, training=False), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    assert np.ptp(expected) > 0.1
