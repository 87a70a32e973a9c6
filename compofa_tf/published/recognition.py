"""Published PyTorch checkpoints as supernets, and which space they are of. Needs the extra [torch]."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from compofa_tf import families
from compofa_tf._lazy import later
from compofa_tf.errors import InputError
from compofa_tf.published import networks
from compofa_tf.published.extracted import embedded, extracted_from, static_arch
from compofa_tf.published.networks import PublishedNetwork
from compofa_tf.published.networks.network import CheckpointNames
from compofa_tf.published.torch_files import read_checkpoint
from compofa_tf.published.torch_names import (
    MismatchError,
    has_matrices,
    published_tensors,
    state_from_torch,
    weight_key,
    with_matrices,
)
from compofa_tf.space import Space

KernelMatrices = Literal["drop", "apply"]

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by key."""


def recognise(tensors: Mapping[str, np.ndarray], *, kernel_matrices: KernelMatrices = "drop") -> Space:
    """Returns the space that a checkpoint is of, from its names and shapes.

    Coupling cannot be seen in a checkpoint: MobileNetV3 is taken for compound, ProxylessNAS and ResNet50 for
    independent, as published. A MobileNetV3 whose kernel matrices are dropped has fixed kernels, otherwise elastic
    ones. Of the widths of a ResNet50 only the largest can be seen: at width 1.0 the others are taken for the published
    0.65 and 0.8 of it, else for 0.6 and 0.8. An extracted subnet of it is taken for one of the first such space.

    Raises:
      InputError: If it is of no family, or its widths are those of none.
    """
    network = _network_of(tensors)
    names = network.checkpoints
    may_drop = names.kernels_may_be_fixed and kernel_matrices == "drop"
    kernel = "elastic" if has_matrices(tensors) and not may_drop else "fixed"
    settings = {"kernel": kernel, "classes": classes_of(tensors, network.family)}
    candidates = [families.get(network.family, **{**settings, **arguments}) for arguments in names.tried]
    wanted = _widths(names, {key: value.shape for key, value in tensors.items()})
    for space in candidates:
        if _widths(names, {tensor.key: tensor.shape for tensor in published_tensors(space)}) == wanted:
            return space
    if any(stage.width_counts for stage in candidates[0].stages):  # a subnet need not have the largest widths
        for space in candidates:
            if _has_subnet(space, tensors):
                return space
    nearest = min(candidates, key=lambda space: _distance(space, tensors))
    if _distance(nearest, tensors) > len(tensors) / 2:
        raise InputError(
            f"No width of {network.family} has the channels of this checkpoint: stem {wanted[0]}, blocks {wanted[1]}. "
            "Give its space."
        )
    return nearest


def _network_of(tensors: Mapping[str, np.ndarray]) -> PublishedNetwork:
    def has(beginning: str) -> bool:
        return any(key.startswith(beginning) for key in tensors)

    for network in networks.known():
        names = network.checkpoints
        if has(names.mark) and not (names.unmarked and has(names.unmarked)):
            return network
    raise InputError(
        f"This checkpoint is of no known family; it has {', '.join(sorted(tensors)[:3])} and "
        f"{max(0, len(tensors) - 3)} more."
    )


def _widths(names: CheckpointNames, shapes: Shapes) -> tuple[int, list[int]]:
    """Channels after the stem, and after the blocks without repetitions; 0 if there is no such tensor."""
    stem = _written(names.units[names.stem], shapes)
    blocks = _written(f"{names.blocks}.{names.parts[names.writes]}", shapes)
    return (stem or [0])[-1], list(dict.fromkeys(blocks))


def _written(pattern: str, shapes: Shapes) -> list[int]:
    """Channels that the weights of a list write, in the order of their numbers."""
    listed = re.compile(re.escape(weight_key(pattern)).replace(r"\{\}", r"(\d+)"))
    found = {
        int(match[1]) if listed.groups else 0: shape[0] if shape else 0
        for key, shape in shapes.items()
        if (match := listed.fullmatch(key))
    }
    return [found[number] for number in sorted(found)]


def _has_subnet(space: Space, tensors: Mapping[str, np.ndarray]) -> bool:
    try:
        static_arch(space, tensors)
    except InputError:
        return False
    return True


def _distance(space: Space, tensors: Mapping[str, np.ndarray]) -> int:
    """How many tensors are not those of a whole supernet of a space."""
    try:
        state_from_torch(space, with_matrices(space, tensors))
    except MismatchError as error:
        return error.count
    return 0


def classes_of(tensors: Mapping[str, np.ndarray], family: str) -> int:
    """Returns the number of classes of a checkpoint of a family; raises ``InputError`` if it has no classifier."""
    names = networks.of(family).checkpoints
    base = names.units[names.classifier]
    for part in ("weight", "bias"):
        value = tensors.get(f"{base}.{part}")
        if value is not None and value.ndim and len(value) > 1:
            return len(value)
    raise InputError(f"The checkpoint lacks {base}.weight; it is truncated or of another network.")


def import_torch(
    path: str | os.PathLike[str], *, space: Space | None = None, kernel_matrices: KernelMatrices = "drop"
) -> Any:
    """Returns the ``Supernet`` of a published PyTorch checkpoint: CompOFA and Once-for-All nets.

    An extracted static subnet becomes a supernet, too, that holds its weights where that subnet has them and zeros
    elsewhere; ``Supernet.only`` then names the subnet.

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
    only, weights = None, dict[str, np.ndarray]()
    try:
        weights = state_from_torch(found, with_matrices(found, tensors))
    except MismatchError as error:
        found, only, weights = extracted_from(found, tensors, given=space is not None, mismatch=error)
    net = later(__name__, "nets.supernet").Supernet(found)
    net.set_state(weights if only is None else embedded(net, weights))
    net.only = only
    return net
