"""Changing a ``.tflite`` file without its converter: a softmax at its end, a description inside. No TensorFlow.

Done with the schema classes that ``ai_edge_litert`` ships; everything else in the file stays as it was.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

PROBABILITIES = "probabilities"
"""Name of the output that ``with_softmax`` makes, of its tensor and in the signature."""

# The only quantization of probabilities that TFLite's SOFTMAX gives: 256 steps of 1/256, the first of which is 0.
_STEP = 1 / 256


_ALIGNMENT = 16
"""Bytes; the schema demands it of weights, and kernels rely on it."""


def with_softmax(model: bytes) -> bytes:
    """Returns a file whose output is the softmax of what it was.

    A floating-point output gets a floating-point SOFTMAX, an int8 one an int8 SOFTMAX, both of which every runtime has.
    What a file makes uint8 at its very end is made so behind the SOFTMAX.

    Args:
      model: A file with one output, logits ``[1, classes]``.
    """
    root = _opened(model)
    graph = root.subgraphs[0]
    (logits,) = graph.outputs
    unsigned = graph.tensors[logits].type == schema.TensorType.UINT8
    if unsigned:
        (logits,) = graph.operators.pop().inputs  # QUANTIZE, from int8
    signed = graph.tensors[logits].type == schema.TensorType.INT8
    found = _tensor(graph, like=graph.tensors[logits], zero_point=-128 if signed else None)
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    _operator(root, "SOFTMAX", logits, found, schema.BuiltinOptions.SoftmaxOptions, options)
    if unsigned:
        last = _tensor(graph, like=graph.tensors[found], zero_point=0)
        graph.tensors[last].type = schema.TensorType.UINT8
        _operator(root, "QUANTIZE", found, last, schema.BuiltinOptions.QuantizeOptions, schema.QuantizeOptionsT())
        found = last
    graph.tensors[found].name = PROBABILITIES.encode()
    graph.outputs = np.asarray([found], np.int32)
    for signature in root.signatureDefs or ():
        for output in signature.outputs:
            output.name, output.tensorIndex = PROBABILITIES.encode(), found
    return _packed(root)


def with_description(model: bytes, name: str, content: bytes) -> bytes:
    """Returns a file that holds some bytes as one of its descriptions, ``Model.metadata`` of the schema.

    Args:
      model: The file.
      name: What they are: TFLite Metadata are ``"TFLITE_METADATA"``.
      content: The bytes.
    """
    root = _opened(model)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = name.encode(), len(root.buffers)
    buffer.data = np.frombuffer(content, np.uint8)
    root.buffers.append(buffer)
    root.metadata = [*(root.metadata or ()), entry]
    return _packed(root)


class _AlignedBuffer(schema.BufferT):
    """A buffer whose bytes begin at a multiple of ``_ALIGNMENT``; the generated classes know nothing of that."""

    def __init__(self, buffer: Any) -> None:
        super().__init__()
        self.data, self.offset, self.size = buffer.data, buffer.offset, buffer.size

    def Pack(self, builder: flatbuffers.Builder) -> int:
        if self.data is not None:
            builder.Prep(_ALIGNMENT, len(self.data))
        return int(super().Pack(builder))


def _opened(model: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))


def _packed(root: Any) -> bytes:
    root.buffers = [_AlignedBuffer(buffer) for buffer in root.buffers]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(graph: Any, *, like: Any, zero_point: int | None) -> int:
    """Adds a tensor of the shape and type of another, with the quantization of probabilities if it has any."""
    tensor = schema.TensorT()
    tensor.shape, tensor.shapeSignature, tensor.hasRank = like.shape, like.shapeSignature, like.hasRank
    tensor.type = like.type
    tensor.name = f"{PROBABILITIES}_{len(graph.tensors)}".encode()
    tensor.buffer = 0  # the empty one: the runtime computes it
    if zero_point is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.asarray([_STEP], np.float32)
        tensor.quantization.zeroPoint = np.asarray([zero_point], np.int64)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(root: Any, name: str, source: int, target: int, kind: int, options: Any) -> None:
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = (np.asarray([index], np.int32) for index in (source, target))
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    operator.opcodeIndex = _code(root, getattr(schema.BuiltinOperator, name), version=2)  # 2: with int8
    root.subgraphs[0].operators.append(operator)


def _code(root: Any, number: int, *, version: int) -> int:
    """Index of an operation in the table of those that a file uses; added where it is missing."""
    for index, code in enumerate(root.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number and code.version >= version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
    root.operatorCodes.append(code)
    return len(root.operatorCodes) - 1
