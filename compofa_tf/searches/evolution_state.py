"""The file of an evolution under way: written now and then, and taken up by the same search. NumPy only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf import files
from compofa_tf.accuracy.predictor import Predictor
from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import Latencies
from compofa_tf.searches.population import Population
from compofa_tf.space import Space
from compofa_tf.space.archs import Archs

KIND = "evolution_state"


class EvolutionState:
    """Where an evolution keeps what it has found.

    Args:
      path: The file; None for a search that is not kept.
      space: The space.
      header: What the search depends on, JSON-serialisable. A file is taken up only under the same; ``generations``
        alone may be other, as long as the search goes at least as far as the file.
    """

    def __init__(self, path: str | os.PathLike[str] | None, space: Space, header: dict[str, Any]) -> None:
        self.path, self.space, self.header = path, space, header

    def save(self, found: Population, rng: np.random.Generator, generation: int) -> None:
        """Writes what was found up to a generation, and the state of the random numbers; atomically."""
        if self.path is None:
            return
        content = {
            **self.header,
            "generation": generation,
            "evaluated": found.evaluated,
            "rng": rng.bit_generator.state,
            "members": [self.space.id(found.archs.arch(self.space, index)) for index in range(len(found.archs))],
            "accuracy": found.accuracy.tolist(),
            "latency_ms": found.latency.tolist(),
        }
        files.write_json(self.path, content, kind=KIND, overwrite=True)

    def resume(self, found: Population, rng: np.random.Generator, *, accuracy: Predictor, latency: Latencies) -> int:
        """Takes up a saved state and returns its generation; 0 if there is none.

        Args:
          found: Gets what was found, if there is a file.
          rng: Gets the state of the random numbers.
          accuracy: What the accuracies in the file must come from.
          latency: What the latencies in the file must come from.

        Raises:
          InputError: If the file is damaged or of another search.
        """
        if self.path is None or not Path(self.path).exists():
            return 0
        content = files.read_json(self.path, kind=KIND)
        self._check_header(content)
        try:
            found.archs = Archs.of(self.space, [self.space.parse(name) for name in content["members"]])
            found.accuracy, found.latency = (np.array(content[key], np.float64) for key in ("accuracy", "latency_ms"))
            found.evaluated, generation = int(content["evaluated"]), int(content["generation"])
            rng.bit_generator.state = content["rng"]
            if not len(found.archs) == len(found.accuracy) == len(found.latency) > 0 or generation < 1:
                raise ValueError("its columns differ in length or are empty")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path} is damaged ({error}); delete it to search anew.") from error
        if generation > self.header["generations"]:
            raise InputError(
                f"{self.path} has come further than this search goes: {generation} generations; ask for at least as "
                f"many, or delete it. Received: generations={self.header['generations']}"
            )
        self._check_values(found, accuracy, latency)
        return generation

    def _check_header(self, content: dict[str, Any]) -> None:
        for name, wanted in self.header.items():
            if content.get(name) != wanted and name != "generations":
                raise InputError(
                    f"{self.path} belongs to a search with other settings; delete it or give another path. "
                    f"Received: {name}={wanted!r} where the file has {content.get(name)!r}"
                )

    def _check_values(self, found: Population, accuracy: Predictor, latency: Latencies) -> None:
        """A state is of the predictor and the table that its values come from; no others can go on with it."""
        for name, now, then in (
            ("accuracies", accuracy.predict_all(found.archs), found.accuracy),
            ("latencies", latency.predict_all(found.archs), found.latency),
        ):
            if not np.allclose(now, then, rtol=1e-5, atol=1e-7):
                raise InputError(
                    f"{self.path} belongs to a search with other {name}; delete it, or give another path, to search "
                    "with these."
                )
