"""Where a search reads accuracies and latencies: measured tables, or what the authors published. No TensorFlow."""

from __future__ import annotations

from pathlib import Path

from compofa_tf import commands
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.pipeline.run import Run
from compofa_tf.published import lookup_tables
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.space import Space

ACCURACIES = ("measured", "published")
LATENCIES = ("measured", "published", "lookup:FOLDER")


def accuracy_source(name: str, run: Run) -> AccuracyTable | AccuracyPredictor:
    """Returns what a search reads accuracies from.

    Args:
      name: ``"measured"``: the accuracy table; ``"published"``: the authors' predictor.
      run: The run.

    Raises:
      InputError: For another name, a missing or damaged table, or a space that the predictor is not made for.
    """
    if name not in ACCURACIES:
        raise InputError(f"Accuracies are {' or '.join(ACCURACIES)}. Received: accuracy={name!r}")
    if name == "published":
        return AccuracyPredictor.published(run.space)
    run.require(run.accuracy_file, commands.ACCURACY, instead=_instead(run.space))
    return AccuracyTable.load(run.accuracy_file, space=run.space)


def _instead(space: Space) -> str:
    try:
        AccuracyPredictor.published(space)
    except InputError:
        return ""
    return ", or search with the authors' predictor (--accuracy published)"


def latency_source(name: str, run: Run) -> LatencyTable:
    """Returns what a search reads latencies from.

    Args:
      name: ``"measured"``: the latency table of the precision to search in; ``"published"``: the authors' tables of a
        Samsung Note10; ``"lookup:FOLDER"``: tables of that form in a folder of YAML files.
      run: The run. Of published tables those are read that are for one of its resolutions.

    Raises:
      InputError: For another name, a missing or damaged table, or a space that the published tables do not fit.
    """
    if name == "measured":
        table = run.latency_table_file(run.recipe.search.precision)
        run.require(table, commands.LATENCY)
        return LatencyTable.load(table, space=run.space)
    kind, _, folder = name.partition(":")
    if name != "published" and not (kind == "lookup" and folder):
        raise InputError(f"Latencies are {', '.join(LATENCIES)}. Received: latency={name!r}")
    tables = lookup_tables.read_lookup_tables(folder) if folder else lookup_tables.published_lookup_tables()
    resolutions = run.recipe.accuracy.resolutions
    known = sorted(set(resolutions) & set(tables))
    if not known:
        raise InputError(
            f"The look-up tables have the resolutions {sorted(tables)}, this run has others. "
            f"Received: resolutions={list(resolutions)}"
        )
    if not folder:
        return lookup_tables.latency_from_lookup(run.space, tables, resolutions=known)
    name, origin = Path(folder).resolve().name, f"look-up tables of {folder}"
    return lookup_tables.latency_from_lookup(run.space, tables, resolutions=known, device=name, origin=origin)
