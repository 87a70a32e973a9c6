"""What is inside a ``.tflite`` file: operators, data types, quantization. No TensorFlow.

Read with the schema classes that ``ai_edge_litert`` ships (``schema_py_generated``): the interpreter shows tensors but
no operations, and TensorFlow's analyzer prints text only.
"""

from __future__ import annotations

import functools
import io
import os
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from compofa_tf.deploy import targets
from compofa_tf.errors import InputError

_FLOATS = {"FLOAT32", "FLOAT16", "FLOAT64", "BFLOAT16"}
_ENDS = {"QUANTIZE", "DEQUANTIZE", "SOFTMAX"}
_END_TENSORS = 3
"""Input, output, and what goes into a softmax before that."""

_UNREADABLE = (struct.error, IndexError, TypeError, ValueError, OverflowError)


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of the graph.

    Attributes:
      name: Name that the converter gave.
      dtype: As in the schema, for example ``"INT8"``.
      shape: Static shape.
      scales: Quantization scales: none, one, or one per channel.
      zero_points: As many integers.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operator:
    """One operation of the graph.

    Attributes:
      name: As in the schema, for example ``"CONV_2D"``; a custom operation has its own name, ``"FlexErf"``.
      custom: Whether the runtime needs code that it does not bring along.
      inputs: Tensors read, in order; None where an optional one is left out.
      outputs: Tensors written, in order.
    """

    name: str
    custom: bool
    inputs: tuple[TensorInfo | None, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class Operation:
    """All operators of a model that have one name and the same data types.

    Attributes:
      name: Name of the operators.
      count: How many there are.
      inputs: Data types read, without repetitions, for example ``("INT8", "INT32")``.
      outputs: Data types written, without repetitions.
      custom: Whether the runtime needs code that it does not bring along.
    """

    name: str
    count: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    custom: bool

    @property
    def floating(self) -> bool:
        """Whether a floating-point tensor goes in or out."""
        return bool(_FLOATS & {*self.inputs, *self.outputs})


@dataclass(frozen=True)
class Contents:
    """What ``inspect`` found in a file.

    Attributes:
      operators: In the order in which they run, graph by graph.
      inputs: Input tensors of the first graph.
      outputs: Output tensors of the first graph.
      dtypes: Data type -> number of tensors, in all graphs.
      size_bytes: Bytes in all.
    """

    operators: tuple[Operator, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    dtypes: Mapping[str, int]
    size_bytes: int

    @functools.cached_property
    def operations(self) -> tuple[Operation, ...]:
        """The operators, those of one name and the same data types counted, the most frequent first."""
        tally = Counter((o.name, _types(o.inputs), _types(o.outputs), o.custom) for o in self.operators)
        return tuple(Operation(key[0], count, *key[1:]) for key, count in tally.most_common())

    @property
    def counts(self) -> dict[str, int]:
        """Operation name -> count, whatever the data types."""
        total: Counter[str] = Counter()
        for operation in self.operations:
            total[operation.name] += operation.count
        return dict(total.most_common())

    @property
    def custom_operations(self) -> tuple[str, ...]:
        """Names of operations that LiteRT alone cannot run (custom and Flex)."""
        return tuple(sorted({operation.name for operation in self.operations if operation.custom}))

    @property
    def float_operations(self) -> tuple[str, ...]:
        """Names of operations that read or write floating point."""
        return tuple(sorted({operation.name for operation in self.operations if operation.floating}))

    @property
    def precision(self) -> str:
        """The row of ``targets.PRECISIONS`` that the file is of."""
        return targets.recognize(self.dtypes, integer=self.is_integer_inside)

    @property
    def is_fully_integer(self) -> bool:
        """Whether no tensor is floating point and no operation is custom."""
        return not (_FLOATS & set(self.dtypes)) and not self.custom_operations

    @property
    def is_integer_inside(self) -> bool:
        """Whether nothing is floating point but what goes in and comes out, a softmax at the end included."""
        inner = {operation.name for operation in self.operations if operation.floating} - _ENDS
        held = sum(self.dtypes.get(dtype, 0) for dtype in _FLOATS)
        return not inner and not self.custom_operations and held <= _END_TENSORS


def inspect(model: str | os.PathLike[str] | bytes) -> Contents:
    """Lists what a ``.tflite`` file consists of, reading all of it and running none of it.

    Args:
      model: A path, or the bytes themselves.

    Raises:
      InputError: If the file is missing, not a TFLite model, truncated or damaged.
    """
    content, name = _read(model)
    if len(content) < 16 or content[4:8] != b"TFL3":
        raise InputError(f"{name} is not a TFLite model: the mark 'TFL3' is missing. Received: {len(content)} bytes")
    try:
        root = schema.Model.GetRootAs(content, 0)
        _check_buffers(root, len(content))
        return _contents(root, len(content))
    except _UNREADABLE as error:
        raise InputError(f"{name} is a truncated or damaged TFLite model ({error}); export it again.") from None


def append_files(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """Appends files to a model as TFLite's associated files are: an uncompressed zip archive behind the flatbuffer.

    Interpreters ignore it; ``unzip -l model.tflite`` lists it. It holds no dates: equal input gives equal bytes.
    """
    buffer = io.BytesIO(model)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def attached_files(model: str | os.PathLike[str] | bytes) -> dict[str, bytes]:
    """Returns what ``append_files`` put into a model, by name; empty where nothing is attached."""
    content, _ = _read(model)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return {}


def _read(model: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    if isinstance(model, bytes):
        return model, "the given content"
    try:
        return Path(model).read_bytes(), str(model)
    except FileNotFoundError:
        raise InputError(f"{model} does not exist; give the path of a .tflite file.") from None


def _check_buffers(root: schema.Model, size: int) -> None:
    """Reading the structure does not touch the weights; a file cut inside them must not pass."""
    for index in range(root.BuffersLength()):
        buffer = root.Buffers(index)
        data = None if buffer.DataIsNone() else buffer.DataAsNumpy()
        if (data is not None and len(data) != buffer.DataLength()) or buffer.Offset() + buffer.Size() > size:
            raise ValueError(f"buffer {index} ends behind the end of the file")


def _contents(root: schema.Model, size: int) -> Contents:
    graphs = [root.Subgraphs(index) for index in range(root.SubgraphsLength())]
    if not graphs:
        raise ValueError("it has no graph")
    codes = [_operation_name(root.OperatorCodes(index)) for index in range(root.OperatorCodesLength())]
    tensors = [[_tensor(graph.Tensors(index)) for index in range(graph.TensorsLength())] for graph in graphs]
    main = graphs[0]
    return Contents(
        operators=tuple(
            _operator(graph.Operators(index), codes, known)
            for graph, known in zip(graphs, tensors)
            for index in range(graph.OperatorsLength())
        ),
        inputs=_tensors_at((main.Inputs(i) for i in range(main.InputsLength())), tensors[0]),
        outputs=_tensors_at((main.Outputs(i) for i in range(main.OutputsLength())), tensors[0]),
        dtypes=dict(Counter(tensor.dtype for known in tensors for tensor in known).most_common()),
        size_bytes=size,
    )


def _operator(operator: schema.Operator, codes: list[tuple[str, bool]], tensors: list[TensorInfo]) -> Operator:
    name, custom = codes[operator.OpcodeIndex()]
    read = [operator.Inputs(i) for i in range(operator.InputsLength())]
    return Operator(
        name=name,
        custom=custom,
        inputs=tuple(None if index < 0 else tensors[index] for index in read),
        outputs=_tensors_at((operator.Outputs(i) for i in range(operator.OutputsLength())), tensors),
    )


def _tensors_at(indices: Iterable[int], tensors: list[TensorInfo]) -> tuple[TensorInfo, ...]:
    found = list(indices)
    if found and min(found) < 0:
        raise ValueError("an input or output is left out")
    return tuple(tensors[index] for index in found)


def _types(tensors: Sequence[TensorInfo | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tensor.dtype for tensor in tensors if tensor is not None))


def _tensor(tensor: schema.Tensor) -> TensorInfo:
    scales, zero_points = _quantization(tensor.Quantization())
    return TensorInfo(
        name=(tensor.Name() or b"").decode("utf-8", "replace"),
        dtype=_name_of(schema.TensorType, tensor.Type()),
        shape=tuple(tensor.Shape(index) for index in range(tensor.ShapeLength())),
        scales=scales,
        zero_points=zero_points,
    )


def _quantization(found: schema.QuantizationParameters | None) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Returns scales and zero points, as arrays: per-channel models have tens of thousands."""
    if found is None or not found.ScaleLength():
        return (), ()
    scales = tuple(found.ScaleAsNumpy().tolist())
    return scales, tuple(found.ZeroPointAsNumpy().tolist()) if found.ZeroPointLength() else len(scales) * (0,)


def _operation_name(code: schema.OperatorCode) -> tuple[str, bool]:
    # Files older than schema 3a keep the number in the deprecated field alone.
    name = _name_of(schema.BuiltinOperator, max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
    if name != "CUSTOM":
        return name, False
    return (code.CustomCode() or b"CUSTOM").decode("utf-8", "replace"), True


def _name_of(enumeration: type, value: int) -> str:
    for name, number in vars(enumeration).items():
        if number == value and not name.startswith("_"):
            return name
    return f"UNKNOWN_{value}"
