"""The colours of page and figures, for light and dark pages."""

from __future__ import annotations

LIGHT = {
    "ink": "#1d2330",
    "muted": "#6a7282",
    "grid": "#e7e5df",
    "card": "#ffffff",
    "accent": "#d4502a",
    "second": "#2f6f8f",
}
DARK = {
    "ink": "#e8e9ed",
    "muted": "#9aa2b1",
    "grid": "#2c313b",
    "card": "#1a1e26",
    "accent": "#ff8b64",
    "second": "#7cc0df",
}
RAMPS = {"light": ("#b3c7e3", "#6489c7", "#2b3a86"), "dark": ("#56689e", "#85a5e3", "#dbe7ff")}
MOST_RESOLUTIONS = 32
"""Resolutions that a figure can tell apart; further ones begin again with the first colour."""


def ramp(count: int, *, mode: str = "light") -> tuple[str, ...]:
    """Returns ``count`` hexadecimal colours, lowest resolution first, for a ``light`` or ``dark`` page."""
    stops = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in RAMPS[mode]]
    colors = []
    for index in range(count):
        place = (len(stops) - 1) * (index / (count - 1) if count > 1 else 0.5)
        lower = min(int(place), len(stops) - 2)
        mixed = [round(a + (b - a) * (place - lower)) for a, b in zip(stops[lower], stops[lower + 1])]
        colors.append("#" + "".join(f"{value:02x}" for value in mixed))
    return tuple(colors)


def on_white(resolutions: int) -> dict[str, str]:
    """Returns the colours of a figure with so many resolutions on a white ground."""
    return {**LIGHT, **{f"r{index}": color for index, color in enumerate(ramp(resolutions))}}


def placeholders() -> dict[str, str]:
    """Returns colours that occur nowhere else, to be replaced by CSS variables of their names."""
    names = [*LIGHT, *(f"r{index}" for index in range(MOST_RESOLUTIONS))]
    return {name: f"#fe{index:02x}dc" for index, name in enumerate(names)}
