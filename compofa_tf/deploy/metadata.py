"""What an exported file says of itself: TFLite Metadata for its clients, our own record, and the labels. No TensorFlow.

TFLite Metadata is a flatbuffer of a published schema (``metadata_schema.fbs`` of MediaPipe, identifier ``M001``) inside
the model, with files in a zip archive behind it. No maintained package writes it; the few tables that an image
classifier has are written here. The numbers are those of the fields in the schema.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers

from compofa_tf import files
from compofa_tf.deploy.ends import Ends
from compofa_tf.deploy.flatbuffer import attached_files
from compofa_tf.normalization import Normalization

NAME = "TFLITE_METADATA"
"""Of the description in the model that clients look for."""

LABELS, RECORD = "labels.txt", "metadata.json"
"""Files behind the model: a label a line, and what the sidecar says too, as JSON."""

_IDENTIFIER, _PARSER = b"M001", "1.0.0"
_RGB, _AXIS_LABELS, _UINT8 = 1, 2, 255
_FEATURE, _IMAGE = 1, 2
_NORMALIZATION = 1

_Part = Callable[[flatbuffers.Builder], int]
"""Writes something into a builder and returns where it stands."""


def associated(record: dict[str, Any]) -> dict[str, bytes]:
    """Returns the files that travel behind a model, by name.

    Args:
      record: JSON-serialisable facts; ``labels`` among them become a file of their own.
    """
    inside = {**record, "versions": files.versions()}
    found = {RECORD: json.dumps(inside, indent=1, ensure_ascii=False).encode()}
    if record.get("labels"):
        found[LABELS] = "".join(f"{label}\n" for label in record["labels"]).encode()
    return found


def carried(model: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """Returns the facts that travel behind a model of ours; empty for others."""
    try:
        found = json.loads(attached_files(model)[RECORD])
    except (KeyError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def normalization_of(facts: dict[str, Any], name: str = "normalization") -> Normalization | None:
    """Returns a normalisation that facts about a model name; None where they name none that can be used.

    Args:
      facts: What a sidecar, or a file itself, says.
      name: ``"normalization"``, how pixels become what goes into the file, or ``"trained_normalization"``.
    """
    try:
        found = facts[name]
        return Normalization(tuple(found["mean"]), tuple(found["std"]), found.get("name", "custom"))
    except (KeyError, TypeError, ValueError):
        return None


def normalizations_of(facts: dict[str, Any]) -> tuple[Normalization, Normalization] | None:
    """Returns how pixels become what a network was trained with, and what its file takes; None if one is unknown."""
    trained, taken = (normalization_of(facts, name) for name in ("trained_normalization", "normalization"))
    return (trained, taken) if trained is not None and taken is not None else None


def tflite_metadata(record: dict[str, Any], ends: Ends, *, shape: tuple[int, ...]) -> bytes:
    """Returns the TFLite Metadata of an image classifier.

    Args:
      record: Facts: ``arch.id``, ``labels`` and ``normalization``, those of them that there are.
      ends: Of the file.
      shape: Height, width and channels of its images; of other than colour pictures only the name is written.
    """
    arch = record.get("arch")
    name = str((arch.get("id") if isinstance(arch, dict) else arch) or "image classifier")
    labelled = (
        [_associated_file(LABELS, "A label a line, in the order of the outputs.")] if record.get("labels") else []
    )
    limits = [(5, _table((0, _floats([1.0])), (1, _floats([0.0]))))] if ends.scores == "probabilities" else []
    output = _table(
        (0, _text(ends.scores)),
        (1, _text("A score per class.")),
        (3, _table((0, _FEATURE), (1, _table()))),
        *limits,
        *([(6, _vector(labelled))] if labelled else []),
    )
    graph = _table((2, _vector([_image(normalization_of(record), shape)])), (3, _vector([output])))
    model = _table(
        (0, _text(name)),
        (1, _text("Says which class a picture shows; written by compofa_tf.")),
        (3, _vector([graph])),
        (7, _text(_PARSER)),
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _image(normalization: Normalization | None, shape: tuple[int, ...]) -> _Part:
    height, width, channels = shape
    if channels != 3:
        return _table((0, _text("images")))
    size = _table((0, width, "Uint32"), (1, height, "Uint32"))
    known = []
    if normalization is not None:
        mean, std = ([_UINT8 * part for part in parts] for parts in (normalization.mean, normalization.std))
        low, high = ([(pixel - m) / s for m, s in zip(mean, std)] for pixel in (0, _UINT8))
        different = 1 if normalization.uniform else 3
        options = _table((0, _floats(mean[:different])), (1, _floats(std[:different])))
        known = [
            (4, _vector([_table((0, _NORMALIZATION), (1, options))])),
            (5, _table((0, _floats(high)), (1, _floats(low)))),
        ]
    return _table(
        (0, _text("images")),
        (1, _text("A colour picture: red, green, blue.")),
        (3, _table((0, _IMAGE), (1, _table((0, _RGB), (1, size))))),
        *known,
    )


def _associated_file(name: str, description: str) -> _Part:
    return _table((0, _text(name)), (1, _text(description)), (2, _AXIS_LABELS))


def _table(*fields: Any) -> _Part:
    """A table of fields (number, content): a part of its own, or a small integer, of one byte unless said otherwise."""

    def write(builder: flatbuffers.Builder) -> int:
        written = [(slot, content(builder) if callable(content) else content, *kind) for slot, content, *kind in fields]
        builder.StartObject(1 + max((slot for slot, *_ in fields), default=-1))
        for (slot, content, *kind), (_, original, *_) in zip(written, fields):
            if callable(original):
                builder.PrependUOffsetTRelativeSlot(slot, content, 0)
            else:
                getattr(builder, f"Prepend{kind[0] if kind else 'Uint8'}Slot")(slot, content, 0)
        return int(builder.EndObject())

    return write


def _text(text: str) -> _Part:
    return lambda builder: int(builder.CreateString(text))


def _floats(values: Sequence[float]) -> _Part:
    def write(builder: flatbuffers.Builder) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return int(builder.EndVector())

    return write


def _vector(parts: Sequence[_Part]) -> _Part:
    def write(builder: flatbuffers.Builder) -> int:
        written = [part(builder) for part in parts]
        builder.StartVector(4, len(written), 4)
        for offset in reversed(written):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    return write
