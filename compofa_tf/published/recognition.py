"""Published PyTorch checkpoints as supernets, and which space they are of. Needs the extra [torch]."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.published.extracted import embedded, member_of, static_arch
from compofa_tf.published.torch_files import read_checkpoint
from compofa_tf.published.torch_names import MismatchError, depthwise_keys, matrix_keys, state_from_torch
from compofa_tf.space import Space
from compofa_tf.space.units import BlockUnit, ConvUnit, ResidualUnit

KernelMatrices = Literal["drop", "apply"]

_MATRIX = re.compile(r"\.depth_conv\.conv\.\d+to\d+_matrix$")
_WRITES = re.compile(r"blocks\.(\d+)\.(?:mobile_inverted_conv\.point_linear|conv3)\.conv\.weight$")
_STEMS = ("first_conv.conv.weight", "input_stem.2.conv.weight", "input_stem.1.conv.weight", "input_stem.0.conv.weight")
"""What the stem ends with, as far as the file has it."""

_WIDTHS = tuple(round(0.05 * step, 2) for step in range(1, 81))
"""Width multipliers that are tried, 0.05 to 4."""


def recognise(tensors: Mapping[str, np.ndarray], *, kernel_matrices: KernelMatrices = "drop") -> Space:
    """Returns the space that a checkpoint is of, from its names and shapes.

    Coupling cannot be seen in a checkpoint: MobileNetV3 is taken for compound, ProxylessNAS and ResNet50 for
    independent, as published. A MobileNetV3 whose kernel matrices are dropped has fixed kernels, otherwise elastic
    ones. Of the widths of a ResNet50 only the largest can be seen: at width 1.0 the others are taken for the published
    0.65 and 0.8 of it, else for 0.6 and 0.8. An extracted subnet of it is taken for a member of the first such space.

    Raises:
      InputError: If it is of no family, or its widths are those of none.
    """
    family, kernel = _family_of(tensors), "fixed"
    if has_matrices(tensors) and (family != "mobilenet_v3" or kernel_matrices == "apply"):
        kernel = "elastic"
    settings: dict[str, Any] = {"kernel": kernel, "classes": classes_of(tensors)}
    if family != "mobilenet_v3":
        settings["coupling"] = "independent"
    wanted = _found_widths(tensors)
    candidates = [families.get(family, width_mult=m, **_shares(family, m), **settings) for m in _WIDTHS]
    fits = [space for space in candidates if _widths(space) == wanted]
    if not fits and family == "resnet50":
        fits = [space for space in candidates if _has_member(space, tensors)]
    if not fits:
        nearest = min(candidates, key=lambda space: _distance(space, tensors))
        if _distance(nearest, tensors) > len(tensors) / 2:
            raise InputError(
                f"No width of {family} has the channels of this checkpoint: stem {wanted[0]}, blocks {wanted[1]}. Give "
                "its space."
            )
        return nearest
    usual = (space for width in (1.0, 1.2, 1.3) for space in fits if space.arguments["width_mult"] == width)
    return next(usual, fits[0])


def _distance(space: Space, tensors: Mapping[str, np.ndarray]) -> int:
    """How many tensors are not those of a whole supernet of a space."""
    try:
        state_from_torch(space, with_matrices(space, tensors))
    except MismatchError as error:
        return error.count
    return 0


def _has_member(space: Space, tensors: Mapping[str, np.ndarray]) -> bool:
    try:
        static_arch(space, tensors)
    except InputError:
        return False
    return True


def has_matrices(tensors: Mapping[str, np.ndarray]) -> bool:
    """Returns whether a checkpoint has kernel matrices."""
    return any(_MATRIX.search(name) for name in tensors)


def classes_of(tensors: Mapping[str, np.ndarray]) -> int:
    """Returns the number of classes of a checkpoint."""
    for part in ("weight", "bias"):
        value = tensors.get(f"classifier.linear.{part}")
        if value is not None and value.ndim and len(value) > 1:
            return len(value)
    raise InputError("The checkpoint lacks classifier.linear.weight; it is truncated or of another network.")


def _family_of(tensors: Mapping[str, np.ndarray]) -> str:
    marks = {"input_stem.": "resnet50", "final_expand_layer.": "mobilenet_v3", "first_conv.": "proxyless_nas"}
    known = [family for mark, family in marks.items() if any(name.startswith(mark) for name in tensors)]
    if not known:
        raise InputError(
            f"This checkpoint is of no known family; it has {', '.join(sorted(tensors)[:3])} and "
            f"{max(0, len(tensors) - 3)} more."
        )
    return known[0]


def _shares(family: str, width_mult: float) -> dict[str, Any]:
    return {"widths": (0.6, 0.8, 1.0)} if family == "resnet50" and width_mult != 1.0 else {}


def _found_widths(tensors: Mapping[str, np.ndarray]) -> tuple[int, list[int]]:
    """Channels of the stem, and of the blocks without repetitions."""
    written = {int(match[1]): _channels(value) for name, value in tensors.items() if (match := _WRITES.match(name))}
    stem = next((_channels(tensors[name]) for name in _STEMS if name in tensors), 0)
    return stem, list(dict.fromkeys(written[block] for block in sorted(written)))


def _channels(tensor: np.ndarray) -> int:
    return len(tensor) if tensor.ndim else 0


def _widths(space: Space) -> tuple[int, list[int]]:
    """The same of a space."""
    units = [unit for slot in space.slots if (unit := slot.options[-1]) is not None]
    blocks = [unit.out_channels for unit in units if isinstance(unit, BlockUnit | ResidualUnit)]
    stem = [unit.out_channels for unit in units if isinstance(unit, ConvUnit) and unit.name in ("stem", "stem_out")]
    return stem[0], list(dict.fromkeys(blocks))


def import_torch(
    path: str | os.PathLike[str], *, space: Space | None = None, kernel_matrices: KernelMatrices = "drop"
) -> Any:
    """Returns the ``Supernet`` of a published PyTorch checkpoint: CompOFA and Once-for-All nets.

    An extracted static subnet becomes a supernet, too, that holds its weights where that member has them and zeros
    elsewhere; ``Supernet.only`` then names the member.

    Args:
      path: ``.pth`` file: zip or legacy container, ``state_dict`` bare or wrapped, half or full precision.
      space: The space it is of; recognised from names and shapes when absent (``recognise``). The same weights can be
        taken as compound or independent, with fixed or elastic kernels: of a file without kernel matrices the smaller
        elastic kernels are the centres of the larger ones.
      kernel_matrices: For fixed kernels in files that hold kernel matrices: ``"drop"`` takes the centres of the 7 x 7
        kernels as the authors' evaluation does, ``"apply"`` makes the kernels elastic as their search does.

    Raises:
      InputError: If the file cannot be used; the message says why. See ``read_checkpoint`` and ``recognise``.
    """
    if kernel_matrices not in ("drop", "apply"):
        raise InputError(f"kernel_matrices must be drop or apply. Received: kernel_matrices={kernel_matrices!r}")
    return supernet_of(read_checkpoint(path), space=space, kernel_matrices=kernel_matrices)


def supernet_of(
    tensors: Mapping[str, np.ndarray], *, space: Space | None = None, kernel_matrices: KernelMatrices = "drop"
) -> Any:
    """Returns the ``Supernet`` of tensors that ``read_checkpoint`` returned; see ``import_torch``."""
    from compofa_tf.nets.supernet import Supernet

    if space is not None and not isinstance(space, Space):
        raise InputError(f"space must be a Space, for example from compofa_tf.families. Received: space={space!r}")
    if space is not None and space.kernel == "fixed" and kernel_matrices == "apply":
        raise InputError(
            "Kernel matrices can be applied in a space with elastic kernels only; give kernel=elastic, or drop them. "
            f"Received: kernel_matrices='apply', space={space!r}"
        )
    if kernel_matrices == "apply" and not has_matrices(tensors):
        raise InputError("The checkpoint has no kernel matrices to apply; leave kernel_matrices at drop.")
    found = recognise(tensors, kernel_matrices=kernel_matrices) if space is None else space
    only, part = None, dict[str, np.ndarray]()
    try:
        state = state_from_torch(found, with_matrices(found, tensors))
    except MismatchError as whole:
        found, only, part = member_of(found, tensors, given=space is not None, whole=whole)
    net = Supernet(found)
    net.set_state(state if only is None else embedded(net, part))
    net.only = only
    return net


def with_matrices(space: Space, tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Returns the tensors with kernel matrices for a space of elastic kernels, if they have none: identities.

    The smaller kernels of such a file are the centres of its largest ones, as the published code has it without
    transforms.
    """
    if space.kernel == "fixed" or has_matrices(tensors):
        return tensors
    added = {
        key: np.eye(smaller**2, dtype=np.float32)
        for _, base, sides in depthwise_keys(space)
        for key, smaller in matrix_keys(base, sides)
        if f"{base}.weight" in tensors
    }
    return {**tensors, **added}
