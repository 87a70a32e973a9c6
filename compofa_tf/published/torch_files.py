"""Reading the tensors of PyTorch checkpoints safely. Needs the extra [torch]."""

from __future__ import annotations

import os
import pickletools
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compofa_tf.errors import InputError
from compofa_tf.published.torch_names import COUNTER, plain

_HARMLESS = ("torch", "torch._utils", "torch.storage", "torch.serialization", "collections")
"""Modules whose names a pickle of tensors needs."""


class Tensors(dict[str, np.ndarray]):
    """Arrays by key without the doubling of elastic layers.

    Attributes:
      of_supernet: Whether the file had doubled keys or kernel matrices: it is of a supernet, whole or damaged, and not
        of an extracted subnet.
    """

    of_supernet = False


def read_checkpoint(path: str | os.PathLike[str]) -> Tensors:
    """Reads the tensors of a ``.pth`` file: zip or legacy container, any device, half or full precision.

    Only tensors are ever unpickled (``weights_only=True``): a file with code in it is refused and the code not run.

    Args:
      path: The file; a ``state_dict`` alone or under that key.

    Returns:
      float32 arrays by key without the doubling of elastic layers; batch counters are left out.

    Raises:
      InputError: If torch is not installed, or the file is missing, truncated, empty, no checkpoint, holds code or
        what is no dense real tensor, has two tensors of one name or numbers that cannot be weights.
    """
    try:
        import torch
    except ImportError:
        raise InputError("Reading PyTorch checkpoints needs torch: pip install 'compofa_tf[torch]'.") from None
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise InputError(f"{path} {what}; give the path of a PyTorch checkpoint.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for what is not its own
        raise InputError(_why_unreadable(path, error)) from None
    tensors = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if (
        not isinstance(tensors, Mapping)
        or not tensors
        or not all(isinstance(v, torch.Tensor) for v in tensors.values())
    ):
        raise InputError(f"{path} is no state_dict: names and tensors, bare or under the key 'state_dict'.")
    _refuse_repetitions(path, {str(key) for key in tensors})
    return _arrays({str(key): _array(path, key, value) for key, value in tensors.items()}, path)


def _why_unreadable(path: str | os.PathLike[str], error: Exception) -> str:
    """What torch says is not passed on: it advises to load such files in the way that runs their code."""
    called = _calls(path) if type(error).__name__ == "UnpicklingError" else ""
    if called:
        return (
            f"{path} holds more than tensors ({called}); loading it could run code, so it is refused. Save its "
            "state_dict alone and import that."
        )
    return f"{path} is truncated or no PyTorch checkpoint; download it again."


def _calls(path: str | os.PathLike[str]) -> str:
    """The first name that a pickle in the file would look up and that tensors do not need; empty if there is none."""
    texts: list[str] = []
    for name, value in _opcodes(path):
        if name in ("GLOBAL", "INST"):
            texts += value.split(" ")
        elif isinstance(value, str):
            texts.append(value)
        named = name in ("GLOBAL", "INST", "STACK_GLOBAL") and len(texts) >= 2
        if named and texts[-2] not in _HARMLESS:
            return ".".join(texts[-2:])
    return ""


def _opcodes(path: str | os.PathLike[str]) -> Iterator[tuple[str, Any]]:
    """Names and arguments of the operations of the pickles in a file, as far as they can be read; nothing is run."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.rpartition("/")[2] == "data.pkl":
                        yield from ((op.name, value) for op, value, _ in pickletools.genops(archive.read(name)))
            return
        with open(path, "rb") as file:
            for _ in range(5):  # the legacy container: five pickles, then the numbers
                yield from ((op.name, value) for op, value, _ in pickletools.genops(file))
    except (ValueError, EOFError, OSError, OverflowError, MemoryError, zlib.error, zipfile.BadZipFile):
        return  # the end of what is a pickle; torch reports damage


def _refuse_repetitions(path: str | os.PathLike[str], keys: set[str]) -> None:
    """Raises ``InputError`` if a pickle sets a key of the same dictionary twice: torch would take the last one."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    described = {op.name: op for op in pickletools.opcodes}
    for name, value in _opcodes(path):
        if name == "STOP":
            stack.clear()
            memo.clear()
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else value] = stack[-1] if stack else None
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(value))
        elif name in ("SETITEM", "SETITEMS"):
            start = len(stack) - 2 if name == "SETITEM" else _mark(stack)
            items = stack[start + (name == "SETITEMS") :]
            del stack[start:]
            owner = stack[-1].keys if stack and isinstance(stack[-1], _Value) else set()
            for key in items[::2]:
                if isinstance(key, str) and key in keys:
                    if key in owner:
                        raise InputError(f"{path} has two tensors for {key}; only one can be meant.")
                    owner.add(key)
        else:
            _apply(described[name], value, stack)


def _apply(operation: Any, value: Any, stack: list[Any]) -> None:
    """Does to the stack what an operation does, with nothing but texts as values."""
    taken = [item.name for item in operation.stack_before]
    if "mark" in taken:
        del stack[_mark(stack) :]
        taken = taken[: taken.index("mark")]
    if operation.name in ("BUILD", "APPEND", "APPENDS", "ADDITEMS"):  # what they change stays where it is
        del stack[len(stack) - len(taken) + 1 :]
        return
    del stack[len(stack) - len(taken) :]
    for item in operation.stack_after:
        stack.append(_MARK if item.name == "mark" else value if isinstance(value, str) else _Value())


class _Value:
    """Something in a pickle that is no text, and the keys that were set in it."""

    def __init__(self) -> None:
        self.keys: set[str] = set()


_MARK = _Value()


def _mark(stack: list[Any]) -> int:
    """Position of the last mark."""
    return next((index for index in range(len(stack) - 1, -1, -1) if stack[index] is _MARK), 0)


def _array(path: str | os.PathLike[str], key: str, tensor: Any) -> np.ndarray:
    plain_kind = str(tensor.layout) == "torch.strided" and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain_kind or tensor.is_complex():
        raise InputError(
            f"{path}: {key} is no dense tensor of real numbers; save the state_dict of the network itself."
        )
    return tensor.detach().float().numpy()


def _arrays(tensors: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> Tensors:
    found = Tensors()
    known: dict[str, str] = {}
    for key, value in tensors.items():
        name = plain(key)
        if name in known:
            raise InputError(
                f"{path} has two tensors for {name}, as {known[name]} and as {key}; only one can be meant."
            )
        known[name] = key
        if name.endswith(COUNTER):
            continue
        if not np.isfinite(value).all():
            raise InputError(f"{path}: {key} holds numbers that are not finite; the checkpoint is damaged.")
        if name.endswith("running_var") and (value < 0).any():
            raise InputError(f"{path}: {key} holds negative variances; the checkpoint is damaged.")
        found[name] = value
    found.of_supernet = any(".bn.bn." in key or key.endswith("_matrix") for key in tensors)
    return found
