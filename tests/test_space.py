"""Spaces: exact sizes, membership, order, sampling, codes, names and descriptions."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import json

import numpy as np
import pytest
from spaces import KINDS, small_space

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.space import cost
from compofa_tf.space.pieces import cut_piece

COMPOFA = families.mobilenet_v3()
OFA = families.mobilenet_v3(kernel="elastic", coupling="independent")
LARGE = {
    (kernel, coupling): families.resnet50(coupling=coupling)
    if kernel == "residual"
    else families.mobilenet_v3(kernel=kernel, coupling=coupling)
    for kernel, coupling in KINDS
}


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request):
    return request.param


@pytest.fixture
def small(kind):
    return small_space(*kind)


@pytest.fixture
def members(kind):
    space, rng = LARGE[kind], np.random.default_rng(1)
    return space, [space.sample(rng, resolutions=(128, 160, 224)) for _ in range(50)]


# Size and enumeration


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


# Membership


def test_membership_against_the_enumeration(small):
    """Every single change of every member, judged by whether the enumeration has the result."""
    everything = set(small.enumerate(resolutions=(16,)))
    rng = np.random.default_rng(0)
    for arch in rng.permutation(len(everything))[:64]:
        member = sorted(everything)[arch]
        for field in ("depths", "expands", "kernels"):
            values = getattr(member, field)
            for i, value in itertools.product(range(len(values)), (0, 1, 2, 3, 5, 7)):
                changed = dataclasses.replace(member, **{field: (*values[:i], value, *values[i + 1 :])})
                assert (changed in small) == (changed in everything), changed


def test_what_is_no_member():
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


# Making architectures


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


# Sampling


def test_sampling_is_a_pure_function_of_the_generator(kind):
    draws = [
        [LARGE[kind].sample(rng, resolutions=(128, 224)) for _ in range(20)]
        for rng in map(np.random.default_rng, (7, 7, 8))
    ]
    assert draws[0] == draws[1] != draws[2]


def chi_square(space, count, **options):
    """Statistic of ``count`` draws against the uniform distribution over members, in standard deviations."""
    rng = np.random.default_rng(0)
    drawn = collections.Counter(space.sample(rng, resolution=16, **options) for _ in range(count))
    expected = count / space.size
    statistic = sum((n - expected) ** 2 for n in drawn.values()) / expected + expected * (space.size - len(drawn))
    return (statistic - space.size) / (2 * space.size) ** 0.5


def test_the_compound_space_is_sampled_uniformly():
    assert abs(chi_square(COMPOFA, 243 * 20)) < 4


def test_sampling_takes_the_side_that_the_space_is_meant_for_or_one_of_those_given():
    rng = np.random.default_rng(0)
    assert COMPOFA.sample(rng).resolution == 224
    assert families.mobilenet_v3(input_size=32).sample(rng).resolution == 32
    assert {COMPOFA.sample(rng, resolutions=(96, 128)).resolution for _ in range(20)} == {96, 128}


# Codes, names, JSON


def test_round_trips(members):
    space, archs = members
    for arch in (*archs, space.largest(224), space.smallest(32)):
        code = space.encode(arch)
        assert (code.dtype, code.shape) == (np.int32, (space.code_size,))
        assert space.decode(code) == space.decode(code.tolist()) == arch
        assert space.parse(space.id(arch)) == space.parse(f" {space.id(arch)}\n") == arch
        assert json.loads(json.dumps(arch.to_json())) == arch.to_json()


def test_codes_and_names_are_one_to_one(small):
    archs = list(small.enumerate(resolutions=(8,)))
    assert len({tuple(small.encode(arch)) for arch in archs}) == len({small.id(arch) for arch in archs}) == small.size


def test_every_code_is_a_member_or_refused(small):
    options = [range(len(slot.options)) for slot in small.elastic_slots]
    decoded = []
    for code in itertools.product(*options):
        with contextlib.suppress(InputError):
            decoded.append(small.decode((*code, 16)))
    assert len(decoded) == len(set(decoded)) == small.size


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([0] * 20, "A code of this space is 21 whole numbers"),
        ([0] * 20 + [224.5], "A code of this space is 21 whole numbers"),
        ([0] * 20 + [4], "no such subnet"),
        ([3] + [0] * 19 + [224], r"stage1_block0 has options 0 to 2. Received: 3"),
        ([-1] + [0] * 19 + [224], r"stage1_block0 has options 0 to 2. Received: -1"),
    ],
)
def test_bad_codes(code, message):
    with pytest.raises(InputError, match=message):
        COMPOFA.decode(code)


def test_names_of_the_published_spaces():
    assert COMPOFA.id(COMPOFA.arch(depths=(2, 3, 4, 2, 3), resolution=192)) == "r192-d23423"
    arch = OFA.arch(depths=(2, 2, 2, 2, 3), expands=[3, 4, 6, 6] * 5, kernels=[7, 5, 3, 3] * 5, resolution=160)
    assert OFA.id(arch) == "r160-d22223-e34.34.34.34.346-k75.75.75.75.753"


@pytest.mark.parametrize(
    "name",
    ["", "r192", "d23423", "r192-d2342", "r192-d23425", "r1.5-d23423", "r192-d23423-k3", "x-y-z", "r-4-d22222", None],
)
def test_bad_names(name):
    with pytest.raises(
        InputError, match=r"No subnet of this space has that name; .*r\d+-d\d{5}. Received: " + repr(name)[:1]
    ):
        COMPOFA.parse(name)


@pytest.mark.parametrize(
    "name", ["r160-d22222-e34.34.34.34-k75.75.75.75.75", "r160-d22222-e34.34.34.34.34-k75.75.75.75.7"]
)
def test_names_with_missing_blocks(name):
    with pytest.raises(InputError, match="No subnet of this space has that name"):
        OFA.parse(name)


def test_a_name_in_another_order_is_answered_with_the_right_one():
    with pytest.raises(InputError, match=r"did you mean r192-d23423\?"):
        COMPOFA.parse("d23423-r192")


# Description


def test_description_round_trip(kind):
    space = LARGE[kind]
    again = families.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space and hash(again) == hash(space) and again.fingerprint == space.fingerprint
    assert again.slots == space.slots
    assert str(space.size) in repr(space)


def test_different_spaces_differ():
    spaces = [*LARGE.values(), families.mobilenet_v3(classes=10), families.mobilenet_v3(width_mult=1.2)]
    assert len(set(spaces)) == len({space.fingerprint for space in spaces}) == 8
    assert COMPOFA != "mobilenet_v3"


def test_the_fingerprint_is_pinned_so_that_old_tables_stay_valid():
    assert COMPOFA.fingerprint == "f5708cd4280112db"


@pytest.mark.parametrize(
    "content", [None, {}, {"family": "mobilenet_v3"}, {"settings": {}}, {"family": "x", "settings": {}}]
)
def test_bad_descriptions(content):
    with pytest.raises(InputError):
        families.from_json(content)


def test_coupling_and_kernel_are_checked():
    for field in ("coupling", "kernel"):
        with pytest.raises(InputError, match=f"{field} must be one of"):
            dataclasses.replace(COMPOFA, **{field: "other"})


# Slots, units, pieces


def test_slots_list_each_option_once(members):
    space, archs = members
    assert len({slot.name for slot in space.slots}) == len(space.slots)
    for slot in space.slots:
        assert len(set(slot.choices)) == len(slot.choices) == len(slot.options)
        assert None not in slot.options[1:]
    by_name = {slot.name: slot for slot in space.slots}
    for arch in archs:
        units = space.units(arch)
        assert all(unit in by_name[unit.name].options for unit in units)
        skipped = set(by_name) - {unit.name for unit in units}
        assert all(by_name[name].options[0] is None for name in skipped)
        assert [unit.name for unit in units] == [slot.name for slot in space.slots if slot.name not in skipped]


def test_units_fit_together(members):
    space, archs = members
    for arch in archs:
        ops = [op for op in space.ops(arch) if op.in_shape[:2] != (1, 1) and not op.name.endswith("/downsample")]
        assert ops[0].in_shape == (arch.resolution, arch.resolution, 3)
        for op, following in itertools.pairwise(ops):
            pooled = op.name.startswith("stem_out") and following.name == "stage1_block0/conv1"
            assert op.out_shape == following.in_shape or pooled


def test_pieces_add_up_to_the_network(members):
    space, archs = members
    by_key = {}
    for arch in archs:
        pieces = space.pieces(arch)
        assert tuple(unit for piece in pieces for unit in piece.units) == space.units(arch)
        ops = space.ops(arch)
        for piece in pieces:
            first = next((op for op in ops if op.name.split("/")[0] == piece.units[0].name), None)
            assert first is None or (piece.height, piece.width, piece.channels) == first.in_shape
            assert piece.key.startswith(f"{piece.height}x{piece.width}x{piece.channels}:")
            nameless = tuple(dataclasses.replace(unit, name="") for unit in piece.units)
            assert by_key.setdefault(piece.key, nameless) == nameless
    stages = space.stage_units(archs[-1])
    count = len(stages) if space.size == 243 else sum(map(len, stages))
    assert len(space.pieces(archs[-1])) == count + 1 + bool(space.stem)


def test_the_compound_space_has_few_pieces_per_resolution():
    keys = {piece.key for arch in COMPOFA.enumerate(resolutions=(224,)) for piece in COMPOFA.pieces(arch)}
    assert len(keys) == 17


def test_pieces_of_the_whole_family_are_cut_once_each():
    space = families.mobilenet_v3(classes=7)
    archs = list(space.enumerate(resolutions=range(160, 228, 4)))
    before = cut_piece.cache_info().misses
    keys = {piece.key for arch in archs for piece in space.pieces(arch)}
    assert len(archs) == 243 * 17
    assert cut_piece.cache_info().misses - before <= 17 * 17
    assert len(keys) <= 17 * 17
