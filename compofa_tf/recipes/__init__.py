"""Recipes by name: one module each, whose docstring is its notebook page and whose ``RECIPE`` is the setting."""

from __future__ import annotations

import importlib
import pkgutil
import types

from compofa_tf.errors import InputError, did_you_mean
from compofa_tf.recipes import library
from compofa_tf.recipes.recipe import Recipe

__all__ = ["describe", "get", "names"]


def names() -> tuple[str, ...]:
    """Returns the names that ``get`` knows."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(library.__path__)))


def get(name: str) -> Recipe:
    """Returns a recipe by name.

    Raises:
      InputError: If there is none of that name; near matches are named.
    """
    return _module(name).RECIPE


def describe(name: str) -> str:
    """Returns the first line of a recipe's notebook page."""
    return (_module(name).__doc__ or "").strip().partition("\n")[0]


def _module(name: str) -> types.ModuleType:
    if name not in names():
        raise InputError(f"There is no such recipe; {did_you_mean(name, names())} Received: recipe={name!r}")
    return importlib.import_module(f"{library.__name__}.{name}")
