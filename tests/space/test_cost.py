"""Multiply-adds and parameters, exactly."""

from __future__ import annotations

import json

import pytest

from compofa_tf import families
from compofa_tf.space import cost

OFA = {"kernel": "elastic", "coupling": "independent"}
REFERENCES = {
    "compofa": {},
    "compofa-elastic": {"kernel": "elastic"},
    "ofa_mbv3_d234_e346_k357_w1.0": OFA,
    "ofa_proxyless_d234_e346_k357_w1.3": {"family": "proxyless_nas", **OFA},
    "ofa_resnet50_small": {
        "family": "resnet50",
        "coupling": "independent",
        "width_mult": 0.25,
        "widths": (0.6, 0.8, 1.0),
        "classes": 100,
    },
}


@pytest.mark.parametrize(("depth", "millions"), [(2, 124.3), (3, 231.6), (4, 446.8)])
def test_the_figures_of_the_paper(depth, millions):
    space = families.mobilenet_v3()
    assert round(cost.macs(space, space.arch(depths=depth, resolution=224)) / 1e6, 1) == millions


@pytest.mark.parametrize("net", REFERENCES)
def test_every_reference_case_exactly(reference, net):
    settings = dict(REFERENCES[net])
    space = families.get(settings.pop("family", "mobilenet_v3"), **settings)
    cases = json.loads((reference / f"{net}.expected.json").read_text())["cases"]
    assert len(cases) >= 7
    for case in cases:
        names = {"depths": "d", "expands": "e", "kernels": "ks", "widths": "w"}
        settings = {name: case["settings"].get(key) for name, key in names.items()}
        arch = space.arch(**settings, resolution=case["resolution"])
        assert cost.macs(space, arch) == case["macs"], case["index"]
        assert cost.macs(space, arch.at(224)) == case["macs_224"], case["index"]
        assert cost.params(space, arch) == case["params"], case["index"]


def test_costs_grow_with_every_dimension():
    space = families.mobilenet_v3()
    for stage in range(5):
        depths = [2, 3, 3, 2, 3]
        archs = [space.arch(depths=[*depths[:stage], d, *depths[stage + 1 :]], resolution=64) for d in (2, 3, 4)]
        for measure in (cost.macs, cost.params):
            values = [measure(space, arch) for arch in archs]
            assert values == sorted(set(values))
    arch = space.smallest(64)
    assert cost.macs(space, arch.at(96)) > cost.macs(space, arch)
    assert cost.params(space, arch.at(96)) == cost.params(space, arch)
