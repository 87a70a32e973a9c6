"""Channel sorting: the numbers of the original code, and what must hold in any space."""

from __future__ import annotations

import json

import numpy as np
import pytest
from spaces import images, randomise, small_space

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.nets.channels import channel_order, sort_channels
from compofa_tf.nets.supernet import Supernet

MOVED = ("expand", "depth", "restore", "reduce", "project")


@pytest.fixture(scope="module")
def small():
    net = Supernet(small_space("elastic", "independent"), seed=4)
    randomise(net)
    return net, net.get_state()


def columns(state: dict, name: str) -> np.ndarray:
    """One row per middle channel of a block: everything that belongs to the channel, whatever its place."""
    taken = [state[f"{name}/expand/kernel"][0, 0].T, state[f"{name}/project/kernel"][0, 0]]
    taken.append(np.moveaxis(state[f"{name}/depth/kernel"], 2, 0).reshape(len(taken[0]), -1))
    for part in ("expand", "depth"):
        vectors = ("gamma", "beta", "moving_mean", "moving_variance")
        taken += [state[f"{name}/{part}/{vector}"][:, None] for vector in vectors]
    if f"{name}/restore/bias" in state:
        taken.append(state[f"{name}/restore/bias"][:, None])
    return np.concatenate(taken, 1)


@pytest.mark.parametrize("skipped", [0, 1])
def test_largest_subnet_computes_what_it_did_and_narrower_ones_do_not(small, skipped):
    net, before = small
    space, x = net.space, images(16)
    narrow = space.arch(depths=2, expands=2, kernels=3, resolution=16)
    net.set_state(before)
    largest, other = (net(x, arch).numpy() for arch in (space.largest(16), narrow))
    net.set_state(sort_channels(space, before, skipped=skipped))
    # The same sums in another order, in float32.
    np.testing.assert_allclose(net(x, space.largest(16)), largest, atol=1e-5 * np.abs(largest).max())
    assert np.abs(net(x, narrow).numpy() - other).max() > 1e-3 * np.abs(other).max()
    net.set_state(before)


@pytest.mark.parametrize("skipped", [0, 1])
def test_channels_move_as_a_whole_and_nothing_else_changes(small, skipped):
    net, before = small
    after = sort_channels(net.space, before, skipped=skipped)
    assert after.keys() == before.keys()
    names = [slot.name for slot in net.space.stage_slots]
    for name in names:
        old, new = columns(before, name), columns(after, name)
        assert not np.array_equal(old, new)
        np.testing.assert_array_equal(old[np.lexsort(old.T)], new[np.lexsort(new.T)])
        gate = before.get(f"{name}/reduce/kernel")
        if gate is not None:
            for part, axis in (("reduce/kernel", 3), ("restore/kernel", 2)):
                rows = [np.moveaxis(state[f"{name}/{part}"], axis, 0) for state in (before, after)]
                totals = [np.sort(np.abs(array).sum((1, 2, 3))) for array in rows]
                np.testing.assert_allclose(*totals, rtol=1e-5)
    for key in before:
        unit, part, _ = key.split("/")
        if unit not in names or part not in MOVED or key.endswith(("7to5", "5to3")):
            np.testing.assert_array_equal(after[key], before[key], err_msg=key)


def test_importance_falls_and_sorting_again_changes_nothing(small):
    net, before = small
    once = sort_channels(net.space, before)
    for slot in net.space.stage_slots:
        importance = np.abs(once[f"{slot.name}/project/kernel"]).sum((0, 1, 3))
        assert np.all(np.diff(importance) <= 1e-6 * importance.max())
    again = sort_channels(net.space, once)
    assert all(np.array_equal(again[key], once[key]) for key in once)


def test_what_is_beyond_the_skipped_widths_keeps_its_order():
    project = np.array([1.0, 5.0, 2.0, 2.0, 9.0, 7.0])[None, None, :, None] * np.ones([1, 1, 6, 2])
    assert channel_order(project, (6, 4, 2)).tolist() == [4, 5, 1, 2, 3, 0]
    assert channel_order(-project, (6, 4, 2), skipped=1).tolist() == [1, 2, 3, 0, 4, 5]
    assert channel_order(project, (6, 4, 2), skipped=2).tolist() == [1, 0, 2, 3, 4, 5]


def test_a_family_without_inverted_bottlenecks_is_refused():
    space = families.resnet50()
    with pytest.raises(InputError, match=r"Only the middle channels of inverted bottlenecks.*resnet50"):
        sort_channels(space, {})


@pytest.mark.parametrize("skipped", [-1, 2, True, 0.5])
def test_more_than_the_space_has_cannot_be_skipped(small, skipped):
    net, before = small
    with pytest.raises(InputError, match=r"can skip 0 to 1 of the largest.*Received: skipped="):
        sort_channels(net.space, before, skipped=skipped)


def published_orders(reference):
    wanted = np.load(reference / "reorganize.expected.npz")
    return wanted, json.loads((reference / "reorganize.expected.json").read_text())["settings"]


@pytest.fixture(scope="module")
def published(reference):
    torch = pytest.importorskip("torch", reason="needs torch (the extra [torch]) to read the reference checkpoints")
    from compofa_tf.published.torch_names import state_from_torch

    tensors = torch.load(reference / "compofa.pth", map_location="cpu", weights_only=True)["state_dict"]
    space = families.mobilenet_v3()
    return Supernet(space), state_from_torch(space, {key: value.numpy() for key, value in tensors.items()})


def test_orders_and_weights_of_the_original(published, reference):
    net, before = published
    wanted, _ = published_orders(reference)
    after = sort_channels(net.space, before)
    orders = sorted(key for key in wanted if "perm_block" in key)
    assert len(orders) == len(net.space.stage_slots) == 20
    for key, slot in zip(orders, net.space.stage_slots):
        project = before[f"{slot.name}/project/kernel"]
        found = channel_order(project, (project.shape[2],))
        np.testing.assert_array_equal(found, wanted[key], err_msg=key)
        np.testing.assert_array_equal(after[f"{slot.name}/project/kernel"], project[:, :, wanted[key]])
    for key, name in (
        ("stage0_block1_point_linear", "stage1_block0/project/kernel"),
        ("stage0_block6_point_linear", "stage2_block1/project/kernel"),
    ):
        np.testing.assert_array_equal(after[name].transpose(3, 2, 0, 1), wanted[key], err_msg=key)
    np.testing.assert_array_equal(after["stage2_block1/reduce/bias"], wanted["stage0_block6_se_reduce_bias"])


@pytest.mark.parametrize("skipped", [None, 0, 1, 2])
def test_logits_of_the_original(published, reference, skipped):
    """1e-4 of the largest |logit|, as for every logit here; a wrong order changes them by tenths of it."""
    net, before = published
    wanted, settings = published_orders(reference)
    x = np.load(reference / "inputs.npz")["x128"].astype(np.float32)
    net.set_state(before if skipped is None else sort_channels(net.space, before, skipped=skipped))
    for name, chosen in settings.items():
        expected = wanted[f"before_{name}" if skipped is None else f"after_stage{skipped}_{name}"]
        arch = net.space.arch(depths=chosen["d"], expands=chosen["e"], resolution=128)
        np.testing.assert_allclose(net(x, arch), expected, rtol=0, atol=1e-4 * np.abs(expected).max(), err_msg=name)
