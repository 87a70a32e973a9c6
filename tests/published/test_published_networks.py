"""The tables of published networks: complete, and one of a family outside the package is enough to import its files."""

from __future__ import annotations

import numpy as np
import pytest

import compofa_tf as ct
from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.published import networks
from compofa_tf.published.extracted import static_arch
from compofa_tf.published.networks import CheckpointNames, LookupRows, PublishedNetwork
from compofa_tf.published.recognition import recognise
from compofa_tf.published.torch_names import published_tensors, state_from_torch
from compofa_tf.space import Space
from compofa_tf.space.stages import InvertedStage
from compofa_tf.space.units import ConvUnit, DenseUnit, PoolUnit

EXPANDS = {1: 2, 2: 3}


def toy(*, width_mult=1.0, kernel="fixed", coupling="compound", classes=5) -> Space:
    """Two convolutions, two stages of up to two blocks, a classifier; kernels of 3 or 5."""
    first, one, other = (int(width * width_mult) for width in (8, 16, 24))
    return Space(
        family="toy",
        arguments={"width_mult": width_mult, "kernel": kernel, "coupling": coupling, "classes": classes},
        stem=(ConvUnit("entry", 3, first, 3, 2, "relu"), ConvUnit("second", first, first, 3, 1, "relu")),
        stages=(
            InvertedStage(first, one, 2, "relu", False, 3, tuple(EXPANDS.items()), (3, 5)),
            InvertedStage(one, other, 1, "relu", False, 5, tuple(EXPANDS.items()), (3, 5)),
        ),
        head=(PoolUnit("pool"), DenseUnit("answer", other, classes)),
        coupling=coupling,
        kernel=kernel,
        profile="mobile",
        classes=classes,
    )


TOY = PublishedNetwork(
    family="toy",
    checkpoints=CheckpointNames(
        mark="tower.",
        units={"entry": "tower.{}.conv", "second": "tower.{}.conv", "answer": "top.linear"},
        blocks="cells.{}.op",
        parts={"expand": "widen.conv", "depth": "look.conv", "project": "narrow.conv"},
        stem="second",
        writes="project",
        classifier="answer",
        told=(("expand", 1), ("expand", 0), ("depth", -1), ("project", 0)),
        tried=({"width_mult": 1.0}, {"width_mult": 2.0}),
        larger=({"coupling": "independent"},),
    ),
)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))
    monkeypatch.setattr(networks, "_NETWORKS", dict(networks._NETWORKS))
    families.register(toy)
    networks.register(TOY)


def checkpoint(blocks, *, stem=16, classes=5):
    """Tensors as PyTorch would write them: ``blocks`` are channels read, between and written, and kernel sides."""
    rng = np.random.default_rng(0)
    found = {}

    def convolution(base, *shape):
        found[f"{base}.weight"] = rng.standard_normal(shape).astype(np.float32)
        norm = base.removesuffix("conv") + "bn"
        for name in ("weight", "bias", "running_mean", "running_var"):
            found[f"{norm}.{name}"] = rng.uniform(1, 2, shape[0]).astype(np.float32)

    convolution("tower.0.conv", stem, 3, 3, 3)
    convolution("tower.1.conv", stem, stem, 3, 3)
    for number, (reads, middle, writes, side) in enumerate(blocks):
        convolution(f"cells.{number}.op.widen.conv", middle, reads, 1, 1)
        convolution(f"cells.{number}.op.look.conv", middle, 1, side, side)
        convolution(f"cells.{number}.op.narrow.conv", writes, middle, 1, 1)
    found["top.linear.weight"] = rng.standard_normal((classes, blocks[-1][2])).astype(np.float32)
    found["top.linear.bias"] = rng.standard_normal(classes).astype(np.float32)
    return found


WHOLE = ((16, 48, 32, 3), (32, 96, 32, 3), (32, 96, 48, 5), (48, 144, 48, 5))


