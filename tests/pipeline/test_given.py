"""The space that a user gives for a checkpoint, as text or as a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import workdirs

from compofa_tf import families, recipes
from compofa_tf.errors import InputError
from compofa_tf.pipeline.given import given_space
from compofa_tf.published.torch_names import with_matrices


def tensors_of(space, *, matrices=False):
    """What decides recognition: the classifier, the stem and the channels that the blocks write."""
    stem, first = space.stem
    found = {
        "first_conv.conv.weight": np.zeros((stem.out_channels, 3, 3, 3)),
        "final_expand_layer.conv.weight": np.zeros(1),
        "classifier.linear.weight": np.zeros((space.classes, 8)),
    }
    for block, width in enumerate([first.out_channels, *(stage.width for stage in space.stages)]):
        base = f"blocks.{block}.mobile_inverted_conv"
        found[f"{base}.point_linear.conv.weight"] = np.zeros((width, 1, 1, 1))
        found[f"{base}.depth_conv.conv.weight"] = np.zeros((8, 1, 7, 7))
        if matrices:
            found[f"{base}.depth_conv.conv.7to5_matrix"] = np.eye(25)
    return found


TENSORS = tensors_of(families.mobilenet_v3(width_mult=1.2, classes=10))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("coupling=independent", {"coupling": "independent"}),
        (" kernel = elastic , coupling=independent", {"kernel": "elastic", "coupling": "independent"}),
        ("family=mobilenet_v3,kernel=elastic", {"kernel": "elastic"}),
        ("strides=2,1,2,2,1,2,kernel=elastic", {"strides": (2, 1, 2, 2, 1, 2), "kernel": "elastic"}),
        ("classes=12,width_mult=1.0", {"classes": 12, "width_mult": 1.0}),
    ],
)
def test_settings_change_what_was_recognised(text, settings):
    expected = families.mobilenet_v3(**{"width_mult": 1.2, "classes": 10, **settings})
    assert given_space(text, TENSORS) == expected


def test_another_family_starts_from_its_own_settings():
    assert given_space("family=proxyless_nas", TENSORS) == families.proxyless_nas(classes=10)
    odd = tensors_of(families.mobilenet_v3(width_mult=1.13, classes=10))
    assert given_space("family=mobilenet_v3,width_mult=1.13", odd) == families.mobilenet_v3(width_mult=1.13, classes=10)
    with pytest.raises(InputError, match="No width of"):
        given_space("coupling=independent", odd)


def test_the_files_of_another_run_name_a_space(tmp_path):
    space = workdirs.with_tables(tmp_path)
    recipe = recipes.get("demo").space.build(classes=10)
    for name in ("", "supernet/supernet.json", "latency/host-int8-t1.json", "accuracy/val.json"):
        assert given_space(str(tmp_path / name), TENSORS) == space
    (tmp_path / "supernet" / "supernet.json").unlink()
    for name in ("", "recipe.json"):
        assert given_space(str(tmp_path / name), TENSORS) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernal=elastic", r"did you mean kernel\?"),
        ("kernel=elastc", "kernel must be one of fixed, elastic"),
        ("width_mult=wide", "width_mult must be a finite number"),
        ("family=mobilenetv3", r"did you mean mobilenet_v3\?"),
        ("mobilenet_v3", r"did you mean family=mobilenet_v3\?"),
        ("family=mobilenet_v3,elastic", "There is no such family"),
        ("kernel=elastic,kernel=fixed", "two values for kernel"),
        ("", "is given as settings"),
        (",", "is given as settings"),
        ("=", "no such setting"),
    ],
)
def test_what_means_no_space(text, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if not text:
        text = "none"
    with pytest.raises(InputError, match=message):
        given_space(text, TENSORS)


def test_files_that_name_no_space(tmp_path):
    with pytest.raises(InputError, match="no work directory"):
        given_space(str(tmp_path), TENSORS)
    for content in ("{", "[]", json.dumps({"kind": "front", "schema_version": 1})):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(InputError):
            given_space(str(tmp_path / "x.json"), TENSORS)


def test_elastic_kernels_of_a_file_without_matrices_are_centres():
    elastic = families.mobilenet_v3(width_mult=1.2, kernel="elastic", classes=10)
    completed = with_matrices(elastic, TENSORS)
    added = {name: value for name, value in completed.items() if name.endswith("_matrix")}
    assert len(added) == 10  # of the five stages; the first block is static
    assert all(np.array_equal(value, np.eye(len(value))) for value in added.values())
    with_own = tensors_of(elastic, matrices=True)
    assert with_matrices(elastic, with_own) is with_own
    assert with_matrices(families.mobilenet_v3(classes=10), TENSORS) is TENSORS
