"""Families: each a ``Space`` written down as data, in a module that holds a function of its name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compofa_tf.errors import InputError
from compofa_tf.space import Space

if TYPE_CHECKING:
    from compofa_tf.families.mobilenet_v3 import mobilenet_v3 as mobilenet_v3
    from compofa_tf.families.proxyless_nas import proxyless_nas as proxyless_nas
    from compofa_tf.families.resnet50 import resnet50 as resnet50

_FAMILIES: dict[str, Callable[..., Space]] = {}


def names() -> tuple[str, ...]:
    """Returns the names that ``get`` knows."""
    return tuple(sorted(_FAMILIES))


def register(family: Callable[..., Space]) -> Callable[..., Space]:
    """Makes a family known under the name of its function; to be used as a decorator.

    Needed for families outside this package, before a file of theirs is read: files hold name and settings of a space.

    Args:
      family: Takes keyword arguments and returns a ``Space`` whose ``family`` is the function's name and whose
        ``settings``, given as arguments, make the same space again.

    Raises:
      InputError: If another function has that name.
    """
    name = family.__name__
    if _FAMILIES.get(name, family) is not family:
        raise InputError(f"There is a family of that name; choose another. Received: {name}")
    _FAMILIES[name] = family
    return family


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


for _module in pkgutil.iter_modules(__path__):
    _function = getattr(importlib.import_module(f"{__name__}.{_module.name}"), _module.name, None)
    if _function is not None:
        globals()[_module.name] = register(_function)

__all__ = ["get", "names", "register", *names()]
