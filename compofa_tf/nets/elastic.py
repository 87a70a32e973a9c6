"""The elastic side of the topology: the shared weights of a slot, and computing with slices of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compofa_tf.nets import functions, layers
from compofa_tf.nets.topology import compute
from compofa_tf.space.stages import Slot
from compofa_tf.space.units import Part, Unit

_ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "hard_swish": functions.hard_swish,
    "hard_sigmoid": functions.hard_sigmoid,
}


class ElasticUnit(keras.layers.Layer):
    """The shared weights of a slot; computes any of its options.

    Call arguments:
      x: float ``[batch, height, width, channels]``.
      unit: The option to compute.
      training: Whether batch norm uses the statistics of the batch.
      rate: If given, batch norm also moves its stored statistics; see ``ElasticBatchNormalization``.

    Args:
      slot: The slot; the weights are as large as the largest option in every dimension.
      epsilon: Batch-norm epsilon.
      seed: Seed of the initial weights.
    """

    def __init__(self, slot: Slot, *, epsilon: float, seed: int = 0) -> None:
        super().__init__(name=slot.name, dtype=layers.DTYPE)
        self.slot, self.epsilon, self.seed = slot, epsilon, seed
        self.weighted: dict[str, Any] = {}
        self.norms: dict[str, Any] = {}
        per_part: dict[str, list[Part]] = {}
        for unit in slot.options:
            for part in unit.parts if unit else ():
                per_part.setdefault(part.name, []).append(part)
        for name, parts in per_part.items():
            self._create(name, parts)
        self.built = True

    def _create(self, name: str, parts: list[Part]) -> None:
        first, seed, full = parts[0], self.seed, f"{self.name}_{name}"
        in_channels, out_channels = (max(getattr(p, key) for p in parts) for key in ("in_channels", "out_channels"))
        layer: Any
        if first.kind == "conv":
            layer = layers.ElasticConv2D(
                out_channels, first.kernel_size, strides=first.stride, use_bias=first.bias, seed=seed, name=full
            )
        elif first.kind == "depthwise":
            sizes = {part.kernel_size for part in parts}
            layer = layers.ElasticDepthwiseConv2D(
                tuple(sizes), strides=first.stride, transform=len(sizes) > 1, seed=seed, name=full
            )
        else:
            layer = layers.ElasticDense(out_channels, use_bias=first.bias, seed=seed, name=full)
        layer.build((None, in_channels) if first.kind == "dense" else (None, None, None, in_channels))
        self.weighted[name] = layer
        if first.norm:
            # A block with a shortcut starts as the identity (arXiv:1706.02677, 5.1): short schedules learn faster.
            residual = name in {getattr(unit, "branch_end", None) for unit in self.slot.options}
            self.norms[name] = layers.ElasticBatchNormalization(
                epsilon=self.epsilon, gamma_initializer="zeros" if residual else "ones", name=f"{full}_bn"
            )
            self.norms[name].build((None, None, None, out_channels))

    def call(
        self, x: tf.Tensor, unit: Unit, training: bool = False, rate: tf.Tensor | float | None = None
    ) -> tf.Tensor:
        """Computes one option; see the class."""
        return compute(unit, ElasticOps(self, training, rate), x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the slot as it is: a supernet is saved as its space, not by Keras."""
        return {"slot": self.slot, "epsilon": self.epsilon, "seed": self.seed}

    def variables_by_name(self) -> dict[str, Any]:
        """Returns every variable under its stable name ``part/tensor``."""
        named = {}
        for part, layer in self.weighted.items():
            named[f"{part}/kernel"] = layer.kernel
            if getattr(layer, "bias", None) is not None:
                named[f"{part}/bias"] = layer.bias
            named.update({f"{part}/{name}": matrix for name, matrix in getattr(layer, "matrices", {}).items()})
        for part, norm in self.norms.items():
            for tensor in ("gamma", "beta", "moving_mean", "moving_variance"):
                named[f"{part}/{tensor}"] = getattr(norm, tensor)
        return named

    def sliced(self, part: Part) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns what stock layers of this size hold: kernel (and bias), and the four vectors of batch norm."""
        layer = self.weighted[part.name]
        if part.kind == "depthwise":
            weights = [layer.sliced(part.in_channels, part.kernel_size)]
        elif part.kind == "conv":
            weights = list(layer.sliced(part.in_channels, part.out_channels))
        else:
            weights = list(layer.sliced(part.in_channels))
        norm = self.norms[part.name].sliced(part.out_channels) if part.norm else ()
        return [np.asarray(w) for w in weights if w is not None], [np.asarray(v) for v in norm]


class ElasticOps:
    """Computes with the leading slices of an ``ElasticUnit``."""

    def __init__(self, owner: ElasticUnit, training: bool, rate: tf.Tensor | float | None) -> None:
        self.owner, self.training, self.rate = owner, training, rate

    def weigh(self, part: Part, x: tf.Tensor) -> tf.Tensor:
        """Convolution or matrix, then batch norm."""
        layer = self.owner.weighted[part.name]
        if part.kind == "conv":
            y = layer(x, filters=part.out_channels)
        elif part.kind == "depthwise":
            y = layer(x, kernel_size=part.kernel_size)
        else:
            y = layer(x)
        return self.owner.norms[part.name](y, training=self.training, rate=self.rate) if part.norm else y

    def activate(self, name: str, activation: str, x: tf.Tensor) -> tf.Tensor:
        """The activation."""
        return _ACTIVATIONS[activation](x)

    def pool(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Global average."""
        return tf.reduce_mean(x, [1, 2], keepdims=True)

    def max_pool(self, name: str, stride: int, x: tf.Tensor) -> tf.Tensor:
        """Largest of 3x3 pixels."""
        return tf.nn.max_pool2d(x, 3, stride, [[0, 0], [1, 1], [1, 1], [0, 0]])

    def average_pool(self, name: str, stride: int, x: tf.Tensor) -> tf.Tensor:
        """Average over a window; padding does not count."""
        return tf.nn.avg_pool2d(x, stride, stride, "SAME")

    def flatten(self, x: tf.Tensor) -> tf.Tensor:
        """Drops the pooled dimensions."""
        return tf.squeeze(x, [1, 2])

    def multiply(self, name: str, x: tf.Tensor, gate: tf.Tensor) -> tf.Tensor:
        """Product."""
        return x * gate

    def add(self, name: str, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Sum."""
        return x + y
