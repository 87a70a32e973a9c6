"""Numbers of the authors' PyTorch code: logits, per-block traces, batch-norm statistics.

Bounds are 1e-4 of the largest |logit|. float32 against float64 in PyTorch differs by 4e-6 of it, and about as much is
found between the two frameworks; a wrong padding, crop, rounding, epsilon or activation is off by far more than 1e-2.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from compofa_tf import families
from compofa_tf.nets import subnet
from compofa_tf.nets.supernet import Supernet
from compofa_tf.published.torch_names import state_from_torch

torch = pytest.importorskip("torch", reason="needs torch (the extra [torch]) to read the reference checkpoints")

ELASTIC = {"kernel": "elastic"}
OFA = {"kernel": "elastic", "coupling": "independent"}
NETS = {
    "compofa": ("compofa.pth", {}),
    "compofa-elastic": ("compofa-elastic.fp16.pth", ELASTIC),
    "ofa_mbv3_d234_e346_k357_w1.0": ("compofa-elastic.fp16.pth", OFA),
    "ofa_proxyless_d234_e346_k357_w1.3": (
        "ofa_proxyless_d234_e346_k357_w1.3.fp16.pth",
        {"family": "proxyless_nas", **OFA},
    ),
    "ofa_resnet50_small": (
        "ofa_resnet50_small.fp16.pth",
        {
            "family": "resnet50",
            "coupling": "independent",
            "width_mult": 0.25,
            "widths": (0.6, 0.8, 1.0),
            "classes": 100,
        },
    ),
}
CASES = ("00", "01", "02", "04", "05", "07", "11")


@functools.lru_cache(maxsize=1)
def load(folder: Path, checkpoint: str, settings: tuple[tuple[str, str], ...]) -> Supernet:
    """One network at a time: the tests come net by net."""
    tensors = torch.load(folder / checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    chosen = dict(settings)
    net = Supernet(families.get(chosen.pop("family", "mobilenet_v3"), **chosen))
    net.set_state(state_from_torch(net.space, {key: value.float().numpy() for key, value in tensors.items()}))
    return net


def expected(folder: Path, net: str, index: str) -> dict:
    return next(case for case in read(folder, net)["cases"] if case["index"] == index)


def read(folder: Path, net: str) -> dict:
    return json.loads((folder / f"{net}.expected.json").read_text())


def arch_of(space, case: dict):
    settings = case["settings"]
    names = {"depths": "d", "expands": "e", "kernels": "ks", "widths": "w"}
    return space.arch(**{name: settings.get(key) for name, key in names.items()}, resolution=case["resolution"])


def images(folder: Path, resolution: int) -> np.ndarray:
    return np.load(folder / "inputs.npz")[f"x{resolution}"].astype(np.float32)


def assert_logits(found, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("index", CASES)
@pytest.mark.parametrize("name", NETS)
def test_logits_of_every_case(reference, name, index):
    """Through the supernet; the extracted model agrees with it (test_subnet.py), and here once per compound net."""
    checkpoint, settings = NETS[name]
    net = load(reference, checkpoint, tuple(settings.items()))
    case = expected(reference, name, index)
    arch, x = arch_of(net.space, case), images(reference, case["resolution"])
    wanted = np.load(reference / f"{name}.logits.npz")[index]
    logits = np.asarray(net(x, arch))
    assert_logits(logits, wanted)
    assert logits.argmax(1).tolist() == case["argmax"]
    if index == "05" and (net.space.coupling == "compound" or name == "ofa_resnet50_small"):
        assert_logits(subnet.extract(net, arch)(x, training=False), wanted)


def test_the_table_has_every_case(reference):
    for name in NETS:
        assert tuple(case["index"] for case in read(reference, name)["cases"]) == CASES


@pytest.mark.parametrize("index", ["00", "01"])
def test_block_by_block(reference, index):
    """Where a difference begins: the map after every block, by its statistics and four values at its centre."""
    net = load(reference, "compofa.pth", ())
    arch = arch_of(net.space, expected(reference, "compofa", index))
    traces = read(reference, "compofa")["block_traces"][index]
    names = [unit.name for unit in net.space.units(arch) if hasattr(unit, "middle")]
    assert len(names) == len(traces)
    x = images(reference, arch.resolution)
    slots = [slot.name for slot in net.space.slots]
    done = 0
    for name, trace in zip(names, traces):
        until = slots.index(name) + 1
        x, done = net.run_slots(x, arch, slice(done, until)), until
        found = np.asarray(x)
        assert list(found.transpose(0, 3, 1, 2).shape) == trace["shape_nchw"], name
        assert found.mean() == pytest.approx(trace["mean"], abs=1e-4 * trace["std"]), name
        assert found.std() == pytest.approx(trace["std"], rel=1e-4), name
        centre = found[0, found.shape[1] // 2, found.shape[2] // 2, :4]
        np.testing.assert_allclose(
            centre, trace["first_channels_centre"], rtol=0, atol=2e-4 * trace["std"], err_msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_logits_through_the_graph_for_all_subnets(reference, name):
    checkpoint, settings = NETS[name]
    net = load(reference, checkpoint, tuple(settings.items()))
    for index in CASES:
        case = expected(reference, name, index)
        arch, x = arch_of(net.space, case), images(reference, case["resolution"])
        found = net.inference_function(x, net.space.encode(arch))
        assert_logits(found, np.load(reference / f"{name}.logits.npz")[index])
    assert net.inference_function.experimental_get_tracing_count() == 1


def test_matrices_of_a_fixed_kernel_checkpoint_can_be_dropped(reference):
    """Then the file is the one without them."""
    tensors = {}
    for checkpoint in ("compofa.pth", "compofa_with_matrices.fp16.pth"):
        found = torch.load(reference / checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        tensors[checkpoint] = {key: value.float().numpy() for key, value in found.items()}
    plain, extra = (state_from_torch(families.mobilenet_v3(), found) for found in tensors.values())
    assert plain.keys() == extra.keys()
    assert all(np.array_equal(plain[name], extra[name]) for name in plain)


@pytest.mark.parametrize(
    "index", ["05", *(pytest.param(index, marks=pytest.mark.slow) for index in ("00", "01", "07"))]
)
def test_matrices_of_a_fixed_kernel_checkpoint_can_be_applied(reference, index):
    """In the elastic space, with the kernel sizes that the fixed space has."""
    case = expected(reference, "compofa", index)
    net = load(reference, "compofa_with_matrices.fp16.pth", tuple(ELASTIC.items()))
    arch = net.space.arch(
        depths=case["settings"]["d"], kernels=case["kernel_sizes_in_effect"], resolution=case["resolution"]
    )
    wanted = np.load(reference / "compofa_with_matrices.logits.npz")[f"{index}_matrices_applied"]
    assert_logits(net(images(reference, arch.resolution), arch), wanted)


def test_calibration_as_in_the_reference(reference):
    """Two batches of 16: the average of their statistics, and the logits that follow from it.

    Logits after a calibration differ by 2e-5 between float32 and float64 in PyTorch already, at a standard deviation of
    0.6: batch norm with the statistics of few pixels magnifies rounding.
    """
    load.cache_clear()
    net = load(reference, "compofa.pth", ())
    load.cache_clear()
    facts = read(reference, "bn_recalibration")
    wanted = np.load(reference / "bn_recalibration.expected.npz")
    batches = np.load(reference / "bn_recalibration_images.npz")["x"].astype(np.float32)
    arch, x = arch_of(net.space, facts), images(reference, 128)
    before = net.get_state()
    assert_logits(net(x, arch), wanted["logits_before"])
    assert subnet.calibrate(net, arch, batches, batch_size=facts["batch_size"]) == 32
    assert_logits(net(x, arch), wanted["logits_after"])
    after = net.get_state()

    kept = [unit.name for unit in net.space.units(arch) if hasattr(unit, "middle")]
    names = published_names(kept)
    assert set(names) == {key for key in wanted if "running" in key}
    for key, name in names.items():
        found = after[name][: len(wanted[key])]
        np.testing.assert_allclose(found, wanted[key], rtol=1e-3, atol=2e-4 * np.abs(wanted[key]).max(), err_msg=key)

    full = published_names([slot.name for slot in net.space.slots if slot.name.startswith(("first", "stage"))])
    moved = {key: [int(np.sum(after[name] != before[name])), after[name].size] for key, name in full.items()}
    changed = {key.replace(".bn.bn.", ".bn."): counts for key, counts in facts["supernet_entries_changed"].items()}
    assert changed == {key: counts for key, counts in moved.items() if key in changed}
    others = [name for name in before if not name.endswith(("moving_mean", "moving_variance"))]
    assert all(np.array_equal(before[name], after[name]) for name in others)


def published_names(blocks: list[str]) -> dict[str, str]:
    """Published name of each running statistic of a network with these blocks, and ours."""
    parts = {"expand": "inverted_bottleneck", "depth": "depth_conv", "project": "point_linear"}
    layers = {"first_conv": "stem/conv"}
    for number, block in enumerate(blocks):
        for ours, theirs in parts.items():
            if (block, ours) != ("first", "expand"):
                layers[f"blocks.{number}.mobile_inverted_conv.{theirs}"] = f"{block}/{ours}"
    layers["final_expand_layer"] = "head_expand/conv"
    fields = {"running_mean": "moving_mean", "running_var": "moving_variance"}
    return {f"{key}.bn.{f}": f"{name}/{ours}" for key, name in layers.items() for f, ours in fields.items()}
