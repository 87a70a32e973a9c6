"""What goes into a ``.tflite`` file and what comes out of it, whatever is computed between. No TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compofa_tf.deploy import targets
from compofa_tf.deploy.targets import INPUTS, SCORES
from compofa_tf.errors import InputError
from compofa_tf.normalization import Normalization

CLIENT, ACCELERATOR = ("float32", "probabilities"), ("int8", "logits")
"""Ends that every client opens, and those of a file without floating point that an accelerator takes whole."""


@dataclass(frozen=True)
class Ends:
    """The ends of a file.

    Attributes:
      io: Data type of input and output, a key of ``targets.INPUTS``.
      scores: One of ``targets.SCORES``.
    """

    io: str
    scores: str

    @classmethod
    def of(cls, precision: str, profile: str, *, io: str | None = None, scores: str | None = None) -> Ends:
        """Returns the ends that were asked for; what was not is chosen by where the file goes.

        Clients (MediaPipe, LiteRT.js, the interpreter) all open float32 ends with probabilities, what these add stays
        in the CPU back end, and the same application code then serves every precision: the default. Models of the Edge
        TPU profile are int8 from end to end, for what its compiler leaves to the CPU costs a transfer.

        Args:
          precision: A name of ``targets.PRECISIONS``.
          profile: What the model's space may contain (``targets.PROFILE_TARGETS``).
          io: A key of ``targets.INPUTS``.
          scores: One of ``targets.SCORES``.

        Raises:
          InputError: If a name is unknown, or the precision has no integers to begin or end with.
        """
        targets.check_names(precision, profile)
        integer = targets.PRECISIONS[precision].integer
        preferred = ACCELERATOR if integer and targets.PROFILE_TARGETS[profile] else CLIENT
        found = cls(io or preferred[0], scores or preferred[1])
        if found.io not in INPUTS:
            raise InputError(f"io must be one of {', '.join(INPUTS)}. Received: io={io!r}")
        if found.scores not in SCORES:
            raise InputError(f"scores must be one of {', '.join(SCORES)}. Received: scores={scores!r}")
        if found.io != "float32" and not integer:
            raise InputError(
                f"A {precision} model computes in floating point and has float32 ends. Received: io={io!r}"
            )
        return found

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Ends:
        """Returns the ends that a sidecar, or a file of ours itself, says; those of older files are int8 or float32."""
        found = record.get("ends") or {}
        return cls(
            found.get("io", "int8" if record.get("precision") == "int8" else "float32"), found.get("scores", "logits")
        )

    def taken(self, trained: Normalization | None) -> Normalization | None:
        """Returns how pixels become what goes in.

        uint8 are the pixels themselves. What goes in as float32 is normalised alike in all channels, for MediaPipe
        knows nothing else; where the network was trained otherwise, the file does the rest. int8 are what the network
        was trained with.

        Args:
          trained: How pixels become what the network was trained with; None where nobody knows.

        Raises:
          InputError: If that must be known and is not.
        """
        if self.io == "uint8":
            if trained is None:
                raise InputError(
                    "A uint8 model takes colour pictures and normalises their pixels itself; say how in metadata: "
                    "{'normalization': {'mean': [...], 'std': [...]}}, in shares of 255."
                )
            return Normalization.named("pixels")
        if self.io == "float32" and trained is not None and not trained.uniform:
            return Normalization.named("centered")
        return trained

    def clients(self, *, channels: int, normalized: bool) -> list[str]:
        """Returns which of the usual clients open such a file: what tests/deploy/test_clients.py finds.

        Args:
          channels: Of the images; MediaPipe has none but colour pictures.
          normalized: Whether the file says how its input is normalised, without which MediaPipe takes no float32.
        """
        if self.io == "int8":
            return ["LiteRT"]
        return ["LiteRT", *(["MediaPipe"] if channels == 3 and normalized else []), "LiteRT.js"]

    def to_json(self, *, channels: int, normalized: bool) -> dict[str, Any]:
        """Returns what a sidecar, and the file itself, say of its ends; see ``clients`` for the arguments."""
        clients = self.clients(channels=channels, normalized=normalized)
        return {"io": self.io, "takes": INPUTS[self.io], "scores": self.scores, "opens_in": clients}
