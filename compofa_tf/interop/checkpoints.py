"""Reading published PyTorch checkpoints safely, and recognising which space they are of. Needs the extra [torch]."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.interop.names import plain, state_from_torch
from compofa_tf.space import Arch, Space
from compofa_tf.units import BlockUnit, ConvUnit, ResidualUnit, make_divisible

KernelMatrices = Literal["drop", "apply"]

_BLOCK = re.compile(r"blocks\.(\d+)\.mobile_inverted_conv\.")
_WRITES = re.compile(r"blocks\.(\d+)\.(?:mobile_inverted_conv\.point_linear|conv3)\.conv\.weight$")
_WIDTHS = tuple(round(0.05 * step, 2) for step in range(1, 81))
"""Width multipliers that are tried, 0.05 to 4."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the tensors of a ``.pth`` file: zip or legacy container, any device, half or full precision.

    Only tensors are ever unpickled (``weights_only=True``): a file with code in it is refused and the code not run.

    Args:
      path: The file; a ``state_dict`` alone or under that key.

    Returns:
      float32 arrays by key without the doubling of elastic layers; batch counters are left out.

    Raises:
      InputError: If torch is not installed, or the file is missing, truncated, empty, no checkpoint, holds code, has
        two tensors of one name or numbers that are not finite.
    """
    try:
        import torch
    except ImportError:
        raise InputError("Reading PyTorch checkpoints needs torch: pip install 'compofa_tf[torch]'.") from None
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist; give the path of a PyTorch checkpoint.")
    try:
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
    return _arrays({str(key): value.float().numpy() for key, value in tensors.items()}, path)


def _why_unreadable(path: str | os.PathLike[str], error: Exception) -> str:
    text = str(error)
    code = re.search(r"(?:GLOBAL|global:?) ([\w.]+\.\w+)", text)
    if type(error).__name__ == "UnpicklingError" and code:
        return (
            f"{path} holds more than tensors ({code[1]}); loading it could run code, so it is refused. Save its "
            "state_dict alone and import that."
        )
    first = (text.strip().splitlines() or [type(error).__name__])[0]
    return f"{path} is truncated or no PyTorch checkpoint ({first}); download it again."


def _arrays(tensors: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for key, value in tensors.items():
        name = plain(key)
        if name.endswith("num_batches_tracked"):
            continue
        if name in found:
            raise InputError(f"{path} has two tensors for {name}, one of them as {key}; only one can be meant.")
        if not np.isfinite(value).all():
            raise InputError(f"{path}: {key} holds numbers that are not finite; the checkpoint is damaged.")
        found[name] = value
    return found


def recognise(tensors: Mapping[str, np.ndarray], *, kernel_matrices: KernelMatrices = "drop") -> Space:
    """Returns the space that a checkpoint is of, from its names and shapes.

    Coupling cannot be seen in a checkpoint: MobileNetV3 is taken for compound, ProxylessNAS and ResNet50 for
    independent, as published. A MobileNetV3 whose kernel matrices are dropped has fixed kernels, otherwise elastic
    ones. Of the widths of a ResNet50 only the largest can be seen: at width 1.0 the others are taken for the published
    0.65 and 0.8 of it, else for 0.6 and 0.8.

    Raises:
      InputError: If it is of no family, or its widths are those of none.
    """
    family, kernel = _family_of(tensors), "fixed"
    if any(name.endswith("_matrix") for name in tensors) and (family != "mobilenet_v3" or kernel_matrices == "apply"):
        kernel = "elastic"
    settings: dict[str, Any] = {"kernel": kernel, "classes": int(tensors["classifier.linear.weight"].shape[0])}
    if family != "mobilenet_v3":
        settings["coupling"] = "independent"
    wanted = _found_widths(tensors)
    candidates = (families.get(family, width_mult=m, **_shares(family, m), **settings) for m in _WIDTHS)
    fits = {space.settings["width_mult"]: space for space in candidates if _widths(space) == wanted}
    if not fits:
        raise InputError(
            f"No width of {family} has the channels of this checkpoint: stem {wanted[0]}, blocks {wanted[1]}. Give its "
            "space."
        )
    return next((fits[width] for width in (1.0, 1.2, 1.3) if width in fits), next(iter(fits.values())))


def _family_of(tensors: Mapping[str, np.ndarray]) -> str:
    marks = {"input_stem.2.conv.weight": "resnet50", "final_expand_layer.conv.weight": "mobilenet_v3"}
    found = [family for name, family in marks.items() if name in tensors]
    known = found or ["proxyless_nas"] * ("first_conv.conv.weight" in tensors)
    if not known or "classifier.linear.weight" not in tensors:
        raise InputError(
            f"This checkpoint is of no known family; it has {', '.join(sorted(tensors)[:3])} and "
            f"{max(0, len(tensors) - 3)} more."
        )
    return known[0]


def _shares(family: str, width_mult: float) -> dict[str, Any]:
    return {"widths": (0.6, 0.8, 1.0)} if family == "resnet50" and width_mult != 1.0 else {}


def _found_widths(tensors: Mapping[str, np.ndarray]) -> tuple[int, list[int]]:
    """Channels of the stem, and of the blocks without repetitions."""
    written = {int(match[1]): int(value.shape[0]) for name, value in tensors.items() if (match := _WRITES.match(name))}
    stem = tensors.get("first_conv.conv.weight", tensors.get("input_stem.2.conv.weight"))
    return int(stem.shape[0]), list(dict.fromkeys(written[block] for block in sorted(written)))  # type: ignore[union-attr]


def _widths(space: Space) -> tuple[int, list[int]]:
    """The same of a space."""
    units = [unit for slot in space.slots if (unit := slot.options[-1]) is not None]
    blocks = [unit.out_channels for unit in units if isinstance(unit, BlockUnit | ResidualUnit)]
    stem = [unit.out_channels for unit in units if isinstance(unit, ConvUnit) and unit.name in ("stem", "stem_out")]
    return stem[0], list(dict.fromkeys(blocks))


def static_arch(space: Space, tensors: Mapping[str, np.ndarray], *, resolution: int = 224) -> Arch | None:
    """Returns the member that an extracted subnet is, or None if the tensors are those of a whole supernet.

    Blocks are told apart by the channels they write and read: the first block of a stage changes the width. Extracted
    subnets of families with elastic widths are not recognised.
    """
    if space.width_spans[-1].stop:
        return None
    blocks = sorted({int(match[1]) for name in tensors if (match := _BLOCK.match(name))})[1:]
    sizes = [_sizes(tensors, block) for block in blocks]
    largest = [
        unit for unit in space.units(space.largest(resolution)) if isinstance(unit, BlockUnit) and unit.expansion
    ]
    if len(sizes) == len(largest) and all(middle == unit.middle for (_, middle, _, _), unit in zip(sizes, largest)):
        return None
    depths, expands, kernels = [], [], []
    rest = list(sizes)
    for stage in space.stages:
        kept: list[tuple[int, int, int, int]] = []
        width = stage.out_channels(None)
        while rest and rest[0][2] == width and (not kept or rest[0][0] == width):
            kept.append(rest.pop(0))
        ratios = [next((r for r in stage.expands if make_divisible(round(size[0] * r)) == size[1]), 0) for size in kept]
        spare = stage.blocks - len(kept)
        depths.append(len(kept))
        expands += [*ratios, *[0] * spare]
        kernels += [*(size[3] for size in kept), *[0] * spare]
    if rest:
        raise InputError(f"The blocks of this checkpoint are not those of a member of {space!r}.")
    return space.arch(depths=depths, expands=expands, kernels=kernels, resolution=resolution)


def _sizes(tensors: Mapping[str, np.ndarray], block: int) -> tuple[int, int, int, int]:
    """Channels read, in the middle, and written, and the kernel of a block."""
    base = f"blocks.{block}.mobile_inverted_conv"
    try:
        expand, depth, project = (
            tensors[f"{base}.{part}.conv.weight"] for part in ("inverted_bottleneck", "depth_conv", "point_linear")
        )
    except KeyError as error:
        raise InputError(f"The checkpoint lacks {error.args[0]}; it is truncated or of another network.") from None
    return int(expand.shape[1]), int(expand.shape[0]), int(project.shape[0]), int(depth.shape[-1])


def import_torch(
    path: str | os.PathLike[str], *, space: Space | None = None, kernel_matrices: KernelMatrices = "drop"
) -> Any:
    """Returns the ``Supernet`` of a published PyTorch checkpoint: CompOFA and Once-for-All nets.

    An extracted static subnet becomes a supernet, too, that holds its weights where that member has them and zeros
    elsewhere; ``Supernet.only`` then names the member.

    Args:
      path: ``.pth`` file: zip or legacy container, ``state_dict`` bare or wrapped, half or full precision.
      space: The space it is of; recognised from names and shapes when absent (``recognise``).
      kernel_matrices: For fixed kernels in files that hold kernel matrices: ``"drop"`` takes the centres of the 7 x 7
        kernels as the authors' evaluation does, ``"apply"`` makes the kernels elastic as their search does.

    Raises:
      InputError: If the file cannot be used; the message says why. See ``read_checkpoint`` and ``recognise``.
    """
    from compofa_tf.supernet import Supernet

    if kernel_matrices not in ("drop", "apply"):
        raise InputError(f"kernel_matrices must be drop or apply. Received: kernel_matrices={kernel_matrices!r}")
    tensors = read_checkpoint(path)
    found, only = _place(tensors, space or recognise(tensors, kernel_matrices=kernel_matrices), given=space is not None)
    net = Supernet(found)
    net.set_state(state_from_torch(found, tensors) if only is None else _embedded(net, only, tensors))
    net.only = only
    return net


def _place(tensors: Mapping[str, np.ndarray], space: Space, *, given: bool) -> tuple[Space, Arch | None]:
    """Returns the space, and the member if the tensors are those of one alone: then perhaps of a larger space."""
    fixed = given or space.width_spans[-1].stop > 0
    larger = [] if fixed else [{"kernel": "elastic"}, {"kernel": "elastic", "coupling": "independent"}]
    spaces = [space, *(families.get(space.family, **{**space.settings, **changes}) for changes in larger)]
    for number, candidate in enumerate(spaces, start=1):
        try:
            return candidate, static_arch(candidate, tensors)
        except InputError:
            if number == len(spaces):
                raise
    raise AssertionError("unreachable")


def _embedded(net: Any, arch: Arch, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of one member in a supernet that is zero elsewhere (variances one, kernel transforms identity)."""
    state = {
        name: value if name.endswith(("moving_variance", "7to5", "5to3")) else np.zeros_like(value)
        for name, value in net.get_state().items()
    }
    state.update({name: np.ones_like(value) for name, value in state.items() if name.endswith("moving_variance")})
    for name, value in state_from_torch(net.space, tensors, arch=arch).items():
        target = state[name]
        place = [slice(0, size) for size in value.shape]
        if name.endswith("/depth/kernel"):  # a small kernel is the centre of the large one
            start = (target.shape[0] - value.shape[0]) // 2
            place[:2] = [slice(start, start + value.shape[0])] * 2
        target[tuple(place)] = value
    return state
