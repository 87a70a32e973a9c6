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

    Needed for families outside this package, before a file of theirs is read: files hold name and arguments of a space.

    Args:
      family: Takes keyword arguments and returns a ``Space`` whose ``family`` is the function's name and whose
        ``arguments`` make the same space again.

    Raises:
      InputError: If another function has that name.
    """
    name = family.__name__
    if _FAMILIES.get(name, family) is not family:
        raise InputError(f"There is a family of that name; choose another. Received: {name}")
    _FAMILIES[name] = family
    return family


def get(name: str, **arguments: Any) -> Space:
    """Returns the space of a family by name.

    Args:
      name: One of ``names()``.
      **arguments: Keyword arguments of the family's function.

    Raises:
      InputError: For an unknown name or argument.
    """
    if name not in names():
        raise InputError(f"There is no such family; there are {', '.join(names())}. Received: family={name!r}")
    known = inspect.signature(_FAMILIES[name]).parameters
    unknown = [key for key in arguments if key not in known]
    if unknown:
        raise InputError(f"Family {name} takes {', '.join(known)}. Received: {', '.join(unknown)}")
    return _FAMILIES[name](**arguments)


def from_json(content: Any) -> Space:
    """Inverse of ``Space.to_json``; raises ``InputError`` for anything else."""
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise InputError(f"Not a space description (family, settings). Received: {content!r}")
    return get(content.get("family", ""), **content["settings"])


def space_in(content: dict[str, Any], *, expected: Space | None, again: str) -> Space:
    """Returns the space that the content of a file names under ``space`` and ``fingerprint``.

    Args:
      content: The file's.
      expected: The space that it must be, if given.
      again: What to do when it is another, for example ``"search again"``.
    """
    own = from_json(content["space"])
    if expected is not None and content["fingerprint"] != expected.fingerprint:
        raise InputError(f"it is of another space ({own!r} instead of {expected!r}); {again}")
    return own


for _module in pkgutil.iter_modules(__path__):
    _function = getattr(importlib.import_module(f"{__name__}.{_module.name}"), _module.name, None)
    if _function is not None:
        globals()[_module.name] = register(_function)

__all__ = ["from_json", "get", "names", "register", "space_in", *names()]
