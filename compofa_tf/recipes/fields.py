"""Frozen dataclasses that check their own types and are read from JSON and ``key=value`` texts. No TensorFlow.

The annotations decide: int, float, bool, str, ``X | None``, ``tuple[X, ...]``, and dataclasses inside each other.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Iterator
from typing import Any

from compofa_tf.errors import InputError, did_you_mean


def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def later(default: Any) -> Any:
    """A field that was added later: left out of the JSON form while it has its default, so that hashes stay."""
    return dataclasses.field(default=default, metadata={"later": True})


def to_json(value: Any) -> Any:
    """Returns a dataclass as nested JSON-serialisable mappings; tuples become lists."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        kept = [f.name for f in fields if not (f.metadata.get("later") and getattr(value, f.name) == f.default)]
        return {name: to_json(getattr(value, name)) for name in kept}
    return [to_json(entry) for entry in value] if isinstance(value, tuple) else value


def require(settings: Any, name: str, holds: bool, expected: str) -> None:
    """Raises ``InputError`` that names the field, what was expected of it and its value, unless ``holds``."""
    if not holds:
        raise InputError(f"{name} must be {expected}. Received: {name}={getattr(settings, name)!r}")


def check_fields(settings: Any) -> None:
    """Checks every field against its annotation; lists become tuples and whole numbers floats where floats belong."""
    for name, hint in _hints(type(settings)).items():
        object.__setattr__(settings, name, _fit(getattr(settings, name), hint, name))


def _fit(value: Any, hint: Any, name: str) -> Any:
    optional = _optional(hint)
    if optional is not None:
        return None if value is None else _fit(value, optional, name)
    if typing.get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        return tuple(_fit(entry, typing.get_args(hint)[0], name) for entry in value)
    if hint is bool or isinstance(value, bool):
        fits = hint is bool and isinstance(value, bool)
    elif hint is float:
        fits = isinstance(value, numbers.Real) and math.isfinite(value)
    elif hint is int:
        fits = isinstance(value, numbers.Integral)
    elif dataclasses.is_dataclass(hint):
        fits = type(value) is hint  # JSON does not say of which class a mapping was
    else:
        fits = typing.get_origin(hint) is None and isinstance(value, hint)
    if not fits:
        raise InputError(f"{name} must be {_describe(hint)}. Received: {name}={value!r}")
    return hint(value) if hint in (int, float) else value


def _optional(hint: Any) -> Any:
    """The type beside None, or None if ``hint`` does not allow None."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return None
    return next(argument for argument in typing.get_args(hint) if argument is not type(None))


def _describe(hint: Any) -> str:
    optional = _optional(hint)
    if optional is not None:
        return f"{_describe(optional)} or none"
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        listed = {int: "whole numbers (int)", float: "numbers (float)", str: "words (str)"}
        return f"a comma-separated list of {listed.get(inner, getattr(inner, '__name__', str(inner)))}"
    plain = {
        int: "a whole number (int)",
        float: "a finite number (float)",
        bool: "true or false (bool)",
        str: "a text (str)",
    }
    return plain.get(hint, f"a {getattr(hint, '__name__', hint)}")


def build(cls: Any, content: Any, where: str) -> Any:
    """Returns a dataclass from nested mappings; unknown and missing keys raise ``InputError``."""
    if not isinstance(content, dict):
        raise InputError(f"{where or 'A recipe'} must be a mapping of settings. Received: {content!r}")
    fields = {entry.name: entry for entry in dataclasses.fields(cls)}
    prefix = f"{where}." if where else ""
    for key in content:
        if key not in fields:
            raise InputError(unknown(f"{prefix}{key}", [prefix + name for name in fields]))
    for name, entry in fields.items():
        if name not in content and entry.default is entry.default_factory is dataclasses.MISSING:
            raise InputError(f"The setting {prefix}{name} is missing.")
    return cls(**{key: _inner(_hints(cls)[key], value, prefix + key) for key, value in content.items()})


def _inner(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    entry = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None
    if dataclasses.is_dataclass(entry) and isinstance(value, list):
        return tuple(build(entry, item, f"{where}.{i}") for i, item in enumerate(value))
    return value


def leaves(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields dotted key, annotation and value of every setting below ``settings``."""
    for name, hint in _hints(type(settings)).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{name}.")
        elif isinstance(value, tuple) and dataclasses.is_dataclass(typing.get_args(hint)[0]):
            for i, entry in enumerate(value):
                yield from leaves(entry, f"{prefix}{name}.{i}.")
        else:
            yield prefix + name, hint, value


def unknown(key: str, known: list[str]) -> str:
    """Returns the message for a key that does not exist, with near matches."""
    last = key.rpartition(".")[2]
    near = [name for name in known if name.startswith(key + ".") or name.rpartition(".")[2] == last]
    hint = f"did you mean {' or '.join(near[:6])}?" if near else did_you_mean(key, known, count=3, cutoff=0.55)
    return f"There is no such setting; {hint} Received: {key}"


def parse(text: str, hint: Any, key: str) -> Any:
    """Returns a text as the annotated type; ``InputError`` names the type when it does not fit."""
    optional = _optional(hint)
    if optional is not None and text.lower() == "none":
        return None
    try:
        if typing.get_origin(hint) is tuple:
            inner = typing.get_args(hint)[0]
            return [_convert(part.strip(), inner) for part in text.split(",")] if text else []
        return _convert(text, optional or hint)
    except ValueError:
        raise InputError(f"{key} must be {_describe(hint)}. Received: {key}={text}") from None


def _convert(text: str, hint: Any) -> Any:
    if hint is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse()
    value = hint(text)
    return value if hint is not float or math.isfinite(value) else _refuse()


def _refuse() -> Any:
    raise ValueError


def assign(content: Any, key: str, value: Any) -> None:
    """Sets a dotted key in nested mappings and lists."""
    *parents, last = key.split(".")
    for part in parents:
        content = content[int(part)] if isinstance(content, list) else content[part]
    content[last] = value
