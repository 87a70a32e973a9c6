"""Which space a checkpoint is of, its weights in a supernet, and what must be refused."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from torch_checkpoints import case_of, logits_of, saved, small_state, torch_tensors_of

import compofa_tf as ct
from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.published.recognition import recognise
from compofa_tf.published.torch_files import read_checkpoint
from compofa_tf.published.torch_names import state_from_torch, with_matrices

torch = pytest.importorskip("torch", reason="needs torch (the extra [torch])")


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
    weights = found.get_state()
    for name, value in net.get_state().items():
        expected = value.astype(np.float16).astype(np.float32) if half else value
        np.testing.assert_array_equal(weights[name], expected, err_msg=name)


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
        (families.mobilenet_v3(classes=10), r"misshapen first_conv\.conv\.weight \(8, 3, 3, 3\).* and \d+ more"),
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
                ct.import_torch(saved(changed, tmp_path), space=space)
            assert all(part in str(caught.value) for part in parts), caught.value


def test_narrow_supernets_whose_stages_are_equally_wide(tmp_path):
    """Blocks cannot be told apart by their channels there, and need not."""
    for make in (families.mobilenet_v3, families.proxyless_nas):
        space = make(width_mult=0.2, classes=7)
        tensors = torch_tensors_of(space)
        assert recognise(tensors).arguments["width_mult"] in (0.15, 0.2, 0.25)
        assert ct.import_torch(saved(tensors, tmp_path), space=space).only is None


def test_a_family_without_static_blocks_is_imported(tmp_path):
    """As in docs/your-own-family.md: its first block is elastic."""
    space = families.mobilenet_v3(width_mult=0.25, classes=10)
    pocket = dataclasses.replace(space, stem=space.stem[:1])
    net = ct.import_torch(saved(torch_tensors_of(pocket), tmp_path), space=pocket)
    assert net.space == pocket and net.only is None


def test_a_file_without_matrices_in_a_space_of_elastic_kernels(tmp_path):
    """Smaller kernels are the centres then; the static first block has none."""
    _, state = small_state()
    net = ct.import_torch(
        saved(state, tmp_path), space=families.mobilenet_v3(width_mult=0.25, classes=10, kernel="elastic")
    )
    assert net.only is None
    matrices = [value for name, value in net.get_state().items() if name.endswith(("7to5", "5to3"))]
    assert len(matrices) == 40 and all(np.array_equal(value, np.eye(len(value))) for value in matrices)
