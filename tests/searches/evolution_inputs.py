"""Spaces, published tables and predictors, and made-up ones, for the parts of the evolution."""

from __future__ import annotations

import numpy as np

from compofa_tf import families
from compofa_tf.latency.arrays import latencies_of
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.published.lookup_tables import latency_from_lookup, published_lookup_tables
from compofa_tf.searches.genes import Genes

SPACES = {
    "compofa": families.mobilenet_v3(),
    "compofa-elastic": families.mobilenet_v3(kernel="elastic"),
    "ofa": families.mobilenet_v3(coupling="independent", kernel="elastic"),
}


SIDES = (160, 192, 224)


TABLES = published_lookup_tables()


def predictors(name):
    space = SPACES[name]
    table = latency_from_lookup(space, TABLES, resolutions=SIDES)
    return AccuracyPredictor.published(space), latencies_of(table, SIDES)


def published(name, resolutions=SIDES):
    space = SPACES[name]
    return {
        "accuracy": AccuracyPredictor.published(space),
        "latency": latency_from_lookup(space, TABLES, resolutions=resolutions),
    }


def variation(name, seed=0):
    return Genes(SPACES[name], SIDES, np.random.default_rng(seed))


def ids_of(name, archs):
    return [SPACES[name].id(archs.arch(SPACES[name], index)) for index in range(len(archs))]


class Toy:
    """Accuracy and latency of any arch, from a random number per choice; both grow with what is chosen."""

    def __init__(self, seed):
        self.seed = seed

    def predict_all(self, archs):
        columns = [archs.depths, archs.expands, archs.kernels, archs.widths, archs.resolutions[:, None] / 16]
        table = np.concatenate(columns, axis=1)
        factors = np.random.default_rng(self.seed).uniform(0.5, 1.5, table.shape[1])
        return table @ factors
