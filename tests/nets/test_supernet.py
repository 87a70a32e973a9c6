"""One network, all subnets: the graph for codes against the graph of one Arch, traces, variables and state."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
from spaces import KINDS, images, randomise, small_space

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.nets.supernet import Supernet

ZERO = tf.UnconnectedGradients.ZERO


@pytest.fixture(scope="module")
def nets():
    """A supernet of each kind, made on first use."""
    made = {}

    def get(kind) -> Supernet:
        if kind not in made:
            made[kind] = Supernet(small_space(*kind))
            randomise(made[kind])
        return made[kind]

    return get


@pytest.fixture(params=KINDS, ids="-".join)
def net(request, nets):
    return nets(request.param)


@pytest.fixture(scope="module")
def published():
    """The real layout at a quarter of the width."""
    return Supernet(families.mobilenet_v3(width_mult=0.25, input_size=32, classes=10))


def some_archs(space, count=4, resolutions=(16,)):
    rng = np.random.default_rng(3)
    ends = [space.smallest(resolutions[0]), space.largest(resolutions[-1])]
    return [*ends, *(space.sample(rng, resolutions=resolutions) for _ in range(count))]


def signature(net):
    return tf.TensorSpec([None, None, None, 3], tf.float32), tf.TensorSpec([net.space.code_size], tf.int32)


def assert_close(found, expected, bound: float = 2e-5) -> None:
    """Rounding of float32 sums in another order, as a share of the largest value."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound * np.abs(expected).max())


def test_one_trace_serves_20_subnets_at_3_resolutions(net):
    """And gives what the graph of each subnet alone gives."""
    function = net.inference_function
    for number, arch in enumerate(some_archs(net.space, 18, resolutions=(8, 12, 16))):
        x = images(arch.resolution, count=1 + number % 3)
        coded = function(x, net.space.encode(arch))
        assert coded.shape == (len(x), net.space.classes) and coded.dtype == tf.float32
        if number < 6:
            assert_close(coded, net(x, arch))
    assert net.trace_count == 1


def test_the_trace_count_starts_at_0_and_stays_at_1_for_20_subnets():
    net = Supernet(small_space("elastic", "compound"))
    assert net.trace_count == 0
    archs = some_archs(net.space, 40, resolutions=(8, 12, 16))
    assert len(set(archs)) >= 20
    for arch in archs:
        net.inference_function(images(arch.resolution, count=1), net.space.encode(arch))
    assert net.trace_count == 1


@pytest.mark.parametrize("kind", [KINDS[0], pytest.param(KINDS[3], marks=pytest.mark.slow)], ids="-".join)
def test_training_needs_one_trace_too_and_gradients_agree(nets, kind):
    """Logits and gradients of both graphs are equal, and exactly 0 in what the subnet does not use."""
    net, traces = nets(kind), []
    variables = {name: v for name, v in net.variables_by_name.items() if v.trainable}

    def step(x, arch):
        traces.append(1)
        with tf.GradientTape() as tape:
            logits = net(x, arch, training=True)
            loss = tf.reduce_sum(logits**2)
        return logits, tape.gradient(loss, [v.value for v in variables.values()], unconnected_gradients=ZERO)

    compiled = tf.function(step, input_signature=signature(net), autograph=False)
    for number, arch in enumerate(some_archs(net.space, 18, resolutions=(8, 12, 16))):
        x = images(arch.resolution)
        coded = compiled(x, net.space.encode(arch))
        assert len(traces) == 1 + min(number, 3)
        if number < 3:
            static = step(x, arch)
            assert_close(coded[0], static[0])
            parts = parts_of(net.space, arch)
            for name, *gradients in zip(variables, coded[1], static[1]):
                found, expected = (np.asarray(tf.convert_to_tensor(gradient)) for gradient in gradients)
                atol = 1e-4 * max(np.abs(expected).max(), 1e-3)
                np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=name)
                for gradient in (found, expected):
                    mask = idle(gradient.shape, name, parts.get(name.rpartition("/")[0]))
                    assert not gradient[mask].any(), name


def idle(shape: tuple[int, ...], name: str, part) -> np.ndarray:
    """Where a tensor lies outside the leading channels of the part it belongs to; everywhere without one."""
    mask = np.ones(shape, bool)
    if part is None:
        return mask
    if name.endswith("/kernel") and part.kind == "depthwise":
        mask[:, :, : part.out_channels] = False
    elif name.endswith("/kernel"):
        mask[..., : part.in_channels, : part.out_channels] = False
    elif name.endswith(("to5", "to3")):
        mask[:] = False
    else:
        mask[: part.out_channels] = False
    return mask


def parts_of(space, arch) -> dict:
    return {f"{unit.name}/{part.name}": part for unit in space.units(arch) for part in unit.parts}


def test_the_published_layout_is_traced_once(published):
    space = published.space
    for arch in some_archs(space, 18, resolutions=(24, 28, 32)):
        x = images(arch.resolution, 2)
        coded = published.inference_function(x, space.encode(arch))
        if arch.depths in ((2,) * 5, (4,) * 5):
            assert_close(coded, published(x, arch))
    assert published.trace_count == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[1:], ids="-".join)
