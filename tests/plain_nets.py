"""A small plain network as an export gets it, and images for it."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

SIDE = 32
LABELS = ["Äpfel", "pears", "plums", "nuts", "figs"]


def swish(x):
    return layers.Activation("hard_silu")(x)


def norm(x):
    # Momentum 0: one call with training=True leaves the statistics of that batch, as a calibrated subnet has them.
    return layers.BatchNormalization(momentum=0.0)(x)


def tiny_net(*, activation="hard_silu", se=True):
    """A small MobileNetV3 as plain.build writes it, stride 2 with explicit padding included."""
    act = layers.Activation
    inputs = keras.Input((SIDE, SIDE, 3), name="images")
    x = layers.ZeroPadding2D(1)(inputs)
    x = act(activation)(norm(layers.Conv2D(16, 3, 2, use_bias=False)(x)))
    for stride in (1, 2):
        y = act(activation)(norm(layers.Conv2D(32, 1, use_bias=False)(x)))
        if stride == 2:
            y = layers.ZeroPadding2D(2)(y)
        padding = "same" if stride == 1 else "valid"
        y = act(activation)(norm(layers.DepthwiseConv2D(5, stride, padding=padding, use_bias=False)(y)))
        if se:
            gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
            gate = layers.Conv2D(8, 1, activation="relu")(gate)
            gate = act("hard_sigmoid")(layers.Conv2D(32, 1)(gate))
            y = layers.Multiply()([y, gate])
        y = norm(layers.Conv2D(16, 1, use_bias=False)(y))
        x = layers.Add()([x, y]) if stride == 1 else y
    x = act(activation)(norm(layers.Conv2D(64, 1, use_bias=False)(x)))
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = act(activation)(layers.Conv2D(64, 1, use_bias=False)(x))
    return keras.Model(inputs, layers.Dense(len(LABELS), name="logits")(layers.Flatten()(x)))


def images(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, SIDE, SIDE, 3)).astype(np.float32)
