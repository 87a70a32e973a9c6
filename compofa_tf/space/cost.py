"""Multiply-adds and parameters of a subnet, from the same description that builds it. No TensorFlow."""

from __future__ import annotations

from compofa_tf.space import Arch, Space


def macs(space: Space, arch: Arch) -> int:
    """Returns the multiply-adds of one image at ``arch.resolution``.

    Counts convolutions (squeeze-and-excite included) and the classifier, as the CompOFA paper does; batch norm is
    folded at inference and counts nothing.
    """
    return sum(op.macs for op in space.ops(arch))


def params(space: Space, arch: Arch) -> int:
    """Returns the trainable parameters: kernels, biases, batch-norm gamma and beta (not the moving statistics)."""
    return sum(op.params for op in space.ops(arch))
