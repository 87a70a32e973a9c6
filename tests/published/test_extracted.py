"""Extracted subnets: which subnet of a space they are, their logits, and what is none."""

from __future__ import annotations

import re

import pytest
from torch_checkpoints import case_of, logits_of, saved, small_state, static_state, torch_tensors_of

import compofa_tf as ct
from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.published.recognition import recognise
from compofa_tf.published.torch_files import read_checkpoint
from compofa_tf.space.units import make_divisible

torch = pytest.importorskip("torch", reason="needs torch (the extra [torch])")


def test_extracted_subnet_is_recognised_and_has_its_logits(reference, tmp_path):
    state, arch = static_state(reference)
    torch.save({"state_dict": state}, tmp_path / "static.pth")
    net = ct.import_torch(tmp_path / "static.pth")
    assert net.only is not None and net.only.at(arch.resolution) == arch
    logits_of(reference, net, "compofa", "05", arch)
    net.save(tmp_path / "saved")
    assert ct.Supernet.load(tmp_path / "saved").only == net.only
    for changed, message in (
        ({**state, "surplus.weight": torch.zeros(2)}, "no place here for surplus.weight"),
        ({**state, "first_conv.bn.weight": torch.zeros(3)}, "misshapen first_conv.bn.weight (3,) instead of (16,)"),
    ):
        torch.save(changed, tmp_path / "static.pth")
        with pytest.raises(InputError, match=re.escape(message)):
            ct.import_torch(tmp_path / "static.pth")


def static_resnet(whole, space, arch):
    """An extracted subnet as published code writes it: blocks and stem counted anew, plain names, leading slices."""
    (stem_depth, *depths), bases, (stem, *stages) = arch.depths, (2, 2, 4, 2), (arch.widths[:2], *arch.widths[2:])
    middle, before = space.stages[0].middles[stem[0]], space.stages[0].widths[stem[1]]
    parts = {"input_stem.0": ("input_stem.0", 3, middle)}
    if stem_depth == 2:
        parts["input_stem.1"] = ("input_stem.1", middle, middle)
    parts[f"input_stem.{len(parts)}"] = ("input_stem.2", middle, before)
    old, new, expands = 0, 0, list(arch.expands)
    for stage, base, depth, width in zip(space.stages[1:], bases, depths, stages):
        out = stage.widths[width]
        for position in range(base + 2):
            if position < base + depth:
                inner = make_divisible(round(out * expands[old]))
                reads = out if position else before
                sizes = {"conv1": (reads, inner), "conv2": (inner, inner), "conv3": (inner, out)}
                sizes |= {} if position else {"downsample": (reads, out)}
                for part, size in sizes.items():
                    parts[f"blocks.{new}.{part}"] = (f"blocks.{old}.{part}", *size)
                new += 1
            old += 1
        before = out
    state = {
        name: value[:, :before] if name.endswith("weight") else value
        for name, value in whole.items()
        if name.startswith("classifier.")
    }
    for name, (source, reads, writes) in parts.items():
        for key, value in whole.items():
            if key.startswith(f"{source}."):
                sliced = value[:writes, :reads] if value.ndim == 4 else value[:writes]
                state[name + key.removeprefix(source)] = sliced
    return {name: torch.from_numpy(value.copy()) for name, value in state.items()}


@pytest.mark.parametrize("index", ["01", "02", "04", "05", "07", "11"])
def test_extracted_resnet_is_recognised_and_has_its_logits(reference, tmp_path, index):
    whole = read_checkpoint(reference / "ofa_resnet50_small.fp16.pth")
    space, case = recognise(whole), case_of(reference, "ofa_resnet50_small", index)
    settings = dict(zip(("depths", "expands", "widths"), (case["settings"][key] for key in "dew")))
    arch = space.arch(**settings, resolution=case["resolution"])
    torch.save(static_resnet(whole, space, arch), tmp_path / "static.pth")
    given = ct.import_torch(tmp_path / "static.pth", space=space)
    # Of so narrow a network several widths and ratios round to the same channels.
    assert space.units(given.only.at(arch.resolution)) == space.units(arch)
    logits_of(reference, given, "ofa_resnet50_small", index, arch)
    found = ct.import_torch(tmp_path / "static.pth")
    assert found.space.family == "resnet50" and found.space.coupling == "independent"
    other = (found.only or found.space.largest(224)).at(arch.resolution)
    assert ct.cost.params(found.space, other) == ct.cost.params(space, arch) == case["params"]
    logits_of(reference, found, "ofa_resnet50_small", index, other)


