"""Units of shared weights: what they hold, what they give away; one topology serves elastic and stock layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from spaces import small_space

from compofa_tf.nets.elastic import ElasticUnit
from compofa_tf.nets.plain import StockOps
from compofa_tf.nets.topology import compute
from compofa_tf.space.units import BlockUnit, unit_costs

SPACE = small_space("elastic", "independent")
SLOTS = {slot.name: slot for slot in SPACE.slots}


def elastic(name: str, **settings) -> ElasticUnit:
    return ElasticUnit(SLOTS[name], epsilon=1e-5, **settings)


def test_weights_are_as_large_as_the_largest_option():
    shapes = {name: tuple(v.shape) for name, v in elastic("stage2_block1").variables_by_name().items()}
    vectors = ("gamma", "beta", "moving_mean", "moving_variance")
    assert shapes == {
        "expand/kernel": (1, 1, 16, 48),
        "depth/kernel": (7, 7, 48, 1),
        "depth/7to5": (25, 25),
        "depth/5to3": (9, 9),
        "reduce/kernel": (1, 1, 48, 16),
        "reduce/bias": (16,),
        "restore/kernel": (1, 1, 16, 48),
        "restore/bias": (48,),
        "project/kernel": (1, 1, 48, 16),
        **{f"{part}/{v}": (size,) for part, size in (("expand", 48), ("depth", 48), ("project", 16)) for v in vectors},
    }


def test_fixed_kernels_have_no_matrices():
    slot = next(slot for slot in small_space().slots if slot.name == "stage1_block0")
    names = ElasticUnit(slot, epsilon=1e-5).variables_by_name()
    assert "depth/kernel" in names and not any("to" in name.split("/")[1] for name in names)


@pytest.mark.parametrize("name", ["stem", "stage2_block1", "head_pool", "classifier"])
def test_every_variable_has_a_name(name):
    layer = elastic(name)
    assert {id(v) for v in layer.variables_by_name().values()} == {id(v) for v in layer.weights}


def test_parts_of_one_network_start_differently():
    """Two layers of equal shape must not share their initial weights."""
    first, second = (elastic(f"stage2_block{i}").variables_by_name()["expand/kernel"] for i in (0, 1))
    assert first.shape == second.shape
    assert not np.allclose(first, second)


@pytest.mark.parametrize("name", [name for name, slot in SLOTS.items() if slot.elastic])
def test_slices_have_the_shapes_of_the_stock_layers(name):
    layer = elastic(name)
    for unit in filter(None, SLOTS[name].options):
        for part in unit.parts:
            weights, norm = layer.sliced(part)
            assert sum(w.size for w in weights) + sum(v.size for v in norm[:2]) == part.params
            assert len(norm) == 4 * part.norm
            assert all(isinstance(array, np.ndarray) for array in (*weights, *norm))


@pytest.mark.parametrize("name", ["stem", "first", "stage1_block0", "stage2_block1"])
def test_plain_units_have_the_shapes_and_parameters_of_the_description(name):
    for unit in filter(None, SLOTS[name].options):
        inputs = keras.Input((9, 13, unit.in_channels))
        outputs = compute(unit, StockOps(unit.name, epsilon=1e-5), inputs)
        ops, height, width = unit_costs(unit, 9, 13)
        assert outputs.shape == (None, height, width, unit.out_channels)
        model = keras.Model(inputs, outputs)
        assert sum(int(np.prod(v.shape)) for v in model.trainable_weights) == sum(op.params for op in ops)
        assert all(layer.name.startswith(f"{name}_") for layer in model.layers[1:])


def test_the_shortcut_adds_the_input():
    unit = next(u for u in SLOTS["stage2_block1"].options if isinstance(u, BlockUnit))
    layer = elastic("stage2_block1")
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 16)).astype(np.float32)
    layer.variables_by_name()["project/gamma"].assign(np.zeros(16))
    np.testing.assert_array_equal(layer(x, unit=unit), x)
