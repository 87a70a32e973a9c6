"""PyTorch checkpoints for tests: the reference's, and small ones made here."""

from __future__ import annotations

import json

import numpy as np
import pytest

import compofa_tf as ct
from compofa_tf import families
from compofa_tf.published.torch_files import read_checkpoint
from compofa_tf.published.torch_names import COUNTER, published_tensors

torch = pytest.importorskip("torch", reason="needs torch (the extra [torch])")


def read_json(path):
    return json.loads(path.read_text())


def logits_of(reference, net, name, index, arch, key=None):
    x = np.load(reference / "inputs.npz")[f"x{arch.resolution}"].astype(np.float32)
    wanted = np.load(reference / f"{name}.logits.npz")[key or index]
    np.testing.assert_allclose(net(x, arch), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def case_of(reference, name, index):
    return next(case for case in read_json(reference / f"{name}.expected.json")["cases"] if case["index"] == index)


def saved(state, folder):
    torch.save(state, folder / "x.pth")
    return folder / "x.pth"


def small_state(*, doubled=False):
    """A narrow MobileNetV3, and its tensors under the published names: 7 x 7 kernels in the stages, batch counters."""
    net = ct.Supernet(families.mobilenet_v3(width_mult=0.25, classes=10))
    weights = net.get_state()
    state = {}
    for tensor in published_tensors(net.space, largest_kernels=True):
        value = weights[tensor.name].transpose(np.argsort(tensor.axes))
        margins = [((wanted - found) // 2,) * 2 for wanted, found in zip(tensor.shape, value.shape)]
        key = doubled_key(tensor.key) if doubled else tensor.key
        state[key] = torch.from_numpy(np.pad(value, margins))
        if key.endswith("running_mean"):
            state[key.replace("running_mean", COUNTER)] = torch.zeros([], dtype=torch.int64)
    return net, state


def doubled_key(key):
    """The key of an elastic layer: all but those of the first block and of squeeze-and-excite."""
    if not key.startswith("blocks.") or key.startswith("blocks.0.") or ".se." in key:
        return key
    return key.replace(".conv.weight", ".conv.conv.weight").replace(".bn.", ".bn.bn.")


def torch_tensors_of(space):
    """A checkpoint of a space, without matrices for fixed kernels."""
    return {tensor.key: torch.rand(tensor.shape) for tensor in published_tensors(space)}


def static_state(reference):
    """The extracted subnet, rebuilt: its tensors are leading slices of the supernet's."""
    whole = read_checkpoint(reference / "compofa.pth")
    config = read_json(reference / "compofa_static_subnet_05.config.json")
    keys = read_json(reference / "compofa_static_subnet_05.keys.json")
    space = families.mobilenet_v3()
    case = case_of(reference, "compofa", "05")
    arch = space.arch(depths=case["settings"]["d"], resolution=case["resolution"])
    kept = [0]
    for stage, depth in enumerate(arch.depths):
        kept += [1 + 4 * stage + position for position in range(depth)]
    assert len(config["blocks"]) == len(kept)
    state = {}
    for key, shape, kind in keys:
        if kind == "int64":
            state[key] = torch.zeros([], dtype=torch.int64)
            continue
        words = key.split(".")
        if words[0] == "blocks":
            words[1] = str(kept[int(words[1])])
        value = whole[".".join(words)]
        start = (value.shape[-1] - shape[-1]) // 2 if "depth_conv.conv" in key else 0
        place = [slice(0, size) for size in shape]
        if start:
            place[-2:] = [slice(start, start + shape[-1])] * 2
        state[key] = torch.from_numpy(value[tuple(place)].copy())
    return state, arch
