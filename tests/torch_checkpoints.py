"""PyTorch checkpoints for tests: the reference's, and small ones made here."""

from __future__ import annotations

import json

import numpy as np
import pytest

import compofa_tf as ct
from compofa_tf import families
from compofa_tf.published import torch_names
from compofa_tf.published.torch_files import read_checkpoint
from compofa_tf.published.torch_names import state_from_torch

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
    """A narrow MobileNetV3 and its tensors under the published names."""
    net = ct.Supernet(families.mobilenet_v3(width_mult=0.25, classes=10))
    weights = net.get_state()
    state = {}
    blocks = -1
    for slot in net.space.slots:
        unit = [unit for unit in slot.options if unit is not None][-1]
        blocks += hasattr(unit, "middle")
        for part in unit.parts:
            base, norm = torch_names._base(unit, blocks if hasattr(unit, "middle") else None, part)
            value = weights[f"{slot.name}/{part.name}/kernel"]
            if part.kind == "dense":
                value = value.T
            elif part.kind == "depthwise":
                around = ((7 - part.kernel_size) // 2,) * 2 if blocks else (0, 0)
                value = np.pad(value.transpose(2, 3, 0, 1), [(0, 0)] * 2 + [around] * 2)
            else:
                value = value.transpose(3, 2, 0, 1)
            tensors = {f"{base}.weight": value}
            if part.bias:
                tensors[f"{base}.bias"] = weights[f"{slot.name}/{part.name}/bias"]
            if part.norm:
                for ours, theirs in torch_names._NORM.items():
                    tensors[f"{norm}.{theirs}"] = weights[f"{slot.name}/{part.name}/{ours}"]
                tensors[f"{norm}.num_batches_tracked"] = np.zeros([], np.int64)
            elastic = doubled and base.startswith("blocks.") and not base.startswith("blocks.0.") and ".se." not in base
            for key, array in tensors.items():
                if elastic:
                    key = key.replace(".conv.weight", ".conv.conv.weight").replace(".bn.", ".bn.bn.")
                state[key] = torch.from_numpy(np.array(array))
    return net, state


def torch_tensors_of(space):
    """A checkpoint of a space, without matrices, by asking what it would read."""
    asked = {}

    class Reader(torch_names._Reader):
        def take(self, key, shape):
            asked[key] = torch.rand(shape)
            return np.zeros(shape, np.float32)

        def finish(self):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_names, "_Reader", Reader)
        state_from_torch(space, {})
    return asked if space.kernel == "elastic" else {key: v for key, v in asked.items() if "_matrix" not in key}


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
