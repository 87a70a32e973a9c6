"""Names of subnets, and what is no name."""

from __future__ import annotations

import pytest
from large_spaces import COMPOFA, OFA

from compofa_tf.errors import InputError


def test_names_of_the_published_spaces():
    assert COMPOFA.id(COMPOFA.arch(depths=(2, 3, 4, 2, 3), resolution=192)) == "r192-d23423"
    arch = OFA.arch(depths=(2, 2, 2, 2, 3), expands=[3, 4, 6, 6] * 5, kernels=[7, 5, 3, 3] * 5, resolution=160)
    assert OFA.id(arch) == "r160-d22223-e34.34.34.34.346-k75.75.75.75.753"


@pytest.mark.parametrize(
    "name",
    ["", "r192", "d23423", "r192-d2342", "r192-d23425", "r1.5-d23423", "r192-d23423-k3", "x-y-z", "r-4-d22222", None],
)
def test_bad_names(name):
    with pytest.raises(
        InputError, match=r"No subnet of this space has that name; .*r\d+-d\d{5}. Received: " + repr(name)[:1]
    ):
        COMPOFA.parse(name)


@pytest.mark.parametrize(
    "name", ["r160-d22222-e34.34.34.34-k75.75.75.75.75", "r160-d22222-e34.34.34.34.34-k75.75.75.75.7"]
)
def test_names_with_missing_blocks(name):
    with pytest.raises(InputError, match="No subnet of this space has that name"):
        OFA.parse(name)


def test_a_name_in_another_order_is_answered_with_the_right_one():
    with pytest.raises(InputError, match=r"did you mean r192-d23423\?"):
        COMPOFA.parse("d23423-r192")
