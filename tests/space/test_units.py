"""Units: rounding, sizes and counts against the published rules and against sums written out by hand."""

from __future__ import annotations

import dataclasses

import pytest

from compofa_tf.space.units import (
    BlockUnit,
    ConvUnit,
    DenseUnit,
    MaxPoolUnit,
    Part,
    PoolUnit,
    ResidualUnit,
    make_divisible,
    output_size,
    unit_costs,
)

RESIDUAL = ResidualUnit("r", 16, 8, 24, 2, True)
BLOCK = BlockUnit("b", 16, 64, 24, 5, 2, "relu", se_channels=16)


@pytest.mark.parametrize(
    ("value", "rounded"),
    # 10.8 would lose more than 10 % as 8; 11 and 12 are half-way cases; the rest are widths of the published nets.
    [
        (1, 8),
        (8, 8),
        (10.8, 16),
        (11, 16),
        (12, 16),
        (19.2, 24),
        (18, 24),
        (20, 24),
        (28.8, 32),
        (36, 40),
        (1152, 1152),
    ],
)
def test_make_divisible(value, rounded):
    assert make_divisible(value) == rounded


def test_make_divisible_is_a_multiple_within_its_bounds():
    for value in range(1, 400):
        rounded = make_divisible(value)
        assert rounded % 8 == 0 and rounded >= 8
        assert 0.9 * value <= rounded <= value + 8


@pytest.mark.parametrize("size", [1, 2, 7, 8, 13, 224])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_output_size_is_that_of_symmetric_padding(size, kernel, stride):
    assert output_size(size, stride) == (size + 2 * (kernel // 2) - kernel) // stride + 1


def test_kernels_of_a_block_in_execution_order():
    parts = [
        (k.name, k.kind, k.in_channels, k.out_channels, k.kernel_size, k.stride, k.norm, k.bias) for k in BLOCK.parts
    ]
    assert parts == [
        ("expand", "conv", 16, 64, 1, 1, True, False),
        ("depth", "depthwise", 64, 64, 5, 2, True, False),
        ("reduce", "conv", 64, 16, 1, 1, False, True),
        ("restore", "conv", 16, 64, 1, 1, False, True),
        ("project", "conv", 64, 24, 1, 1, True, False),
    ]
    plain = dataclasses.replace(BLOCK, se_channels=0, expansion=False)
    assert [part.name for part in plain.parts] == ["depth", "project"]


def test_counts_of_a_block_by_hand():
    ops, height, width = unit_costs(BLOCK, 9, 12)
    assert (height, width) == (5, 6)
    assert [op.macs for op in ops] == [9 * 12 * 16 * 64, 5 * 6 * 25 * 64, 64 * 16, 16 * 64, 5 * 6 * 64 * 24]
    assert [op.params for op in ops] == [16 * 64 + 128, 25 * 64 + 128, 64 * 16 + 16, 16 * 64 + 64, 64 * 24 + 48]
    assert [op.name for op in ops] == ["b/expand", "b/depth", "b/reduce", "b/restore", "b/project"]
    assert [op.in_shape for op in ops] == [(9, 12, 16), (9, 12, 64), (1, 1, 64), (1, 1, 16), (5, 6, 64)]
    assert [op.out_shape for op in ops] == [(9, 12, 64), (5, 6, 64), (1, 1, 16), (1, 1, 64), (5, 6, 24)]


def test_counts_of_the_other_units_by_hand():
    (conv,), height, width = unit_costs(ConvUnit("c", 3, 16, 3, 2, bias=True), 8, 8)
    assert (conv.macs, conv.params, height, width) == (4 * 4 * 9 * 3 * 16, 9 * 3 * 16 + 16 + 32, 4, 4)
    assert unit_costs(PoolUnit("p"), 7, 5) == ((), 1, 1)
    (dense,), *_ = unit_costs(DenseUnit("d", 20, 10), 1, 1)
    assert (dense.macs, dense.params) == (200, 210)
    assert Part("x", "depthwise", 8, 8, 3).weights == 72
    assert unit_costs(MaxPoolUnit("m", 2), 7, 8) == ((), 4, 4)


def test_counts_of_a_residual_block_by_hand():
    """The convolution of the shortcut works on the averaged map: as many pixels as the block writes."""
    ops, height, width = unit_costs(RESIDUAL, 9, 12)
    assert (height, width) == (5, 6)
    assert [op.name for op in ops] == ["r/conv1", "r/conv2", "r/conv3", "r/downsample"]
    assert [op.macs for op in ops] == [9 * 12 * 16 * 8, 30 * 9 * 8 * 8, 30 * 8 * 24, 30 * 16 * 24]
    assert [op.params for op in ops] == [16 * 8 + 16, 9 * 64 + 16, 8 * 24 + 48, 16 * 24 + 48]
    identity = dataclasses.replace(RESIDUAL, stride=1, downsample=False)
    assert [part.name for part in identity.parts] == ["conv1", "conv2", "conv3"]


@pytest.mark.parametrize(
    "unit",
    [BLOCK, RESIDUAL, ConvUnit("c", 3, 16, 3, 1, "relu"), MaxPoolUnit("m", 1), DenseUnit("d", 20, 10)],
    ids=["block", "residual", "conv", "max_pool", "dense"],
)
def test_keys_tell_every_size_apart_and_ignore_the_name(unit):
    for field in dataclasses.fields(unit):
        value = getattr(unit, field.name)
        other = {bool: lambda v: not v, int: lambda v: v + 2, str: lambda v: "relu6"}[type(value)](value)
        changed = dataclasses.replace(unit, **{field.name: other})
        assert (changed.key == unit.key) == (field.name == "name"), field.name
