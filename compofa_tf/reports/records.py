"""Records whose content is not vouched for: a key that is missing or leads nowhere gives ``None``."""

from __future__ import annotations

import math
from typing import Any


def value(content: Any, *keys: str) -> Any:
    """Returns ``content[key]...``, or ``None`` where a key is missing or leads to no mapping."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def number(content: Any, *keys: str) -> float | None:
    """Returns ``value`` if it is a finite number, else ``None``."""
    found = value(content, *keys)
    valid = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found)
    return found if valid else None
