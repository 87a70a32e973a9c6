"""Which pictures each subnet answered rightly: packed bits beside an accuracy table. NumPy only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf import files
from compofa_tf.errors import InputError
from compofa_tf.statistics import PairedDifference, paired_difference


@dataclass(eq=False)
class Answers(Mapping[str, np.ndarray]):
    """Right or wrong, by subnet and picture: a read-only mapping ``id -> bool [count]`` that ``add`` extends.

    The pictures are those of the accuracy table, in the order of ``Data.eval``, the same for every subnet.

    Attributes:
      count: Pictures.
      labels: Class of each picture, int32 ``[count]``; None in files that do not have it.
    """

    count: int
    labels: np.ndarray | None = None
    _bits: dict[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        """Returns the answers of a subnet."""
        return np.unpackbits(self._bits[name], count=self.count).astype(bool)

    def __iter__(self) -> Iterator[str]:
        """Iterates over the ids."""
        return iter(self._bits)

    def __len__(self) -> int:
        """Number of subnets."""
        return len(self._bits)

    def add(self, name: str, right: np.ndarray) -> None:
        """Adds the answers of a subnet: bool ``[count]``."""
        if right.shape != (self.count,):
            raise InputError(f"Each subnet answers the same {self.count} pictures. Received: {right.shape} for {name}")
        self._bits[name] = np.packbits(right)

    def matrix(self, names: Sequence[str]) -> np.ndarray:
        """Returns the answers of some subnets: bool ``[len(names), count]``."""
        packed = np.stack([self._bits[name] for name in names])
        return np.unpackbits(packed, axis=1, count=self.count).astype(bool)

    def difference(self, first: str, second: str) -> PairedDifference:
        """Returns by how much the first subnet is more accurate than the second, and the 95 % interval of that."""
        return paired_difference(self[first], self[second])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the answers atomically."""
        names = np.asarray(list(self._bits), np.str_)
        width = (self.count + 7) // 8
        bits = np.stack(list(self._bits.values())) if self._bits else np.zeros((0, width), np.uint8)
        with files.atomic_write(path) as temporary, open(temporary, "wb") as file:
            arrays: dict[str, Any] = {"ids": names, "bits": bits, "count": np.asarray(self.count)}
            if self.labels is not None:
                arrays["labels"] = self.labels
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Answers:
        """Reads a file of ``save``; ``InputError`` if it is missing, damaged or something else."""
        content = files.read_arrays(path)
        with files.interpreted(path, again="measure accuracies again without it"):
            found = cls(int(content["count"]), content.get("labels"))
            names, bits = content["ids"].tolist(), content["bits"]
            if bits.dtype != np.uint8 or bits.shape != (len(names), (found.count + 7) // 8):
                raise InputError("its arrays do not fit together; measure accuracies again without it")
            found._bits = dict(zip(names, bits))
        return found


def beside(table: str | os.PathLike[str]) -> Path:
    """Returns where the answers of an accuracy table lie."""
    return Path(table).with_suffix(".npz")
