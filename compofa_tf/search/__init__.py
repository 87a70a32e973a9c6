"""Search: accuracy and latency tables in, Pareto front and best members within budgets out. No TensorFlow."""

from __future__ import annotations

import sys
import types
from typing import Any

from compofa_tf.search.accuracy import AccuracyRecord, AccuracyTable, wilson_interval
from compofa_tf.search.budgets import default_budgets, pareto
from compofa_tf.search.evolution import Evolution
from compofa_tf.search.front import Candidate, Front
from compofa_tf.search.predictor import AccuracyPredictor, Predictor
from compofa_tf.search.searching import search

__all__ = [
    "AccuracyPredictor",
    "AccuracyRecord",
    "AccuracyTable",
    "Candidate",
    "Evolution",
    "Front",
    "Predictor",
    "default_budgets",
    "pareto",
    "search",
    "wilson_interval",
]


class _CallableModule(types.ModuleType):
    """Lets ``compofa_tf.search`` be this package and, as the public name says, the function ``search``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Front:
        """Runs ``compofa_tf.search.searching.search``."""
        return search(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
