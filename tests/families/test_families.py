"""Families by name, those of one's own among them."""

from __future__ import annotations

import pytest
from tiny import tiny_space

from compofa_tf import families
from compofa_tf.errors import InputError


@pytest.mark.parametrize("name", ["mobilenet", "", None, ["mobilenet_v3"]])
def test_unknown_family(name):
    with pytest.raises(InputError, match=r"There is no such family; there are .*mobilenet_v3"):
        families.get(name)


def test_families_from_outside_are_found_by_name_once_registered(monkeypatch):
    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))
    assert families.register(tiny_space) is tiny_space
    assert families.get("tiny_space", classes=3).classes == 3
    families.register(tiny_space)

    def mobilenet_v3():
        return tiny_space()

    with pytest.raises(InputError, match=r"There is a family of that name; .*Received: mobilenet_v3"):
        families.register(mobilenet_v3)