@pytest.mark.usefixtures("registered")
def test_a_checkpoint_of_a_family_from_outside_is_recognised_and_read():
    tensors = checkpoint(WHOLE)
    space = recognise(tensors)
    assert space == toy(width_mult=2.0)
    assert {tensor.key for tensor in published_tensors(space)} == tensors.keys()
    state = state_from_torch(space, tensors)
    np.testing.assert_array_equal(
        state["stage2_block0/project/kernel"][0, 0], tensors["cells.2.op.narrow.conv.weight"][:, :, 0, 0].T
    )
    np.testing.assert_array_equal(state["second/conv/moving_mean"], tensors["tower.1.bn.running_mean"])
    np.testing.assert_array_equal(state["answer/dense/kernel"], tensors["top.linear.weight"].T)
    large = checkpoint([(*sizes, 5) for *sizes, _ in WHOLE])
    side = state_from_torch(space, large)["stage1_block1/depth/kernel"]
    np.testing.assert_array_equal(side[..., 0], large["cells.1.op.look.conv.weight"][:, 0, 1:4, 1:4].transpose(1, 2, 0))
    with pytest.raises(InputError, match=r"lacks cells\.3\.\* \(15 tensors\)"):
        state_from_torch(space, {key: value for key, value in tensors.items() if not key.startswith("cells.3.")})
    with pytest.raises(InputError, match=r"lacks top\.linear\.weight"):
        recognise({key: value for key, value in tensors.items() if not key.startswith("top.")})


@pytest.mark.usefixtures("registered")
def test_an_extracted_subnet_of_a_family_from_outside():
    space = toy(width_mult=2.0, coupling="independent")
    arch = space.arch(depths=(1, 2), expands=(3, 0, 2, 3), resolution=224)
    tensors = checkpoint(((16, 48, 32, 3), (32, 64, 48, 5), (48, 144, 48, 5)))
    assert static_arch(space, tensors) == arch
    state = state_from_torch(space, tensors, arch=arch)
    assert state["stage2_block0/expand/kernel"].shape == (1, 1, 32, 64)
    with pytest.raises(InputError, match="not those of a subnet"):
        static_arch(toy(width_mult=2.0), tensors)


@pytest.mark.usefixtures("registered")
def test_files_of_a_family_from_outside_become_supernets(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch (the extra [torch])")

    def imported(blocks):
        tensors = {key: torch.from_numpy(value) for key, value in checkpoint(blocks).items()}
        torch.save(tensors, tmp_path / "toy.pth")
        return ct.import_torch(tmp_path / "toy.pth")

    whole = imported(WHOLE)
    assert whole.space == toy(width_mult=2.0) and whole.only is None
    part = imported((WHOLE[0], (32, 64, 48, 5), WHOLE[3]))
    assert part.space == toy(width_mult=2.0, coupling="independent")
    assert part.only.depths == (1, 2) and part.only.expands == (3, 0, 2, 3)


def test_one_table_of_a_family(registered):
    assert networks.of("toy") is networks.register(TOY)
    with pytest.raises(InputError, match="published names of that family already"):
        networks.register(PublishedNetwork("toy", TOY.checkpoints))
    with pytest.raises(InputError, match=r"are known of mobilenet_v3, .*Received: family='other'"):
        networks.of("other")


def test_a_unit_that_the_table_does_not_name(registered):
    space = toy()
    names = CheckpointNames(**{**vars(TOY.checkpoints), "parts": {"expand": "widen.conv"}})
    unit = space.slots[2].options[-1]
    with pytest.raises(InputError, match="unit=stage1_block0, part=depth"):
        names.pattern(unit, "depth")


@pytest.mark.parametrize("family", families.names())
def test_every_family_of_the_package_has_a_table_that_fits_its_space(family):
    network = networks.of(family)
    names = network.checkpoints
    assert [known.family for known in networks.known()].count(family) == 1
    for arguments in (names.tried[0], *({**names.tried[0], **changes} for changes in names.larger)):
        space = families.get(family, **arguments)
        units = [unit for slot in space.slots if (unit := slot.options[-1]).parts]
        assert {unit.name for unit in units} >= names.units.keys()
        keys = [tensor.key for tensor in published_tensors(space)]
        assert len(keys) == len(set(keys)) and any(key.startswith(names.mark) for key in keys)
        assert not names.unmarked or not any(key.startswith(names.unmarked) for key in keys)
    assert names.stem in names.units and names.classifier in names.units and names.writes in names.parts
    assert {part for part, _ in names.told} <= names.parts.keys()
    assert network.lookup is None or isinstance(network.lookup, LookupRows)
