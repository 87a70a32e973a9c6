"""A subnet as a plain Keras model: stock layers only, no class of this package needed to open it."""

from __future__ import annotations

from typing import Any

import keras

from compofa_tf.errors import InputError
from compofa_tf.nets.batches import image_batches
from compofa_tf.nets.plain import build
from compofa_tf.nets.supernet import Supernet
from compofa_tf.space import Arch


def extract(net: Supernet, arch: Arch, *, calibrate_on: Any = None) -> keras.Model:
    """Returns a subnet of a trained supernet as a plain model that holds its slice of the weights.

    Args:
      net: The supernet.
      arch: A subnet of ``net.space``.
      calibrate_on: Normalised images ``[count, resolution, resolution, 3]`` or batches of them (a ``tf.data.Dataset``,
        with or without labels) with evaluation preprocessing: batch-norm statistics are computed for this subnet first
        (``calibrate``). None keeps the stored ones, which mean something only after an import or a calibration.
    """
    if calibrate_on is not None:
        calibrate(net, arch, calibrate_on)
    model = build(net.space, arch)
    for unit in net.space.units(arch):
        for part in unit.parts:
            weights, norm = net.layer_of(unit).sliced(part)
            name = f"{unit.name}_{part.name}"
            model.get_layer(name).set_weights(weights)
            if norm:
                model.get_layer(f"{name}_bn").set_weights(norm)
    return model


def calibrate(net: Supernet, arch: Arch, images: Any, *, batch_size: int = 256) -> int:
    """Computes the batch-norm statistics of one subnet and stores them in the supernet.

    Every batch is normalised with its own mean and biased variance; what is stored is the average of the batches' means
    and variances, weighted by batch size. Only the leading channels that the subnet uses change. Reference: the
    ``set_running_statistics`` of Once-for-All, with which it agrees number for number.

    Args:
      net: The supernet; its stored statistics are overwritten.
      arch: A subnet of ``net.space``.
      images: As ``calibrate_on`` of ``extract``.
      batch_size: Batch size for an array; a dataset has its own.

    Returns:
      The number of images used.

    Raises:
      InputError: If there are no images.
    """
    net.space.check(arch)
    seen = 0
    for batch in image_batches(images, batch_size=batch_size):
        count = len(batch)
        seen += count
        net.calibration_step(batch, arch, count / seen)  # eagerly: a graph takes longer to compile than to run
    if not seen:
        raise InputError("Calibration needs at least one image. Received: an empty array or dataset")
    return seen
