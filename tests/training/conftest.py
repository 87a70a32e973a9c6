from __future__ import annotations

import pytest
from spaces import small_space
from tiny import tiny_space

from compofa_tf import families


@pytest.fixture(scope="module")
def tiny_family():
    """``RECIPE`` names a family that nobody registered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "get", lambda name, **settings: tiny_space(**settings))
        yield


@pytest.fixture
def small_family(monkeypatch):
    """A family with kernels of 5 and 3, whose elastic relative has 7 everywhere."""
    monkeypatch.setattr(families, "get", lambda name, **settings: small_space(settings["kernel"]))
