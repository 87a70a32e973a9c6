"""One network, all subnets: the graph for codes against the graph of one Arch, traces, state and files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from spaces import KINDS, small_space

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.supernet import Supernet, read_arrays

ZERO = tf.UnconnectedGradients.ZERO


def images(resolution: int, count: int = 4, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=(count, resolution, resolution, 3)), tf.float32)


def randomise(net: Supernet, seed: int = 0) -> None:
    """Batch norm that does something, and matrices that are not the identity."""
    rng = np.random.default_rng(seed)
    for name, variable in net.variables_by_name.items():
        if name.endswith(("gamma", "moving_variance")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif name.endswith(("beta", "moving_mean", "bias")):
            variable.assign(0.1 * rng.normal(size=variable.shape))
        elif name.endswith(("7to5", "5to3")):
            variable.assign_add(0.1 * rng.normal(size=variable.shape))


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


def count_traces(net, **options):
    """A compiled call of a supernet and the list of its traces."""
    traces = []

    def call(x, code):
        traces.append(1)
        return net(x, code, **options)

    signature = (tf.TensorSpec([None, None, None, 3], tf.float32), tf.TensorSpec([net.space.code_size], tf.int32))
    return tf.function(call, input_signature=signature), traces


# One graph


def test_one_trace_serves_20_subnets_at_3_resolutions(net):
    """And gives what the graph of each subnet alone gives, to the rounding of float32."""
    for training in (False, True):
        compiled, traces = count_traces(net, training=training)
        for arch in some_archs(net.space, 18, resolutions=(8, 12, 16)):
            x = images(arch.resolution)
            static = net(x, arch, training=training).numpy()
            coded = compiled(x, net.space.encode(arch)).numpy()
            np.testing.assert_allclose(coded, static, rtol=0, atol=2e-5 * np.abs(static).max())
        assert len(traces) == compiled.experimental_get_tracing_count() == 1


def test_inference_function_is_traced_once_and_uses_stored_statistics(net):
    function = net.inference_function
    for arch in some_archs(net.space, 18, resolutions=(8, 12, 16)):
        for count in (1, 4):
            found = function(images(arch.resolution, count), net.space.encode(arch))
            assert found.shape == (count, net.space.classes) and found.dtype == tf.float32
    np.testing.assert_allclose(found, net(images(arch.resolution), arch), atol=1e-4)
    assert function.experimental_get_tracing_count() == 1


def test_the_published_layout_is_traced_once(published):
    space = published.space
    for arch in some_archs(space, 18, resolutions=(24, 28, 32)):
        x = images(arch.resolution, 2)
        coded = published.inference_function(x, space.encode(arch)).numpy()
        if arch.resolution == 32:
            static = published(x, arch).numpy()
            np.testing.assert_allclose(coded, static, rtol=0, atol=2e-5 * np.abs(static).max())
    assert published.inference_function.experimental_get_tracing_count() == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[1:], ids="-".join)
def test_the_large_published_spaces_are_traced_once(kind):
    kernel, coupling = kind
    settings = {"width_mult": 0.25, "input_size": 32, "classes": 10}
    net = Supernet(families.mobilenet_v3(kernel=kernel, coupling=coupling, **settings))
    for arch in some_archs(net.space, 18, resolutions=(24, 28, 32)):
        x = images(arch.resolution, 2)
        static, coded = net(x, arch).numpy(), net.inference_function(x, net.space.encode(arch)).numpy()
        np.testing.assert_allclose(coded, static, rtol=0, atol=2e-5 * np.abs(static).max())
    assert net.inference_function.experimental_get_tracing_count() == 1


def test_gradients_of_both_graphs_agree_and_touch_only_what_the_subnet_uses(net):
    variables = {name: v for name, v in net.variables_by_name.items() if v.trainable}

    def gradients(x, arch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(net(x, arch, training=True) ** 2)
        return tape.gradient(loss, [v.value for v in variables.values()], unconnected_gradients=ZERO)

    signature = (tf.TensorSpec([None, None, None, 3], tf.float32), tf.TensorSpec([net.space.code_size], tf.int32))
    compiled = tf.function(gradients, input_signature=signature)
    for arch in some_archs(net.space, 3):
        x = images(16)
        sizes = {f"{unit.name}/{k.part}": k for unit in net.space.units(arch) for k in unit.kernels}
        for name, coded, static in zip(variables, compiled(x, net.space.encode(arch)), gradients(x, arch)):
            coded, static = np.asarray(tf.convert_to_tensor(coded)), np.asarray(tf.convert_to_tensor(static))
            largest = np.abs(static).max()
            np.testing.assert_allclose(coded, static, rtol=0, atol=1e-4 * max(largest, 1e-3), err_msg=name)
            kernel = sizes.get(name.rpartition("/")[0])
            if kernel is None:
                assert not coded.any() and not static.any(), name
            elif name.endswith("/kernel") and kernel.kind == "conv":
                for found in (coded, static):
                    assert not found[:, :, kernel.in_channels :].any() and not found[..., kernel.out_channels :].any()
            elif name.endswith(("/gamma", "/beta", "/bias")):
                assert not coded[kernel.out_channels :].any() and not static[kernel.out_channels :].any(), name
            elif name.endswith("/kernel") and kernel.kind == "depthwise":
                assert not coded[:, :, kernel.out_channels :].any() and not static[:, :, kernel.out_channels :].any()


def test_training_mode_leaves_the_stored_statistics_alone(net):
    before = net.get_state()
    net(images(16), net.space.largest(16), training=True)
    net.inference_function(images(16), net.space.encode(net.space.largest(16)))
    after = net.get_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_channels_left_out_and_blocks_skipped_do_not_matter(net):
    """Noise in everything that the smallest subnet does not use must not change its output."""
    arch, x = net.space.smallest(16), images(16)
    expected, state = net(x, arch).numpy(), net.get_state()
    sizes = {f"{unit.name}/{k.part}": k for unit in net.space.units(arch) for k in unit.kernels}
    noisy = {name: value.copy() for name, value in state.items()}
    for name, value in noisy.items():
        kernel = sizes.get(name.rpartition("/")[0])
        if kernel is None:
            value += 100
        elif name.endswith("/kernel") and kernel.kind == "conv":
            value[:, :, kernel.in_channels :] += 100
            value[..., kernel.out_channels :] += 100
        elif kernel.kind != "dense" and not name.endswith(("to5", "to3")):
            value[
                (
                    ...,
                    slice(kernel.out_channels, None),
                    *[slice(None)] * (kernel.kind == "depthwise" and value.ndim > 1),
                )
            ] += 100
    net.set_state(noisy)
    found = net(x, arch).numpy()
    net.set_state(state)
    np.testing.assert_array_equal(found, expected)


def test_run_slots_in_two_parts_is_the_whole(net):
    arch, x = some_archs(net.space)[-1], images(16)
    for chosen in (arch, tf.constant(net.space.encode(arch))):
        middle = net.run_slots(x, chosen, slice(0, 3))
        np.testing.assert_allclose(net.run_slots(middle, chosen, slice(3, None)), net(x, arch), atol=1e-4)


# Bad calls


@pytest.mark.parametrize("shape", [(1, 16, 16, 1), (16, 16, 3), (1, 16, 16, 4)])
def test_images_of_another_shape_are_refused(nets, shape):
    net = nets(KINDS[0])
    with pytest.raises(InputError, match=r"Images must be \[batch, height, width, 3\]. Received: shape="):
        net(tf.zeros(shape), net.space.largest(16))


def test_archs_and_codes_of_another_space_are_refused(nets):
    net, other = nets(KINDS[0]), families.mobilenet_v3()
    with pytest.raises(InputError, match="no such member"):
        net(images(16), other.largest(16))
    for code in (other.encode(other.largest(16)), net.space.encode(net.space.largest(16)).astype(np.int64)):
        with pytest.raises(InputError, match=r"A code of this space is int32 \[4\]. Received: int"):
            net(images(16), tf.constant(code))


# Variables, state and files


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


@pytest.fixture(scope="module")
def saved(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    published.save(folder, recipe_hash="abc", labels=["a", "b"])
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def test_save_and_load(published, saved, tmp_path):
    assert sorted(path.name for path in saved.iterdir()) == ["supernet.json", "weights.npz"]
    description = json.loads((saved / "supernet.json").read_text())
    assert (description["kind"], description["recipe_hash"], description["labels"]) == ("supernet", "abc", ["a", "b"])
    net = Supernet.load(saved)
    assert net.space == published.space
    before = published.get_state()
    assert all(np.array_equal(before[name], value) for name, value in net.get_state().items())
    shutil.copytree(saved, tmp_path / "run" / "supernet")
    assert Supernet.load(tmp_path / "run").space == published.space


def test_saving_again_replaces_both_files(published, copy):
    published.save(copy, recipe_hash="new")
    assert json.loads((copy / "supernet.json").read_text())["recipe_hash"] == "new"
    assert sorted(path.name for path in copy.iterdir()) == ["supernet.json", "weights.npz"]


def test_truncated_weights_are_refused(copy):
    whole = (copy / "weights.npz").read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (copy / "weights.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"weights\.npz is (truncated|not the file)"):
            Supernet.load(copy)


def test_damaged_weights_are_refused(copy):
    """One byte changed anywhere: the archive, an array's header or its numbers."""
    whole = bytearray((copy / "weights.npz").read_bytes())
    for position in np.random.default_rng(0).integers(len(whole), size=25):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (copy / "weights.npz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"weights\.npz is (truncated|not the file)"):
            Supernet.load(copy)


def test_foreign_weights_are_refused(copy):
    np.save(copy / "array.npy", np.zeros(3))
    (copy / "array.npy").rename(copy / "weights.npz")
    with pytest.raises(InputError, match=r"weights\.npz is truncated or not a weights file"):
        Supernet.load(copy)
    np.savez(copy / "weights.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"weights\.npz is truncated or not a weights file"):
        read_arrays(copy / "weights.npz")
    np.savez(copy / "weights.npz", x=np.zeros(3))
    with pytest.raises(InputError, match=r"weights\.npz is not the file that .*supernet\.json describes"):
        Supernet.load(copy)


def test_weights_of_another_space_are_refused(copy):
    description = json.loads((copy / "supernet.json").read_text())
    description["space"]["settings"]["classes"] = 12
    (copy / "supernet.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"do not fit the space .*classifier/dense/bias \(10,\) instead of \(12,\)"):
        Supernet.load(copy)


def test_missing_files_are_named(copy, tmp_path):
    with pytest.raises(InputError, match=r"no trained supernet in .*nowhere; run `compofa train`"):
        Supernet.load(tmp_path / "nowhere")
    (copy / "weights.npz").unlink()
    with pytest.raises(InputError, match=r"weights\.npz does not exist"):
        Supernet.load(copy)
    (copy / "supernet.json").write_text(json.dumps({"kind": "supernet", "schema_version": 1}))
    np.savez(copy / "weights.npz", x=np.zeros(3))
    with pytest.raises(InputError):
        Supernet.load(copy)


def test_summary_prints(published, capsys):
    published.summary()
    assert "stage5_block3" in capsys.readouterr().out
