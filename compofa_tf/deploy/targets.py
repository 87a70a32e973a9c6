"""The one table of precisions, and what models of each profile are lowered for. No TensorFlow.

A *profile* is what a space may contain (``families.arguments.PROFILES``), a *target* is where a file goes, a
*precision* is that of its arithmetic. A precision is added by one row of ``PRECISIONS``, from outside the package too:
conversion, export, benchmark, recipes and the reading of files know nothing else about it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from compofa_tf.errors import InputError
from compofa_tf.families.arguments import PROFILES

TARGETS: dict[str, bool] = {"litert-cpu-int8": True, "litert-cpu-float": False, "edgetpu": False}
"""What a model can be lowered for, and whether that rewrites it (``deploy.lowering``); else it is taken as it is."""

PROFILE_TARGETS: dict[str, str | None] = {"mobile": None, "edgetpu": "edgetpu"}
"""Target of the models of each profile; None: LiteRT's CPU back end, whose target the precision decides."""

INPUTS = {
    "float32": "normalized values",
    "uint8": "pixels from 0 to 255",
    "int8": "normalized values, quantized",
}
"""Data types of input and output, and what the numbers of the input are."""

SCORES = ("probabilities", "logits")
"""What comes out: the softmax of the logits, or what the network itself gives."""


@dataclass(frozen=True)
class Precision:
    """How files of one precision are made, judged and recognised.

    Data types of the converter are written in lower case, those found in files in upper case, as in the schema.

    Attributes:
      name: What it is called, its key in ``PRECISIONS``.
      tolerance: Largest mean |difference| to the Keras model, as a share of the range of its logits.
      agreement: Smallest share of the images that the Keras model is sure of (``Agreement``) which a file puts into the
        same class.
      optimize: Whether the converter may change data types.
      operations: Which operations it may use, a name of ``tf.lite.OpsSet``.
      weights: Data types that weights are stored in; empty leaves the choice to the converter.
      needs_images: Whether the ranges of activations are taken from images.
      cpu_target: What models are lowered for where the CPU runs them, one of ``TARGETS``.
      integer: Whether all between the ends of a file is computed in integers (``deploy.ends`` has the ends).
      holds: Data types of which a file has at least one; empty for no such demand.

    Raises:
      ValueError: If the fields contradict each other.
    """

    name: str
    tolerance: float
    optimize: bool = True
    operations: str = "TFLITE_BUILTINS"
    weights: tuple[str, ...] = ()
    needs_images: bool = False
    cpu_target: str = "litert-cpu-float"
    integer: bool = False
    holds: tuple[str, ...] = ()
    agreement: float = 0.9

    def __post_init__(self) -> None:
        """Rejects what no file can fulfil."""
        if self.cpu_target not in TARGETS:
            raise ValueError(
                f"cpu_target must be one of {', '.join(TARGETS)}. Received: cpu_target={self.cpu_target!r}"
            )
        if self.integer and not self.needs_images:
            raise ValueError(
                f"Computing in integers needs images for its ranges. Received: needs_images={self.needs_images}"
            )

    def fits(self, dtypes: Collection[str], *, integer: bool) -> bool:
        """Whether a file may be of this precision.

        Args:
          dtypes: Data types of its tensors.
          integer: Whether none of them is floating point but at the ends, and no operation is custom.
        """
        held = not self.holds or any(dtype in dtypes for dtype in self.holds)
        return held and (integer or not self.integer)


# Tolerances. Logits that have nothing to do with the input differ by about 0.19 of the range of the right ones (mean
# |a - b| of independent normals is 1.13 sigma, some hundred values span 6 sigma): 0.1 is half of useless, 25 of the 256
# steps of an int8 output. float32 sums in another order; float16 rounds every weight by up to 2^-11, some fifty layers
# deep.
PRECISIONS: dict[str, Precision] = {
    row.name: row
    for row in (
        Precision("float32", tolerance=1e-3, optimize=False),
        Precision("float16", tolerance=1e-2, weights=("float16",), holds=("FLOAT16",)),
        Precision("dynamic", tolerance=0.1, holds=("INT8", "INT4")),
        Precision(
            "int8",
            tolerance=0.1,
            operations="TFLITE_BUILTINS_INT8",
            needs_images=True,
            cpu_target="litert-cpu-int8",
            integer=True,
        ),
    )
}
"""float32; float16 weights; int8 weights with float activations (dynamic range); int8 but for the ends.

A file is of the last precision that it fits, so that each row asks for more than those before it.
"""


def recognize(dtypes: Collection[str], *, integer: bool) -> str:
    """Returns the name of the precision of a file; see ``Precision.fits`` for the arguments."""
    return next(row.name for row in reversed(PRECISIONS.values()) if row.fits(dtypes, integer=integer))


def target_of(precision: str, profile: str) -> str:
    """Returns what a model of a profile is lowered for, one of ``TARGETS``."""
    return PROFILE_TARGETS[profile] or PRECISIONS[precision].cpu_target


def check_names(precision: str, profile: str) -> None:
    """Raises ``InputError`` unless precision and profile are known."""
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}. Received: precision={precision!r}")
    if profile not in PROFILES:
        raise InputError(f"profile must be one of {', '.join(PROFILES)}. Received: profile={profile!r}")
