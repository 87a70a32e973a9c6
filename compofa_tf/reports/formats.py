"""How numbers are written for people: the formats of the template."""

from __future__ import annotations

ABSENT = "–"
"""Stands where there is no number."""


def percent(share: float | None) -> str:
    """``0.8272`` as ``82.7 %``."""
    return ABSENT if share is None else f"{100 * share:.1f} %"


def difference(percentage: float | None) -> str:
    """``-0.94`` as ``−0.9 %``, with a minus sign that is as wide as the plus."""
    return ABSENT if percentage is None else f"{percentage:+.1f} %".replace("-", "−")


def milliseconds(ms: float | None) -> str:
    """Three significant digits, without an exponent: ``0.0123``, ``4.56``, ``123``."""
    if ms is None:
        return ABSENT
    digits = 0 if ms >= 100 else 1 if ms >= 10 else 2 if ms >= 1 else 3
    return f"{ms:.{digits}f}"


def byte_size(size_bytes: float | None) -> str:
    """Decimal kilobytes and megabytes."""
    if size_bytes is None:
        return ABSENT
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def short_count(count: float | None) -> str:
    """``12900000`` as ``12.9 M``."""
    if count is None:
        return ABSENT
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return f"{count:g}"


FILTERS = {"percent": percent, "difference": difference, "ms": milliseconds, "size": byte_size, "count": short_count}
"""Names of the number formats in the template."""
