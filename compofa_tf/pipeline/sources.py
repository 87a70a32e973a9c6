"""Where a search reads accuracies and latencies: measured tables, or what the authors published. No TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.published import lookup_tables
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.space import Space

ACCURACIES = ("measured", "published")
LATENCIES = ("measured", "published", "lookup:FOLDER")


def accuracy_source(name: str, *, space: Space, table: str | os.PathLike[str]) -> AccuracyTable | AccuracyPredictor:
    """Returns what a search reads accuracies from.

    Args:
      name: ``"measured"``: the accuracy table; ``"published"``: the authors' predictor.
      space: The space.
      table: Path of the accuracy table.

    Raises:
      InputError: For another name, a missing or damaged table, or a space that the predictor is not made for.
    """
    if name not in ACCURACIES:
        raise InputError(f"Accuracies are {' or '.join(ACCURACIES)}. Received: accuracy={name!r}")
    if name == "published":
        return AccuracyPredictor.published(space)
    if not Path(table).exists():
        raise InputError(f"There is no {table}: run `compofa measure --accuracy` first{_instead(space)}.")
    return AccuracyTable.load(table, space=space)


def _instead(space: Space) -> str:
    try:
        AccuracyPredictor.published(space)
    except InputError:
        return ""
    return ", or search with the authors' predictor (--accuracy published)"


def latency_source(
    name: str, *, space: Space, table: str | os.PathLike[str], resolutions: Sequence[int]
) -> LatencyTable:
    """Returns what a search reads latencies from.

    Args:
      name: ``"measured"``: the latency table; ``"published"``: the authors' tables of a Samsung Note10;
        ``"lookup:FOLDER"``: tables of that form in a folder of YAML files.
      space: The space.
      table: Path of the measured latency table.
      resolutions: Resolutions to look at; of published tables those of them that they have.

    Raises:
      InputError: For another name, a missing or damaged table, or a space that the published tables do not fit.
    """
    if name == "measured":
        if not Path(table).exists():
            raise InputError(f"There is no {table}: run `compofa measure --latency` first.")
        return LatencyTable.load(table, space=space)
    kind, _, folder = name.partition(":")
    if name != "published" and not (kind == "lookup" and folder):
        raise InputError(f"Latencies are {', '.join(LATENCIES)}. Received: latency={name!r}")
    tables = lookup_tables.read_lookup_tables(folder) if folder else lookup_tables.published_lookup_tables()
    known = sorted(set(resolutions) & set(tables))
    if not known:
        raise InputError(
            f"The look-up tables have the resolutions {sorted(tables)}, this run has others. "
            f"Received: resolutions={list(resolutions)}"
        )
    if not folder:
        return lookup_tables.latency_from_lookup(space, tables, resolutions=known)
    name, origin = Path(folder).resolve().name, f"look-up tables of {folder}"
    return lookup_tables.latency_from_lookup(space, tables, resolutions=known, device=name, origin=origin)
