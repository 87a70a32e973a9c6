"""ResNet50 as data: depth, ratio and width, the published settings, and bad arguments."""

from __future__ import annotations

import pytest

from compofa_tf import families
from compofa_tf.errors import InputError


def test_resnet_stages_grow_in_depth_ratio_and_width_together():
    space = families.resnet50()
    arch = space.arch(depths=(2, 0, 1, 2, 0), resolution=224)
    assert arch.widths == (2, 2, 0, 1, 2, 0)
    ratios = [{*arch.expands[span]} - {0} for span in space.block_spans[1:]]
    assert ratios == [{0.2}, {0.25}, {0.35}, {0.2}]
    assert [len(units) for units in space.stage_units(arch)] == [4, 2, 3, 6, 2]
    assert "stem_residual" in {unit.name for unit in space.units(arch)}
    shallow = space.arch(depths=(1, 0, 0, 0, 0), resolution=224)
    assert shallow.widths[:2] == (1, 1) and "stem_residual" not in {unit.name for unit in space.units(shallow)}


def test_resnet_takes_the_published_settings():
    """Depth 1 of the stem is depth 0, entries of dropped blocks do not count, widths are indices."""
    space = families.resnet50(coupling="independent")
    arch = space.arch(depths=1, expands=0.25, widths=1, resolution=160)
    assert arch.depths == (0, 1, 1, 1, 1) and set(arch.widths) == {1}
    assert arch == space.arch(
        depths=(0, 1, 1, 1, 1), expands=[*arch.expands[:3], 0.2, *arch.expands[4:]][:18], widths=[1] * 6, resolution=160
    )
    units = {unit.name: unit for unit in space.units(arch)}
    assert (units["stem_out"].out_channels, units["stage4_block0"].out_channels) == (48, 1640)
    assert units["classifier"].in_channels == 1640


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": "elastic"}, "Kernels of ResNet50 are fixed"),
        ({"widths": (1.0, 0.8, 0.65)}, "ascending"),
        ({"widths": (0.5, 1.0)}, "widths needs 3 numbers"),
        ({"widths": 3}, "widths needs 3 numbers"),
        ({"strides": (2, 2, 2)}, "strides needs 6 entries"),
    ],
)
def test_bad_settings_of_resnet(settings, message):
    with pytest.raises(InputError, match=message):
        families.resnet50(**settings)


def test_widths_that_no_subnet_has():
    space = families.resnet50(coupling="independent")
    for widths, message in ((3, "widths of stage 1 must be one of"), ((0, 1), "6 entries"), (None, "widths is needed")):
        with pytest.raises(InputError, match=message):
            space.arch(depths=0, expands=0.2, widths=widths, resolution=64)
    with pytest.raises(InputError, match="widths of stage 2 must be 0, so widths can be left out"):
        families.resnet50().arch(depths=0, widths=(0, 0, 1, 0, 0, 0), resolution=64)
    with pytest.raises(InputError, match="widths are fixed in this family"):
        families.mobilenet_v3().arch(depths=2, widths=1, resolution=64)
