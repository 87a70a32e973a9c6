"""The latency look-up tables that were published with Once-for-All and CompOFA, as latency tables. No TensorFlow."""

from __future__ import annotations

import importlib.resources
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable, entry_at
from compofa_tf.latency.timings import Timing
from compofa_tf.published import networks
from compofa_tf.published.networks.network import LookupRows, is_made_for
from compofa_tf.space import Arch, Space, cost
from compofa_tf.space.pieces import Piece, covering_archs
from compofa_tf.space.units import BlockUnit, DenseUnit, Unit

SLOWEST_RATE, FASTEST_RATE = 2e7, 2e12
"""Multiply-adds per second of a network, from a microcontroller to a fast accelerator: tables in ms lie between."""

_ORIGIN = "published with CompOFA (Apache-2.0); measured on a Samsung Note10 for Once-for-All"
_FILE = re.compile(r"(\d+)_lookup_table\.yaml")

Rows = Mapping[str, Mapping[str, Any]]
"""Operation -> ``mean`` and ``std`` in ms and ``count`` of measurements."""


def read_lookup_tables(folder: str | os.PathLike[str]) -> dict[int, Rows]:
    """Reads ``<resolution>_lookup_table.yaml`` files with the safe loader: no tag in them is obeyed.

    Args:
      folder: Holds one file per resolution.

    Returns:
      Resolution in px -> rows.

    Raises:
      InputError: If there are none, or one is damaged, has duplicate or impossible entries.
    """
    try:
        named = [
            (int(match[1]), path) for path in sorted(Path(folder).iterdir()) if (match := _FILE.fullmatch(path.name))
        ]
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); give the folder of the YAML files.") from None
    found = dict(named)
    if len(found) < len(named):
        names = ", ".join(path.name for _, path in named)
        raise InputError(f"{folder} has two tables of one resolution; keep the right one. Received: {names}")
    if not found:
        raise InputError(f"{folder} holds no file like 160_lookup_table.yaml.")
    return {resolution: _read_rows(path) for resolution, path in found.items()}


def published_lookup_tables() -> dict[int, Rows]:
    """Returns the tables of the Samsung Note10 that ship with this package, from 160 to 224 px in steps of 4."""
    resource = importlib.resources.files("compofa_tf.published") / "note10.json"
    content = json.loads(resource.read_text(encoding="utf-8"))
    names = ("mean", "std", "count")
    return {
        int(resolution): {key: dict(zip(names, row)) for key, row in rows.items()}
        for resolution, rows in content["tables"].items()
    }


def latency_from_lookup(
    space: Space,
    tables: Mapping[int, Rows],
    *,
    resolutions: Iterable[int] = (),
    device: str = "note10",
    origin: str = _ORIGIN,
) -> LatencyTable:
    """Returns published rows as the latency table of a space.

    A subnet's latency is the sum of the rows of its operations, as in the authors' code. The rows describe networks of
    width 1.2 whatever the width of ``space``: an operation is looked up at the sizes it has there, as the authors do.
    The table's ``conditions`` say so.

    Args:
      space: A ``mobilenet_v3`` space with the published strides.
      tables: From ``published_lookup_tables`` or ``read_lookup_tables``.
      resolutions: Those to take; all when empty.
      device: What they were measured on.
      origin: Where they come from.

    Raises:
      InputError: If the space does not fit, a table lacks a resolution or operation, or its numbers cannot be ms: a
        network would compute less than 20 million or more than 2 million million multiply-adds per second.
    """
    names = _names_for(space)
    wide = families.get(space.family, **{**space.arguments, "width_mult": names.width_mult, "classes": 1000})
    chosen = tuple(sorted(set(resolutions) or set(tables)))
    absent = [resolution for resolution in chosen if resolution not in tables]
    if absent:
        raise InputError(f"The tables have the resolutions {sorted(tables)}. Received: resolution={absent[0]}")
    caveat = f"the rows describe networks of width {names.width_mult}; this space has {space.arguments['width_mult']}"
    table = LatencyTable(
        space=space,
        precision="float32",
        device=device,
        resolutions=chosen,
        runs=1,
        warmup=0,
        conditions={"origin": origin, "caveat": caveat},
    )
    for arch in (arch for resolution in chosen for arch in covering_archs(space, resolution)):
        for own, published in zip(space.pieces(arch), wide.pieces(arch), strict=True):
            name = entry_at(arch.resolution, own.key)
            if name not in table.entries:
                table.entries[name] = _timing(published, names, tables[arch.resolution], arch.resolution)
        _check_unit(table, wide, arch)
    return table


