"""What may be chosen: exact sizes, membership, order, and making archs."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from large_spaces import COMPOFA, LARGE, OFA

from compofa_tf.errors import InputError
from compofa_tf.space import cost
from compofa_tf.space.arch import StageChoice


def test_sizes_are_exact():
    per_stage = sum(3**depth for depth in (2, 3, 4))
    sizes = {kind: space.size for kind, space in LARGE.items()}
    assert sizes == {
        ("fixed", "compound"): 243,
        ("fixed", "independent"): per_stage**5,
        ("elastic", "compound"): per_stage**5,
        ("elastic", "independent"): (9**2 + 9**3 + 9**4) ** 5,
        ("residual", "compound"): 243,
        ("residual", "independent"): 2 * 3**6 * (3**2 + 3**3 + 3**4) ** 3 * (3**4 + 3**5 + 3**6),
    }
    assert len(COMPOFA) == 243
    with pytest.raises(OverflowError):
        len(OFA)
    assert OFA


def test_enumeration_is_the_whole_space_once(small):
    archs = list(small.enumerate(resolutions=(16, 8)))
    assert len(archs) == len(set(archs)) == 2 * small.size
    assert all(arch in small for arch in archs)


def test_enumeration_has_the_documented_order(small):
    def order(arch):
        blocks = tuple(zip(arch.expands, arch.kernels))
        stages = zip(small.stages, arch.depths, small.block_spans, small.width_spans)
        return tuple((d, blocks[span][: stage.kept_blocks(d)], arch.widths[own]) for stage, d, span, own in stages)

    archs = list(small.enumerate(resolutions=(16, 8)))
    assert [arch.resolution for arch in archs] == [16] * small.size + [8] * small.size
    for half in (archs[: small.size], archs[small.size :]):
        assert [order(arch) for arch in half] == sorted(order(arch) for arch in half)


def test_enumeration_of_the_published_space_starts_and_ends_as_expected():
    names = [COMPOFA.id(arch) for arch in COMPOFA.enumerate(resolutions=(128, 224))]
    assert names[:4] == ["r128-d22222", "r128-d22223", "r128-d22224", "r128-d22232"]
    assert names[-1] == "r224-d44444"
    assert len(names) == len(set(names)) == 486


def test_enumeration_of_a_huge_space_is_lazy():
    assert len(list(itertools.islice(OFA.enumerate(resolutions=(224,)), 100))) == 100


def test_bad_resolutions_are_refused():
    for resolution in (0, -224, 7, 224.0, "224", None, True):
        with pytest.raises(InputError, match="resolution must be a whole number of at least 8 pixels"):
            next(COMPOFA.enumerate(resolutions=(resolution,)))
        with pytest.raises(InputError, match="resolution must be a whole number of at least 8 pixels"):
            COMPOFA.arch(depths=2, resolution=resolution)


def test_membership_against_the_enumeration(small):
    """Every single change of a subnet, judged by whether the enumeration has the result."""
    everything = set(small.enumerate(resolutions=(16,)))
    rng = np.random.default_rng(0)
    for index in rng.permutation(len(everything))[:64]:
        arch = sorted(everything)[index]
        for field in ("depths", "expands", "kernels"):
            values = getattr(arch, field)
            for i, value in itertools.product(range(len(values)), (0, 1, 2, 3, 5, 7)):
                changed = dataclasses.replace(arch, **{field: (*values[:i], value, *values[i + 1 :])})
                assert (changed in small) == (changed in everything), changed


def test_what_is_no_subnet():
    arch = COMPOFA.smallest(224)
    assert arch in COMPOFA
    for stranger in (
        None,
        "r224-d22222",
        arch.at(7),
        dataclasses.replace(arch, depths=arch.depths[:-1]),
        dataclasses.replace(arch, expands=arch.expands[:-1]),
        dataclasses.replace(arch, kernels=(*arch.kernels, 3)),
        OFA.largest(224),
    ):
        assert stranger not in COMPOFA
        for method in (COMPOFA.check, COMPOFA.encode, COMPOFA.id, COMPOFA.units, COMPOFA.ops, COMPOFA.pieces):
            with pytest.raises(InputError, match=r"has no such subnet\. Received"):
                method(stranger)


def test_extremes(kind):
    space = LARGE[kind]
    largest, smallest = space.largest(224), space.smallest(128)
    deep, wide, least, narrow = (2, 0.35, 0, 0.2) if kind[0] == "residual" else (4, 6, 2, 3)
    assert (largest.depths, set(largest.expands), largest.resolution) == ((deep,) * 5, {wide}, 224)
    assert (smallest.depths, set(smallest.expands), smallest.resolution) == ((least,) * 5, {0, narrow}, 128)
    large, small = {"fixed": ({3, 5}, {0, 3, 5}), "elastic": ({7}, {0, 3}), "residual": ({3}, {0, 3})}[kind[0]]
    assert (set(largest.kernels), set(smallest.kernels)) == (large, small)
    assert (set(largest.widths), set(smallest.widths)) == (({2}, {0}) if kind[0] == "residual" else (set(), set()))
    costs = [cost.macs(space, arch.at(224)) for arch in (smallest, largest)]
    rng = np.random.default_rng(0)
    assert all(costs[0] <= cost.macs(space, space.sample(rng, resolution=224)) <= costs[1] for _ in range(20))


def test_compound_depths_decide_the_expand_ratios():
    arch = COMPOFA.arch(depths=(2, 3, 4, 2, 3), resolution=192)
    assert arch.expands == (3, 3, 0, 0, 4, 4, 4, 0, 6, 6, 6, 6, 3, 3, 0, 0, 4, 4, 4, 0)
    assert arch.kernels == (3, 3, 0, 0, 5, 5, 5, 0, 3, 3, 3, 3, 3, 3, 0, 0, 5, 5, 5, 0)
    assert COMPOFA.arch(depths=(2, 3, 4, 2, 3), resolution=192, expands=arch.expands, kernels=arch.kernels) == arch


def test_entries_of_dropped_blocks_are_ignored():
    published = {"expands": [3, 4, 6, 3] * 5, "kernels": [3, 5, 7, 3] * 5}
    arch = OFA.arch(depths=2, resolution=224, **published)
    assert arch == OFA.arch(depths=2, resolution=224, expands=[3, 4, 99, None] * 5, kernels=[3, 5, 0, 0] * 5)
    assert arch.expands == (3, 4, 0, 0) * 5 and arch.kernels == (3, 5, 0, 0) * 5


def test_scalars_stand_for_every_entry():
    assert OFA.arch(depths=4, expands=6, kernels=7, resolution=224) == OFA.largest(224)


def test_values_are_plain_whatever_they_were_given_as():
    arch = OFA.arch(
        depths=np.full(5, 4), expands=np.full(20, 6.0), kernels=np.full(20, 7, np.int16), resolution=np.int64(224)
    )
    assert json.dumps(arch.to_json()) == json.dumps(OFA.largest(224).to_json())


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        (COMPOFA, {"depths": 5}, r"depths of stage 1 must be one of \(2, 3, 4\). Received: depths=5"),
        (COMPOFA, {"depths": (2, 3, 4, 2, 1)}, r"depths of stage 5 must be one of"),
        (COMPOFA, {"depths": (2, 3, 4)}, r"depths must be a scalar or have 5 entries. Received: depths=\(2, 3, 4\)"),
        (COMPOFA, {"depths": None}, r"depths must be a scalar or have 5 entries. Received: depths=None"),
        (COMPOFA, {"depths": "23423"}, r"depths of stage 1 must be one of \(2, 3, 4\). Received: depths='23423'"),
        (COMPOFA, {"depths": 2, "expands": 4}, r"expands of stage 1 must be 3, so expands can be left out"),
        (COMPOFA, {"depths": 2, "kernels": 7}, r"kernels of stage 1 must be 3, so .* Received: kernels\[0\]=7"),
        (OFA, {"depths": 2, "kernels": 3}, r"expands is needed in this space: a scalar or one per block"),
        (OFA, {"depths": 2, "expands": 3}, r"kernels is needed in this space"),
        (OFA, {"depths": 2, "expands": 5, "kernels": 3}, r"expands of stage 1 must be one of \(3, 4, 6\). .*\[0\]=5"),
        (
            OFA,
            {"depths": 2, "expands": 3, "kernels": [3] * 8 + [9] * 12},
            r"kernels of stage 3 must be one of .*\[8\]=9",
        ),
        (OFA, {"depths": 2, "expands": 3, "kernels": [3] * 19}, r"kernels must be a scalar or have 20 entries"),
    ],
)
def test_bad_settings(space, settings, message):
    with pytest.raises(InputError, match=message):
        space.arch(**settings, resolution=224)


def test_units_fit_together(sampled):
    space, archs = sampled
    for arch in archs:
        ops = [op for op in space.ops(arch) if op.in_shape[:2] != (1, 1) and not op.name.endswith("/downsample")]
        assert ops[0].in_shape == (arch.resolution, arch.resolution, 3)
        for op, following in itertools.pairwise(ops):
            pooled = op.name.startswith("stem_out") and following.name == "stage1_block0/conv1"
            assert op.out_shape == following.in_shape or pooled


def test_slots_are_cut_at_the_stages_and_the_channels_between_are_those_of_the_units(sampled):
    space, archs = sampled
    assert [i for span in space.slot_spans for i in range(span.start, span.stop)] == list(range(len(space.slots)))
    assert len(space.slot_spans) == len(space.channels_into) == len(space.stages) + 2
    for arch in archs:
        stages = (space.stem, *space.stage_units(arch), space.head_units(arch))
        names = [{slot.name for slot in space.slots[span]} for span in space.slot_spans]
        assert all({unit.name for unit in units} <= of_slots for units, of_slots in zip(stages, names))
        for units, channels in zip(stages, space.channels_into):
            first = next((unit.in_channels for unit in units if hasattr(unit, "in_channels")), channels)
            assert channels in (None, first)
    assert (None in space.channels_into) == bool(archs[0].widths)


def test_a_choice_is_made_of_its_kept_blocks():
    assert StageChoice.of(2, [(3, 5), (4, 7)], count=4, widths=[1]) == StageChoice(2, (3, 4, 0, 0), (5, 7, 0, 0), (1,))
    assert StageChoice.of(0, [], count=0) == StageChoice(0, (), (), ())