def test_damaged_extracted_resnets_are_refused(reference, tmp_path):
    whole = read_checkpoint(reference / "ofa_resnet50_small.fp16.pth")
    space = recognise(whole)
    arch = space.arch(depths=1, expands=0.25, widths=1, resolution=64)
    state = static_resnet(whole, space, arch)
    for changed, message in (
        ({**state, "blocks.1.conv2.conv.weight": torch.zeros(3)}, "has misshapen blocks.1.conv2.conv.weight (3,)"),
        ({k: v for k, v in state.items() if k != "blocks.2.conv3.conv.weight"}, "lacks blocks.2.conv3.conv.weight"),
        ({k: v for k, v in state.items() if "blocks.2." not in k}, "lacks blocks.2.* (20 tensors)"),
        ({k: v for k, v in state.items() if "input_stem.1" not in k}, "lacks input_stem.1.conv.weight"),
    ):
        torch.save(changed, tmp_path / "x.pth")
        with pytest.raises(InputError, match=re.escape(message)):
            ct.import_torch(tmp_path / "x.pth", space=space)
    with pytest.raises(
        InputError, match=r"misshapen input_stem\.0\.conv\.weight \(8, 3, 3, 3\) instead of \(32, 3, 3, 3\)"
    ):
        ct.import_torch(saved(state, tmp_path), space=families.resnet50(coupling="independent", classes=100))


def test_a_supernet_that_lost_its_last_block_is_no_extracted_subnet(tmp_path):
    _, state = small_state(doubled=True)
    rest = {key: value for key, value in state.items() if not key.startswith("blocks.20.")}
    with pytest.raises(InputError, match=r"lacks blocks\.20\.\*"):
        ct.import_torch(saved(rest, tmp_path))


def test_extracted_subnets_of_full_depth_keep_their_kernels(reference, tmp_path):
    """Full depth, full ratios, kernels that are neither the fixed ones nor all 7: a subnet of the elastic space."""
    space = families.mobilenet_v3(kernel="elastic", coupling="independent")
    whole = read_checkpoint(reference / "compofa.pth")
    fixed = [kernel for kernel in (3, 5, 3, 3, 5) for _ in range(4)]
    for kernels in ([*fixed[:1], 5, *fixed[2:]], [3] * 20):
        arch = space.arch(depths=4, expands=6, kernels=kernels, resolution=128)
        state = {}
        for name, value in whole.items():
            block = re.match(r"blocks\.(\d+)\..*depth_conv\.conv\.weight", name)
            margin = (7 - kernels[int(block[1]) - 1]) // 2 if block and int(block[1]) else 0
            state[name] = torch.from_numpy(
                value[..., margin : value.shape[-2] - margin, margin : value.shape[-1] - margin].copy()
                if margin
                else value.copy()
            )
        for given in (None, space):
            net = ct.import_torch(saved(state, tmp_path), space=given)
            assert net.only.at(128).kernels == arch.kernels
            plain = ct.Supernet(families.mobilenet_v3(kernel="elastic"))
            assert set(net.only.depths) == {4} and net.space.kernel == plain.space.kernel


def test_extracted_resnets_of_the_compound_space(tmp_path):
    """Where several widths have the same channels, those count that the coupling allows."""
    space = families.resnet50(width_mult=0.25, widths=(0.6, 0.8, 1.0), classes=10)
    whole = {key: value.numpy() for key, value in torch_tensors_of(space).items()}
    for depths in ((0, 0, 0, 0, 0), (0, 1, 2, 1, 0), (1, 2, 0, 1, 2), (2, 1, 0, 0, 1)):
        arch = space.arch(depths=depths, resolution=64)
        state = static_resnet(whole, space, arch)
        net = ct.import_torch(saved(state, tmp_path), space=space)
        assert space.units(net.only.at(64)) == space.units(arch)
