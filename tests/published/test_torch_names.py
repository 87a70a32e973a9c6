"""From the names and axes of the PyTorch checkpoints to ours, on made-up weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
from spaces import KINDS, small_space

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.published.recognition import recognise
from compofa_tf.published.torch_names import plain, state_from_torch

SPACES = {kind: families.mobilenet_v3(kernel=kind[0], coupling=kind[1]) for kind in KINDS if kind[0] != "residual"}


def shapes(space) -> dict[str, tuple[int, ...]]:
    """Every variable of a supernet and its shape, from the description alone."""
    found: dict[str, tuple[int, ...]] = {}
    for slot in space.slots:
        for unit in filter(None, slot.options):
            for part in unit.parts:
                name, side, channels = f"{slot.name}/{part.name}", part.kernel_size, (part.out_channels,)
                kernel = {
                    "conv": (side, side, part.in_channels, part.out_channels),
                    "depthwise": (side, side, part.out_channels, 1),
                    "dense": (part.in_channels, part.out_channels),
                }[part.kind]
                own = {"kernel": kernel, **({"bias": channels} if part.bias else {})}
                if part.norm:
                    own.update(dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), channels))
                for tensor, shape in own.items():
                    old = found.get(f"{name}/{tensor}", shape)
                    found[f"{name}/{tensor}"] = tuple(map(max, shape, old))
                if part.kind == "depthwise" and space.kernel == "elastic" and slot.elastic:
                    found.update({f"{name}/7to5": (25, 25), f"{name}/5to3": (9, 9)})
    return found


def torch_tensors(keys: list[tuple[str, list[int], str]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {key: rng.normal(size=shape).astype(np.float32) for key, shape, _ in keys}


@pytest.fixture(params=["compofa", "compofa-elastic"])
def published(request, reference):
    keys = json.loads((reference / f"{request.param}.keys.json").read_text())
    kernel = "elastic" if request.param.endswith("elastic") else "fixed"
    return torch_tensors(keys), SPACES[kernel, "compound"], SPACES[kernel, "independent"]


def test_every_published_tensor_is_used_once(published):
    tensors, compound, independent = published
    state = state_from_torch(compound, tensors)
    assert {name: value.shape for name, value in state.items()} == shapes(compound)
    assert {name: value.shape for name, value in state_from_torch(independent, tensors).items()} == shapes(independent)
    wanted = [value for key, value in tensors.items() if not key.endswith("num_batches_tracked")]
    assert len(state) == len(wanted)
    centre = sum(
        float(np.sum(v[:, :, 3 - h : 4 + h, 3 - h : 4 + h], dtype=np.float64)) for v, h in seven(tensors, compound)
    )
    others = sum(float(np.sum(v, dtype=np.float64)) for v in wanted if v.shape[2:] != (7, 7))
    assert sum(float(np.sum(v, dtype=np.float64)) for v in state.values()) == pytest.approx(centre + others, abs=1e-2)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ofa_resnet50", {}),
        ("ofa_resnet50_small", {"width_mult": 0.25, "widths": (0.6, 0.8, 1.0), "classes": 100}),
    ],
)
def test_every_tensor_of_a_resnet_is_used_once_and_tells_the_space(reference, name, settings):
    keys = json.loads((reference / f"{name}.keys.json").read_text())
    tensors = {plain(key): np.zeros(shape, np.float32) for key, shape, _ in keys if not key.endswith("_tracked")}
    space = families.resnet50(coupling="independent", **settings)
    assert recognise(tensors) == space
    state = state_from_torch(space, tensors)
    assert {key: value.shape for key, value in state.items()} == shapes(space)
    assert len(state) == len(tensors)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("input_stem.1.conv.conv.conv.weight", "input_stem.1.conv.weight"),
        ("input_stem.1.conv.conv.weight", "input_stem.1.conv.weight"),
        ("input_stem.1.conv.bn.bn.weight", "input_stem.1.conv.bn.weight"),
        ("classifier.linear.linear.bias", "classifier.linear.bias"),
        ("blocks.0.conv1.conv.conv.weight", "blocks.0.conv1.conv.weight"),
    ],
)
def test_doubled_names_and_plain_ones_become_the_same(key, expected):
    assert plain(key) == plain(plain(key)) == expected


def seven(tensors, space):
    """The 7 x 7 kernels, each with half the side that is kept."""
    sides = [stage.kernel // 2 if space.kernel == "fixed" else 3 for stage in space.stages for _ in range(4)]
    return zip([value for value in tensors.values() if value.shape[2:] == (7, 7)], sides, strict=True)


def test_axes_and_block_numbers(published):
    tensors, space, _ = published
    state = state_from_torch(space, tensors)
    block = "blocks.6.mobile_inverted_conv."
    expand = tensors[block + "inverted_bottleneck.conv.conv.weight"]
    assert np.array_equal(state["stage2_block1/expand/kernel"][0, 0], expand[:, :, 0, 0].T)
    depth = tensors[block + "depth_conv.conv.conv.weight"]
    side = len(state["stage2_block1/depth/kernel"])
    cut = slice((7 - side) // 2, (7 + side) // 2)
    assert np.array_equal(state["stage2_block1/depth/kernel"][:, :, 5, 0], depth[5, 0, cut, cut])
    assert np.array_equal(state["stage2_block1/reduce/bias"], tensors[block + "depth_conv.se.fc.reduce.bias"])
    assert np.array_equal(
        state["stage2_block1/project/moving_variance"], tensors[block + "point_linear.bn.bn.running_var"]
    )
    assert np.array_equal(state["classifier/dense/kernel"], tensors["classifier.linear.weight"].T)
    stem = tensors["first_conv.conv.weight"]
    assert np.array_equal(state["stem/conv/kernel"][1, 2, 0], stem[:, 0, 1, 2])
    first = tensors["blocks.0.mobile_inverted_conv.depth_conv.conv.weight"]
    assert np.array_equal(state["first/depth/kernel"][:, :, 3, 0], first[3, 0])


def test_plain_and_doubled_keys_give_the_same(published):
    tensors, space, _ = published
    renamed = {plain(key): value for key, value in tensors.items()}
    assert not any(f".{word}.{word}." in key for key in renamed for word in ("conv", "bn", "linear"))
    first, second = state_from_torch(space, tensors), state_from_torch(space, renamed)
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.conv.conv.weight", "a.conv.weight"),
        ("a.bn.bn.running_mean", "a.bn.running_mean"),
        ("classifier.linear.linear.bias", "classifier.linear.bias"),
        ("a.depth_conv.conv.weight", "a.depth_conv.conv.weight"),
        ("a.conv.7to5_matrix", "a.conv.7to5_matrix"),
    ],
)
def test_plain(key, expected):
    assert plain(key) == expected


def test_a_missing_tensor_is_named(published):
    tensors, space, _ = published
    for key in ("final_expand_layer.conv.weight", "blocks.20.mobile_inverted_conv.point_linear.bn.bn.running_var"):
        rest = {name: value for name, value in tensors.items() if name != key}
        with pytest.raises(
            InputError, match="The checkpoint lacks " + plain(key).replace(".", r"\.") + "; it is truncated"
        ):
            state_from_torch(space, rest)


def test_a_checkpoint_without_matrices_does_not_fit_elastic_kernels(reference):
    keys = json.loads((reference / "compofa.keys.json").read_text())
    with pytest.raises(InputError, match=r"lacks blocks\.1\.mobile_inverted_conv\.depth_conv\.conv\.7to5_matrix"):
        state_from_torch(SPACES["elastic", "compound"], torch_tensors(keys))


def test_nothing_is_read_from_an_empty_checkpoint():
    with pytest.raises(InputError, match=r"The checkpoint lacks blocks\.0\.\* \(\d+ tensors\), .* and \d+ more"):
        state_from_torch(SPACES["fixed", "compound"], {})
    with pytest.raises(InputError, match=r"Published names are known of mobilenet_v3, .*family='small'"):
        state_from_torch(small_space(), {})
