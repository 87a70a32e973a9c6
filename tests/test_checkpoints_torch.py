"""Reading PyTorch checkpoints: containers, recognition, extracted subnets, and what must be refused."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import os
import re
import shutil
import warnings
import zlib

import numpy as np
import pytest

import compofa_tf as ct
from compofa_tf import cli, families
from compofa_tf.errors import InputError
from compofa_tf.interop import names
from compofa_tf.interop.checkpoints import recognise, with_matrices
from compofa_tf.interop.names import state_from_torch
from compofa_tf.interop.torch_files import read_checkpoint
from compofa_tf.units import make_divisible

torch = pytest.importorskip("torch", reason="needs torch (the extra [torch])")


def read_json(path):
    return json.loads(path.read_text())


def logits_of(reference, net, name, index, arch, key=None):
    x = np.load(reference / "inputs.npz")[f"x{arch.resolution}"].astype(np.float32)
    wanted = np.load(reference / f"{name}.logits.npz")[key or index]
    np.testing.assert_allclose(net(x, arch), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def case_of(reference, name, index):
    return next(case for case in read_json(reference / f"{name}.expected.json")["cases"] if case["index"] == index)


@pytest.mark.parametrize(
    ("file", "matrices", "space"),
    [
        ("compofa.pth", "drop", families.mobilenet_v3()),
        ("teacher_D4_E6_K7.fp16.pth", "drop", families.mobilenet_v3()),
        ("compofa_with_matrices.fp16.pth", "drop", families.mobilenet_v3()),
        ("compofa_with_matrices.fp16.pth", "apply", families.mobilenet_v3(kernel="elastic")),
        ("compofa-elastic.fp16.pth", "apply", families.mobilenet_v3(kernel="elastic")),
        (
            "ofa_proxyless_d234_e346_k357_w1.3.fp16.pth",
            "drop",
            families.proxyless_nas(kernel="elastic", coupling="independent"),
        ),
        (
            "ofa_resnet50_small.fp16.pth",
            "drop",
            families.resnet50(width_mult=0.25, widths=(0.6, 0.8, 1.0), coupling="independent", classes=100),
        ),
    ],
)
def test_published_files_are_recognised(reference, file, matrices, space):
    tensors = read_checkpoint(reference / file)
    assert all(value.dtype == np.float32 for value in tensors.values())
    found = recognise(tensors, kernel_matrices=matrices)
    assert found == space
    state_from_torch(found, with_matrices(found, tensors))  # a whole supernet, with nothing missing or left over


def test_imported_net_has_the_original_logits(reference, tmp_path):
    net = ct.import_torch(reference / "compofa.pth")
    case = case_of(reference, "compofa", "05")
    arch = net.space.arch(depths=case["settings"]["d"], resolution=case["resolution"])
    logits_of(reference, net, "compofa", "05", arch)
    assert net.only is None
    net.save(tmp_path / "net")
    assert ct.Supernet.load(tmp_path / "net").space == net.space


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
    member = (found.only or found.space.largest(224)).at(arch.resolution)
    assert ct.cost.params(found.space, member) == ct.cost.params(space, arch) == case["params"]
    logits_of(reference, found, "ofa_resnet50_small", index, member)


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
    with pytest.raises(InputError, match="where its space has"):
        ct.import_torch(_saved(state, tmp_path), space=families.resnet50(coupling="independent", classes=100))


def _saved(state, folder):
    torch.save(state, folder / "x.pth")
    return folder / "x.pth"


# Without the reference data: a small checkpoint made here


def small_state(*, doubled=False):
    """A narrow MobileNetV3 and its tensors under the published names."""
    net = ct.Supernet(families.mobilenet_v3(width_mult=0.25, classes=10))
    weights = net.get_state()
    state = {}
    blocks = -1
    for slot in net.space.slots:
        unit = [unit for unit in slot.options if unit is not None][-1]
        blocks += hasattr(unit, "middle")
        for kernel in unit.kernels:
            base, norm = names._base(unit, blocks if hasattr(unit, "middle") else None, kernel)
            value = weights[f"{slot.name}/{kernel.part}/kernel"]
            if kernel.kind == "dense":
                value = value.T
            elif kernel.kind == "depthwise":
                around = ((7 - kernel.size) // 2,) * 2 if blocks else (0, 0)
                value = np.pad(value.transpose(2, 3, 0, 1), [(0, 0)] * 2 + [around] * 2)
            else:
                value = value.transpose(3, 2, 0, 1)
            tensors = {f"{base}.weight": value}
            if kernel.bias:
                tensors[f"{base}.bias"] = weights[f"{slot.name}/{kernel.part}/bias"]
            if kernel.norm:
                for ours, theirs in names._NORM.items():
                    tensors[f"{norm}.{theirs}"] = weights[f"{slot.name}/{kernel.part}/{ours}"]
                tensors[f"{norm}.num_batches_tracked"] = np.zeros([], np.int64)
            elastic = doubled and base.startswith("blocks.") and not base.startswith("blocks.0.") and ".se." not in base
            for key, array in tensors.items():
                if elastic:
                    key = key.replace(".conv.weight", ".conv.conv.weight").replace(".bn.", ".bn.bn.")
                state[key] = torch.from_numpy(np.array(array))
    return net, state


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_containers_names_and_precisions(tmp_path, wrapped, legacy, half):
    net, state = small_state(doubled=wrapped)
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    path = tmp_path / "small.pth"
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, path, _use_new_zipfile_serialization=not legacy)
    found = ct.import_torch(path)
    assert found.space == net.space
    for name, value in net.get_state().items():
        expected = value.astype(np.float16).astype(np.float32) if half else value
        np.testing.assert_array_equal(found.get_state()[name], expected, err_msg=name)


def test_an_imported_checkpoint_is_a_work_directory(tmp_path):
    """Named classes from a folder of images; then every command finds what a training would have left."""
    from PIL import Image

    from compofa_tf.interop.importing import import_checkpoint
    from compofa_tf.workdir import WorkDir

    for split, number in itertools.product(("train", "val"), range(10)):
        folder = tmp_path / "images" / split / f"class{number}"
        folder.mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (40, 40), (25 * number, 100 * index, 0)).save(folder / f"{index}.png")
    net, state = small_state()
    torch.save(state, tmp_path / "small.pth")
    data = f"folder:{tmp_path / 'images'}"
    import_checkpoint(tmp_path / "small.pth", workdir=tmp_path / "run", data=data)
    workdir = WorkDir(tmp_path / "run")
    assert workdir.space == net.space == workdir.recipe.space.build(classes=10)
    assert workdir.labels == [f"class{number}" for number in range(10)]
    assert workdir.normalization["name"] == "imagenet"
    again = ct.Supernet.load(tmp_path / "run")
    assert all(np.array_equal(value, again.get_state()[name]) for name, value in net.get_state().items())
    with pytest.raises(InputError, match="already holds a run"):
        import_checkpoint(tmp_path / "small.pth", workdir=tmp_path / "run")
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / "images" / split / "class9")
    with pytest.raises(InputError, match=r"10 classes, .* has 9"):
        import_checkpoint(tmp_path / "small.pth", workdir=tmp_path / "other", data=data)
    assert not (tmp_path / "other").exists()


def test_importing_without_data_numbers_the_labels(tmp_path):
    _, state = small_state()
    torch.save(state, tmp_path / "small.pth")
    code = cli.run(
        cli.parse(["compofa", "import-torch", str(tmp_path / "small.pth"), "--workdir", str(tmp_path / "run")])
    )
    assert code == 0
    content = json.loads((tmp_path / "run" / "supernet" / "supernet.json").read_text())
    assert content["labels"] == [str(number) for number in range(10)]
    assert (content["imported_from"], content["only"]) == ("small.pth", None)


def test_what_cannot_be_imported_leaves_nothing(tmp_path, capsys):
    (tmp_path / "x.pth").write_bytes(b"no checkpoint")
    code = cli.run(cli.parse(["compofa", "import-torch", str(tmp_path / "x.pth"), "--workdir", str(tmp_path / "run")]))
    assert code == 1
    assert "no PyTorch checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


class Marker:
    """Would create a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "mark"
    for legacy in (False, True):
        torch.save({"state_dict": Marker(mark)}, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
        mark.unlink(missing_ok=True)
        with pytest.raises(InputError, match=r"evil\.pth holds more than tensors .*could run code"):
            read_checkpoint(tmp_path / "evil.pth")
        assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04", zlib.compress(b"x" * 100)])
def test_files_that_are_no_checkpoints(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pth is truncated or no PyTorch checkpoint"):
        read_checkpoint(tmp_path / "x.pth")


def test_truncated_checkpoints(tmp_path):
    _, state = small_state()
    for legacy in (False, True):
        torch.save(state, tmp_path / "whole.pth", _use_new_zipfile_serialization=not legacy)
        whole = (tmp_path / "whole.pth").read_bytes()
        for share in (0.3, 0.9):
            (tmp_path / "cut.pth").write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(InputError, match=r"cut\.pth is truncated"):
                read_checkpoint(tmp_path / "cut.pth")


def test_missing_extra_misshapen_and_damaged_tensors_are_named(tmp_path):
    _, state = small_state()
    name = "blocks.3.mobile_inverted_conv.depth_conv.conv.weight"
    changes = {
        "lacks " + name: {key: value for key, value in state.items() if key != name},
        "no place here for surplus.weight": {**state, "surplus.weight": torch.zeros(2)},
        f"has misshapen {name}": {**state, name: torch.zeros(3)},
        "not finite": {**state, name: torch.full_like(state[name], float("nan"))},
        "two tensors for first_conv.conv.weight, as first_conv.conv.weight and as first_conv.conv.conv.weight": {
            **state,
            "first_conv.conv.conv.weight": torch.zeros(2),
        },
        r"has misshapen classifier.linear.bias (7,) instead of (10,)": {
            **state,
            "classifier.linear.bias": torch.zeros(7),
        },
        "names and tensors": {**state, "note": "hello"},
        "no known family": {"a.weight": torch.zeros(2)},
        "No width of resnet50": {
            "input_stem.2.conv.weight": torch.zeros(3),
            "classifier.linear.weight": torch.zeros(2, 2),
        },
    }
    for message, changed in changes.items():
        torch.save(changed, tmp_path / "x.pth")
        with pytest.raises(InputError, match=re.escape(message)):
            ct.import_torch(tmp_path / "x.pth")


def test_space_that_does_not_fit(tmp_path):
    _, state = small_state()
    torch.save(state, tmp_path / "x.pth")
    for space, message in (
        (families.mobilenet_v3(classes=10), r"misshapen first_conv\.conv\.weight \(8, 3, 3, 3\).* of \d+ more"),
        (families.proxyless_nas(width_mult=0.25, classes=10), r"lacks .*has no place here for "),
    ):
        with pytest.raises(InputError, match=message):
            ct.import_torch(tmp_path / "x.pth", space=space)
    with pytest.raises(InputError, match="kernel_matrices must be"):
        ct.import_torch(tmp_path / "x.pth", kernel_matrices="keep")
    with pytest.raises(InputError, match="does not exist"):
        ct.import_torch(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="is a folder"):
        ct.import_torch(tmp_path)
    with pytest.raises(InputError, match="has no kernel matrices to apply"):
        ct.import_torch(tmp_path / "x.pth", kernel_matrices="apply")
    with pytest.raises(InputError, match="space must be a Space"):
        ct.import_torch(tmp_path / "x.pth", space="mobilenet_v3")


def test_every_kind_of_mismatch_is_named_at_once(tmp_path):
    _, state = small_state()
    lost = [name for name in state if name.startswith("blocks.20.") and "num_batches" not in name]
    doubled = small_state(doubled=True)[1]
    renamed = {key.replace("feature_mix_layer", "feature_mix"): value for key, value in doubled.items()}
    for changed, parts in (
        (
            {key: value for key, value in renamed.items() if not key.startswith("blocks.20.")},
            (
                f"lacks blocks.20.* ({len(lost)} tensors)",
                "feature_mix_layer.conv.weight",
                "no place here for feature_mix.",
            ),
        ),
        (
            {
                **state,
                "blocks.21.x": torch.zeros(2),
                "blocks.3.mobile_inverted_conv.point_linear.conv.weight": torch.zeros(2),
            },
            (
                "misshapen blocks.3.mobile_inverted_conv.point_linear.conv.weight (2,)",
                "no place here for blocks.21.* (1",
            ),
        ),
        (
            {**state, "blocks.7.mobile_inverted_conv.depth_conv.conv.weight": torch.zeros(72, 1, 9, 9)},
            ("misshapen blocks.7.mobile_inverted_conv.depth_conv.conv.weight (72, 1, 9, 9) instead of (",),
        ),
        ({**state, "first_conv.conv.weight": torch.zeros(2)}, ("misshapen first_conv.conv.weight (2,)",)),
        (
            {key: v for key, v in state.items() if key != "classifier.linear.weight"},
            ("lacks classifier.linear.weight",),
        ),
        ({**state, "nonsense_matrix": torch.zeros(2)}, ("no place here for nonsense_matrix",)),
        ({**state, "classifier.linear.weight": torch.zeros([])}, ("misshapen classifier.linear.weight ()",)),
    ):
        for space in (None, families.mobilenet_v3(width_mult=0.25, classes=10)):
            with pytest.raises(InputError) as caught:
                ct.import_torch(_saved(changed, tmp_path), space=space)
            assert all(part in str(caught.value) for part in parts), caught.value


def test_a_supernet_that_lost_its_last_block_is_no_extracted_subnet(tmp_path):
    _, state = small_state(doubled=True)
    rest = {key: value for key, value in state.items() if not key.startswith("blocks.20.")}
    with pytest.raises(InputError, match=r"lacks blocks\.20\.\*"):
        ct.import_torch(_saved(rest, tmp_path))


def test_narrow_supernets_whose_stages_are_equally_wide(tmp_path):
    """Blocks cannot be told apart by their channels there, and need not."""
    for make in (families.mobilenet_v3, families.proxyless_nas):
        space = make(width_mult=0.2, classes=7)
        tensors = torch_tensors_of(space)
        assert recognise(tensors).settings["width_mult"] in (0.15, 0.2, 0.25)
        assert ct.import_torch(_saved(tensors, tmp_path), space=space).only is None


def torch_tensors_of(space):
    """A checkpoint of a space, without matrices, by asking what it would read."""
    asked = {}

    class Reader(names._Reader):
        def take(self, key, shape):
            asked[key] = torch.rand(shape)
            return np.zeros(shape, np.float32)

        def finish(self):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_Reader", Reader)
        state_from_torch(space, {})
    return asked if space.kernel == "elastic" else {key: v for key, v in asked.items() if "_matrix" not in key}


def test_a_family_without_static_blocks_is_imported(tmp_path):
    """As in docs/your-own-family.md: its first block is elastic."""
    space = families.mobilenet_v3(width_mult=0.25, classes=10)
    pocket = dataclasses.replace(space, stem=space.stem[:1])
    net = ct.import_torch(_saved(torch_tensors_of(pocket), tmp_path), space=pocket)
    assert net.space == pocket and net.only is None


def test_extracted_subnets_of_full_depth_keep_their_kernels(reference, tmp_path):
    """Full depth, full ratios, kernels that are neither the fixed ones nor all 7: a member of the elastic space."""
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
            net = ct.import_torch(_saved(state, tmp_path), space=given)
            assert net.only.at(128).kernels == arch.kernels
            plain = ct.Supernet(families.mobilenet_v3(kernel="elastic"))
            assert set(net.only.depths) == {4} and net.space.kernel == plain.space.kernel


def test_a_file_without_matrices_in_a_space_of_elastic_kernels(tmp_path):
    """Smaller kernels are the centres then; the static first block has none."""
    _, state = small_state()
    net = ct.import_torch(
        _saved(state, tmp_path), space=families.mobilenet_v3(width_mult=0.25, classes=10, kernel="elastic")
    )
    assert net.only is None
    matrices = [value for name, value in net.get_state().items() if name.endswith(("7to5", "5to3"))]
    assert len(matrices) == 40 and all(np.array_equal(value, np.eye(len(value))) for value in matrices)


def test_extracted_resnets_of_the_compound_space(tmp_path):
    """Where several widths have the same channels, those count that the coupling allows."""
    space = families.resnet50(width_mult=0.25, widths=(0.6, 0.8, 1.0), classes=10)
    whole = {key: value.numpy() for key, value in torch_tensors_of(space).items()}
    for depths in ((0, 0, 0, 0, 0), (0, 1, 2, 1, 0), (1, 2, 0, 1, 2), (2, 1, 0, 0, 1)):
        arch = space.arch(depths=depths, resolution=64)
        state = static_resnet(whole, space, arch)
        net = ct.import_torch(_saved(state, tmp_path), space=space)
        assert space.units(net.only.at(64)) == space.units(arch)


def test_tensors_that_are_no_plain_numbers(tmp_path):
    _, state = small_state()
    name = "feature_mix_layer.conv.weight"
    value = state[name]
    parameters = {key: torch.nn.Parameter(v, requires_grad=v.is_floating_point()) for key, v in state.items()}
    assert ct.import_torch(_saved(parameters, tmp_path)).only is None
    for strange in (value.to_sparse(), value.to(torch.complex64), torch.empty(value.shape, device="meta")):
        with pytest.raises(InputError, match=rf"{re.escape(name)} is no dense tensor of real numbers"):
            ct.import_torch(_saved({**state, name: strange}, tmp_path))
    with pytest.raises(InputError, match="negative variances"):
        ct.import_torch(_saved({**state, "first_conv.bn.running_var": -torch.ones(8)}, tmp_path))


class Calls:
    """Would call a function when unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [eval, exec, os.system])
def test_what_torch_says_of_code_is_not_passed_on(tmp_path, capfd, function, protocol):
    """It advises to load such a file in the way that runs its code."""
    content = {"state_dict": Calls(function, f"open({str(tmp_path / 'mark')!r}, 'w')")}
    for legacy in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(content, tmp_path / "x.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(InputError, match=r"x\.pth (holds more than tensors \(\S+\)|is truncated)") as caught:
            read_checkpoint(tmp_path / "x.pth")
        assert "weights_only" not in str(caught.value) and "\x1b" not in str(caught.value)
        if protocol != 4:
            assert "could run code" in str(caught.value)
    assert not (tmp_path / "mark").exists() and capfd.readouterr().err == ""


class Repeating:
    """Pickled as a dictionary in which a key is set twice."""

    def __init__(self, state, key):
        self.state, self.key = state, key

    def __reduce__(self):
        again = (self.key, torch.zeros(1))
        return collections.OrderedDict, (), None, None, iter([*self.state.items(), again])


@pytest.mark.parametrize("legacy", [False, True])
def test_a_key_that_is_set_twice_is_refused(tmp_path, legacy):
    _, state = small_state()
    for content in (
        Repeating(state, "first_conv.conv.weight"),
        {"state_dict": Repeating(state, "first_conv.conv.weight"), "epoch": 1},
    ):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(InputError, match=r"has two tensors for first_conv\.conv\.weight; only one"):
            read_checkpoint(tmp_path / "x.pth")
    # The same names in another dictionary of the file are no repetition.
    torch.save({"state_dict": state, "ema": dict(state)}, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    assert len(read_checkpoint(tmp_path / "x.pth")) > 100
