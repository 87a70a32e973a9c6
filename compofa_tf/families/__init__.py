"""Families: each a ``Space`` written down as data."""

from __future__ import annotations

import inspect
from typing import Any

from compofa_tf.errors import InputError
from compofa_tf.families.mobilenet_v3 import mobilenet_v3
from compofa_tf.families.proxyless_nas import proxyless_nas
from compofa_tf.space import Space

__all__ = ["get", "mobilenet_v3", "names", "proxyless_nas"]

_FAMILIES = {"mobilenet_v3": mobilenet_v3, "proxyless_nas": proxyless_nas}


def names() -> tuple[str, ...]:
    """Returns the names that ``get`` knows."""
    return tuple(sorted(_FAMILIES))


def get(name: str, **settings: Any) -> Space:
    """Returns the space of a family by name.

    Args:
      name: One of ``names()``.
      **settings: Keyword arguments of the family's function.

    Raises:
      InputError: For an unknown name or setting.
    """
    if name not in names():
        raise InputError(f"There is no such family; there are {', '.join(names())}. Received: family={name!r}")
    known = inspect.signature(_FAMILIES[name]).parameters
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise InputError(f"Family {name} takes {', '.join(known)}. Received: {', '.join(unknown)}")
    return _FAMILIES[name](**settings)
