"""What every elastic layer promises: at every size it equals the stock Keras layer that holds the sliced weights."""

from __future__ import annotations

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_cases import CASES, CHANNELS, NAMED, batch, built, randomised, sizes, unknown, variables

from compofa_tf.errors import InputError
from compofa_tf.nets import elastic, layers

EVERY = pytest.mark.parametrize("case", NAMED.values(), ids=NAMED)


def test_no_public_layer_is_missing():
    public = {cls for cls in (getattr(layers, name) for name in layers.__all__) if inspect.isclass(cls)}
    public |= {
        cls for name, cls in vars(elastic).items() if inspect.isclass(cls) and issubclass(cls, keras.layers.Layer)
    }
    assert set(CASES) == public


@EVERY
def test_equals_the_stock_layer_at_every_size(case):
    """Up to the order of float32 sums: 1e-5 of the largest output, which is a sum of at most 49 x 8 products."""
    layer, weights = randomised(case)
    for x, channels, call in sizes(case):
        expected = np.asarray(case.stock(layer, weights, channels, call)(x))
        found = np.asarray(layer(x, **call))
        assert found.shape == expected.shape
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()), err_msg=f"{call}"
        )


@EVERY
def test_gradients_touch_only_the_slices_in_use(case):
    layer, weights = randomised(case)
    trainable = {name: variable for name, variable in variables(layer).items() if variable.trainable}
    for x, channels, call in sizes(case):
        with tf.GradientTape() as tape:
            y = layer(x, **call)
            loss = tf.reduce_sum(y * tf.constant(np.random.default_rng(3).normal(size=y.shape), tf.float32))
        gradients = tape.gradient(
            loss, [v.value for v in trainable.values()], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        masks = case.used(layer, weights, channels, call)
        for name, gradient in zip(trainable, gradients):
            found = np.asarray(tf.convert_to_tensor(gradient))
            assert not np.any(found[~masks[name]]), (name, call)
            if masks[name].any():  # a rectifier stops some of them
                assert np.mean(found[masks[name]] != 0) > 0.1, (name, call)


@EVERY
def test_leaves_its_weights_alone(case):
    layer, weights = randomised(case)
    for x, _, call in sizes(case):
        layer(x, **call)
    for name, variable in variables(layer).items():
        np.testing.assert_array_equal(np.asarray(variable), weights[name])


@EVERY
def test_too_large_a_size_is_refused(case):
    layer = built(case)
    for channels, call in case.too_large:
        with pytest.raises(InputError, match=r"must be .*Received: \w+="):
            layer(batch(case, channels), **call)


@EVERY
def test_one_graph_serves_unknown_batch_and_image_sizes(case):
    layer, _ = randomised(case)
    channels, call = case.sizes[-1]
    traced = tf.function(lambda x: layer(x, **call))
    concrete = traced.get_concrete_function(tf.TensorSpec(unknown(case, channels), tf.float32))
    for x in (batch(case, channels), batch(case, channels)[:1]):
        np.testing.assert_allclose(concrete(x), layer(x, **call), rtol=1e-4, atol=1e-4)


@EVERY
def test_config_rebuilds_the_layer(case):
    layer = built(case)
    config = layer.get_config()
    if not isinstance(layer, elastic.ElasticUnit):
        config = json.loads(json.dumps(config))
    again = type(layer).from_config(config)
    if not again.built:
        again.build(unknown(case, CHANNELS))
    assert again.get_config() == layer.get_config()
    for (name, variable), other in zip(variables(layer).items(), variables(again).values()):
        np.testing.assert_array_equal(variable, other, err_msg=name)


@EVERY
def test_seeds_decide_the_initial_weights(case):
    first, same, other = (variables(built(case, seed=seed)) for seed in (0, 0, 1))
    kernels = [name for name in first if name.endswith("kernel")]
    assert bool(kernels) == case.seeded
    for name in first:
        np.testing.assert_array_equal(first[name], same[name])
    for name in kernels:
        assert not np.allclose(first[name], other[name])
