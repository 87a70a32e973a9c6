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
from compofa_tf.space import Arch, Space, cost
from compofa_tf.space.pieces import Piece, covering_archs
from compofa_tf.space.units import BlockUnit, ConvUnit, DenseUnit, PoolUnit, Unit, unit_costs

PUBLISHED_WIDTH = 1.2
"""Width of the networks whose operations the published tables hold."""

SLOWEST_RATE, FASTEST_RATE = 2e7, 2e12
"""Multiply-adds per second of a network, from a microcontroller to a fast accelerator: tables in ms lie between."""

_ORIGIN = "published with CompOFA (Apache-2.0); measured on a Samsung Note10 for Once-for-All"
_FILE = re.compile(r"(\d+)_lookup_table\.yaml")
_NAMES = {"stem": "Conv", "head_expand": "Conv_1", "head_mix": "Conv_2"}

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
    return {side: _read_rows(path) for side, path in found.items()}


def published_lookup_tables() -> dict[int, Rows]:
    """Returns the tables of the Samsung Note10 that ship with this package, from 160 to 224 px in steps of 4."""
    resource = importlib.resources.files("compofa_tf.published") / "note10.json"
    content = json.loads(resource.read_text(encoding="utf-8"))
    names = ("mean", "std", "count")
    return {
        int(side): {key: dict(zip(names, row)) for key, row in rows.items()} for side, rows in content["tables"].items()
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
    if space.family != "mobilenet_v3" or space.profile != "mobile" or space.arguments.get("strides"):
        raise InputError(
            f"The published tables are for mobilenet_v3 with profile mobile and its own strides. Received: {space!r}"
        )
    wide = families.get("mobilenet_v3", **{**space.arguments, "width_mult": PUBLISHED_WIDTH, "classes": 1000})
    sides = tuple(sorted(set(resolutions) or set(tables)))
    absent = [side for side in sides if side not in tables]
    if absent:
        raise InputError(f"The tables have the resolutions {sorted(tables)}. Received: resolution={absent[0]}")
    table = LatencyTable(
        space=space,
        precision="float32",
        device=device,
        resolutions=sides,
        runs=1,
        warmup=0,
        conditions={
            "origin": origin,
            "caveat": (
                f"the rows describe networks of width {PUBLISHED_WIDTH}; this space has {space.arguments['width_mult']}"
            ),
        },
    )
    for side in sides:
        for arch in covering_archs(space, side):
            for own, published in zip(space.pieces(arch), wide.pieces(arch), strict=True):
                name = entry_at(side, own.key)
                if name not in table.entries:
                    table.entries[name] = _timing(published, tables[side], side)
            _check_unit(table, wide, arch)
    return table


def _check_unit(table: LatencyTable, wide: Space, arch: Arch) -> None:
    """The rows say no unit; seconds or microseconds in place of ms make a phone a thousand times too fast or slow."""
    ms = table.predict(arch)
    rate = cost.macs(wide, arch) / (ms / 1000)
    if not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise InputError(
            f"The table for {arch.resolution} px is not in ms: a network of {cost.macs(wide, arch) / 1e6:.0f} M "
            f"multiply-adds would take {ms:.3g} ms; convert its means to ms."
        )


def _timing(piece: Piece, rows: Rows, side: int) -> Timing:
    found = []
    height, width = piece.height, piece.width
    for unit in piece.units:
        _, after_height, after_width = unit_costs(unit, height, width)
        key = _row_key(unit, (height, width), (after_height, after_width), piece)
        if key not in rows:
            raise InputError(f"The table for {side} px has no {key}; it is damaged or of another network.")
        found.append(rows[key])
        height, width = after_height, after_width
    return Timing(
        turn_ms=(sum(row["mean"] for row in found),),
        p90_ms=None,
        min_ms=None,
        runs=min(row["count"] for row in found),
        fully_accelerated=False,
        date="unknown",
    )


def _row_key(unit: Unit, before: tuple[int, int], after: tuple[int, int], piece: Piece) -> str:
    if isinstance(unit, PoolUnit):
        channels = next(u.out_channels for u in piece.units if isinstance(u, ConvUnit))
        return f"AvgPool2D-input:{before[0]}x{before[1]}x{channels}-output:1x1x{channels}"
    if isinstance(unit, DenseUnit):
        return f"Logits-input:1x1x{unit.in_channels}-output:{unit.out_channels}"
    if not isinstance(unit, BlockUnit | ConvUnit):
        raise InputError(f"The published tables know no {type(unit).__name__}. Received: {unit.name}")
    sizes = f"input:{before[0]}x{before[1]}x{unit.in_channels}-output:{after[0]}x{after[1]}x{unit.out_channels}"
    if isinstance(unit, ConvUnit):
        return f"{_NAMES[unit.name]}-{sizes}"
    return f"expanded_conv-{sizes}-{_block_key(unit)}"


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