def test_the_large_published_spaces_are_traced_once(kind):
    kernel, coupling = kind
    settings = {"width_mult": 0.25, "input_size": 32, "classes": 10}
    if kernel == "residual":
        net = Supernet(families.resnet50(coupling=coupling, **settings))
    else:
        net = Supernet(families.mobilenet_v3(kernel=kernel, coupling=coupling, **settings))
    for arch in some_archs(net.space, 18, resolutions=(24, 28, 32)):
        x = images(arch.resolution, 2)
        assert_close(net.inference_function(x, net.space.encode(arch)), net(x, arch))
    assert net.trace_count == 1


def test_training_mode_leaves_the_stored_statistics_alone(net):
    before = net.get_state()
    for training in (True, False):
        net(images(16), net.space.largest(16), training=training)
    after = net.get_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_what_a_subnet_does_not_use_does_not_matter(net):
    arch, x = net.space.smallest(16), images(16)
    expected, state = net(x, arch).numpy(), net.get_state()
    parts = parts_of(net.space, arch)
    masks = {name: idle(value.shape, name, parts.get(name.rpartition("/")[0])) for name, value in state.items()}
    assert any(mask.any() and not mask.all() for mask in masks.values())
    noisy = {name: value + 100 * masks[name] for name, value in state.items()}
    net.set_state(noisy)
    found = net(x, arch).numpy()
    net.set_state(state)
    np.testing.assert_array_equal(found, expected)


def test_run_slots_in_two_parts_is_the_whole(net):
    arch, x = some_archs(net.space)[-1], images(16)
    for chosen in (arch, tf.constant(net.space.encode(arch))):
        middle = net.run_slots(x, chosen, slice(0, 3))
        np.testing.assert_allclose(net.run_slots(middle, chosen, slice(3, None)), net(x, arch), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 16, 16, 1), (16, 16, 3), (1, 16, 16, 4)])
def test_images_of_another_shape_are_refused(nets, shape):
    net = nets(KINDS[0])
    message = rf"^Images must be \[batch, height, width, 3\]\. Received: shape={re.escape(str(shape))}$"
    for zeros in (tf.zeros(shape), np.zeros(shape, np.float32)):
        with pytest.raises(InputError, match=message):
            net(zeros, net.space.largest(16))


def test_archs_and_codes_of_another_space_are_refused(nets):
    net, other = nets(KINDS[0]), families.mobilenet_v3()
    with pytest.raises(InputError, match=r"^The space .* has no such subnet"):
        net(images(16), other.largest(16))
    for code in (other.encode(other.largest(16)), net.space.encode(net.space.largest(16)).astype(np.int64)):
        with pytest.raises(InputError, match=r"^A code of this space is int32 \[5\]\. Received: int\d\d \(\d+,\)$"):
            net(images(16), tf.constant(code))


def test_every_variable_has_one_stable_name(net):
    names = net.variables_by_name
    assert {id(v) for v in names.values()} == {id(v) for v in net.weights}
    trainable = {id(v) for v in net.trainable_variables}
    moving = {name for name in names if name.endswith(("moving_mean", "moving_variance"))}
    assert {name for name, v in names.items() if id(v) not in trainable} == moving
    decayed = {id(v) for v in net.kernel_variables}
    matrices = ("kernel", "7to5", "5to3")
    assert {name for name, v in names.items() if id(v) in decayed} == {n for n in names if n.endswith(matrices)}


def test_seeds_decide_the_initial_weights():
    first, same, other = (Supernet(small_space(), seed=seed).get_state() for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert all(not np.array_equal(first[name], other[name]) for name in first if name.endswith("kernel"))


def test_state_is_a_copy_and_a_round_trip(nets):
    net, other = nets(KINDS[3]), Supernet(small_space(*KINDS[3]), seed=5)
    state = net.get_state()
    other.set_state(state)
    arch, x = net.space.largest(16), images(16)
    np.testing.assert_array_equal(net(x, arch), other(x, arch))
    state["stem/conv/kernel"][:] = 0
    assert np.array(net.variables_by_name["stem/conv/kernel"]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("stem/conv/kernel"), r"stem/conv/kernel are missing\.$"),
        (lambda s: s.update(extra=np.zeros(3)), r"extra are not of this space\.$"),
        (
            lambda s: s.update({"stem/conv/gamma": np.zeros(3)}),
            r"stem/conv/gamma \(3,\) instead of \(8,\) have another",
        ),
        (lambda s: s.update({"stem/conv/gamma": np.array(["x"] * 8)}), r"stem/conv/gamma are not numbers\.$"),
        (lambda s: [s.pop(name) for name in list(s)[:9]], r" and 4 more are missing\.$"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(nets, change, message):
    net = nets(KINDS[0])
    before = net.get_state()
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    with pytest.raises(InputError, match=message):
        net.set_state(state)
    assert all(np.array_equal(before[name], value) for name, value in net.get_state().items())


def test_summary_prints(published, capsys):
    published.summary()
    assert "stage5_block3" in capsys.readouterr().out
