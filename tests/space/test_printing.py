"""A space as a person reads it."""

from __future__ import annotations

import pytest
from spaces import KINDS, small_space

from compofa_tf import families
from compofa_tf.space.printing import aligned


def test_the_published_space_as_a_table():
    assert str(families.mobilenet_v3()).splitlines() == [
        "mobilenet_v3: 243 subnets, profile mobile, 1,000 classes",
        "compound: the n-th depth of a stage goes with its n-th expand ratio",
        "stage        width  stride  kernel  activation      depths  expand ratios",
        "stem            16       2       3  hard_swish",
        "first           16       1       3  relu",
        "stage1          24       2       3  relu            2 3 4   3 4 6",
        "stage2          40       2       5  relu, SE        2 3 4   3 4 6",
        "stage3          80       2       3  hard_swish      2 3 4   3 4 6",
        "stage4         112       1       3  hard_swish, SE  2 3 4   3 4 6",
        "stage5         160       2       5  hard_swish, SE  2 3 4   3 4 6",
        "head_expand    960       1       1  hard_swish",
        "head_pool",
        "head_mix      1280       1       1  hard_swish",
        "classifier    1000",
    ]


def test_elastic_widths_kernels_and_ratios_are_listed():
    resnet = str(families.resnet50()).splitlines()
    assert "compound: the n-th depth of a stage goes with its n-th expand ratio and width" in resnet
    assert "stage1         168 208 256       1       3              0 1 2   0.2 0.25 0.35" in resnet
    assert "stem              40 48 64       4       3  relu        0 1 2" in resnet
    proxyless = str(families.proxyless_nas(kernel="elastic", coupling="independent")).splitlines()
    assert "independent: any depth for each stage, any expand ratio and kernel for each block" in proxyless
    assert "stage6        416       1   3 5 7  relu6       1       3 4 6" in proxyless


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_every_kind_of_space_is_printed_with_a_row_for_each_part_and_a_repr_of_one_line(kind):
    space = small_space(*kind)
    lines = str(space).splitlines()
    assert len(lines) == 3 + len(space.stem) + len(space.stages) + len(space.head)
    assert lines[1].startswith(space.coupling) and all(line == line.rstrip() for line in lines)
    assert "\n" not in repr(space) and str(space.size) in repr(space)


def test_columns_stand_below_each_other():
    assert aligned([("a", "1", ""), ("bcd", "10", "x")], "<><") == ["a     1", "bcd  10  x"]
