"""The published tables and predictor for tests, and the spaces that they are for."""

from __future__ import annotations

from compofa_tf import families
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.published.lookup_tables import latency_from_lookup, published_lookup_tables

SPACES = {
    "compofa": families.mobilenet_v3(),
    "compofa-elastic": families.mobilenet_v3(kernel="elastic"),
    "ofa": families.mobilenet_v3(coupling="independent", kernel="elastic"),
}
FIVE = (160, 176, 192, 208, 224)
BUDGETS = (15, 20, 25, 30)
TABLES = published_lookup_tables()
ROW = "{mean: 1.0, std: 0.1, count: 3}"
"""What stands in a YAML table after the name of an operation."""


def arch_of(space, case):
    return space.arch(depths=case["d"], expands=case["e"], kernels=case["ks"], resolution=case["r"][0])


def published(name, resolutions=FIVE):
    space = SPACES[name]
    return {
        "accuracy": AccuracyPredictor.published(space),
        "latency": latency_from_lookup(space, TABLES, resolutions=resolutions),
    }


def rows_as_yaml(folder, factor=1.0, sides=(160,)):
    """The packaged tables as YAML files, their latencies in another unit."""
    import yaml

    for side in sides:
        rows = {key: {**row, "mean": row["mean"] * factor} for key, row in TABLES[side].items()}
        (folder / f"{side}_lookup_table.yaml").write_text(yaml.safe_dump(rows))