def _names_for(space: Space) -> LookupRows:
    """How the rows for a space are named; ``InputError`` if there are none for it."""
    known = {network.family: network.lookup for network in networks.known() if network.lookup is not None}
    names = known.get(space.family)
    if names is None or not is_made_for(space, names.made_for):
        raise InputError(
            f"The published tables are for {' or '.join(known)} with profile mobile and its own strides. "
            f"Received: {space!r}"
        )
    return names


def _check_unit(table: LatencyTable, wide: Space, arch: Arch) -> None:
    """The rows say no unit; seconds or microseconds in place of ms make a phone a thousand times too fast or slow."""
    ms = table.predict(arch)
    rate = cost.macs(wide, arch) / (ms / 1000)
    if not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise InputError(
            f"The table for {arch.resolution} px is not in ms: a network of {cost.macs(wide, arch) / 1e6:.0f} M "
            f"multiply-adds would take {ms:.3g} ms; convert its means to ms."
        )


def _timing(piece: Piece, names: LookupRows, rows: Rows, resolution: int) -> Timing:
    found, size, channels = [], (piece.height, piece.width), 0
    for unit in piece.units:
        size_after = unit.map_size(*size)
        key = _row_key(unit, names, size, size_after, channels)
        if key not in rows:
            raise InputError(f"The table for {resolution} px has no {key}; it is damaged or of another network.")
        found.append(rows[key])
        size, channels = size_after, getattr(unit, "out_channels", channels)
    return Timing(
        turn_ms=(sum(row["mean"] for row in found),),
        p90_ms=None,
        min_ms=None,
        runs=min(row["count"] for row in found),
        fully_accelerated=False,
        date="unknown",
    )


def _row_key(unit: Unit, names: LookupRows, before: tuple[int, int], after: tuple[int, int], channels: int) -> str:
    """The name of the row of a unit that reads a map of ``before`` pixels and some channels, and writes ``after``."""
    word = names.units.get(unit.name, names.blocks)
    reads, writes = getattr(unit, "in_channels", channels), getattr(unit, "out_channels", channels)
    if isinstance(unit, DenseUnit):
        return f"{word}-input:1x1x{reads}-output:{writes}"
    sizes = f"input:{before[0]}x{before[1]}x{reads}-output:{after[0]}x{after[1]}x{writes}"
    return f"{word}-{sizes}-{_block_key(unit)}" if isinstance(unit, BlockUnit) else f"{word}-{sizes}"


def _block_key(unit: BlockUnit) -> str:
    flags = {
        "expand": unit.middle,
        "kernel": unit.kernel,
        "stride": unit.stride,
        "idskip": int(unit.shortcut),
        "se": int(bool(unit.se_channels)),
        "hs": int(unit.activation == "hard_swish"),
    }
    return "-".join(f"{name}:{value}" for name, value in flags.items())


def _read_rows(path: Path) -> Rows:
    import yaml

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_strict_loader())
    except (OSError, ValueError, TypeError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path} is no table of plain YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} holds no rows; it is truncated or another file.")
    for key, row in content.items():
        if not isinstance(key, str):
            raise InputError(f"{path}: a row must be named by a text; the file is damaged. Received: {key!r}")
        if not isinstance(row, dict) or not {"mean", "count"} <= set(row):
            raise InputError(f"{path}: {key} lacks mean or count; the file is damaged.")
        counted = isinstance(row["count"], int) and not isinstance(row["count"], bool) and row["count"] >= 1
        if not _is_positive(row["mean"]) or not counted:
            raise InputError(
                f"{path}: the mean of {key} must be a positive number of ms, its count a whole number. "
                f"Received: {row['mean']!r} and {row['count']!r}"
            )
    return content


def _is_positive(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 < value < 1e12 and math.isfinite(value)


def _strict_loader() -> Any:
    """PyYAML's safe loader, which also refuses a key that stands there twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def construct(loader: Any, node: Any) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{sorted(map(str, twice))[0]} stands there twice")
        return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value)}

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct)
    return Loader
