"""The table of all elastic layers, each with the stock Keras layer that it must equal at every size.

The slices are cut here with NumPy, not by the code under test.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from spaces import small_space

from compofa_tf.nets import elastic, layers
from compofa_tf.nets.plain import StockOps
from compofa_tf.nets.topology import compute

SIDE = 9
CHANNELS = 8


@dataclass(frozen=True)
class Case:
    """One public layer with one set of constructor arguments.

    Attributes:
      make: Constructor; takes a seed.
      sizes: Input channels and call arguments to try.
      too_large: Input channels and call arguments that must be refused.
      stock: The stock Keras layer or model of a size, from the layer's weights by name.
      used: For each trainable weight by name, where a size uses it, as a boolean mask.
      seeded: Whether initial weights are random.
      space: The dimensions between batch and channels.
    """

    make: Callable[..., Any]
    sizes: tuple[tuple[int, dict[str, Any]], ...]
    too_large: tuple[tuple[int, dict[str, Any]], ...]
    stock: Callable[[Any, dict[str, np.ndarray], int, dict[str, Any]], Any]
    used: Callable[[Any, dict[str, np.ndarray], int, dict[str, Any]], dict[str, np.ndarray]]
    seeded: bool = True
    space: tuple[int, ...] = (SIDE, SIDE)


def grid(channels: tuple[int, ...], **options: tuple) -> tuple[tuple[int, dict[str, Any]], ...]:
    """Every combination; an option of None is left out of the call."""
    return tuple(
        (count, {key: value for key, value in zip(options, values) if value is not None})
        for count, values in itertools.product(channels, list(itertools.product(*options.values())))
    )


def masked(weights: dict[str, np.ndarray], **indices: Any) -> dict[str, np.ndarray]:
    masks = {name: np.zeros(value.shape, bool) for name, value in weights.items()}
    for name, index in indices.items():
        masks[name][index] = True
    return masks


def padded(layer: Any, kernel_size: int, channels: int, arrays: list[np.ndarray]) -> keras.Model:
    model = keras.Sequential([keras.Input((SIDE, SIDE, channels)), keras.layers.ZeroPadding2D(kernel_size // 2), layer])
    layer.set_weights(arrays)
    return model


def conv(kernel_size: int, **settings: Any) -> Case:
    def stock(layer, weights, channels, call):
        filters = call.get("filters", 16)
        arrays = [weights["kernel"][:, :, :channels, :filters]]
        arrays += [weights["bias"][:filters]] if layer.use_bias else []
        plain = keras.layers.Conv2D(filters, kernel_size, strides=layer.strides, use_bias=layer.use_bias)
        return padded(plain, kernel_size, channels, arrays)

    def used(layer, weights, channels, call):
        filters = slice(call.get("filters", 16))
        bias = {"bias": filters} if layer.use_bias else {}
        return masked(weights, kernel=np.s_[:, :, :channels, filters], **bias)

    return Case(
        make=lambda seed=0: layers.ElasticConv2D(16, kernel_size, seed=seed, name="conv", **settings),
        sizes=grid((CHANNELS, 5, 1), filters=(None, 16, 9, 1)),
        too_large=((CHANNELS + 1, {}), (CHANNELS, {"filters": 17}), (CHANNELS, {"filters": 0})),
        stock=stock,
        used=used,
    )


def crop(kernel: np.ndarray, size: int) -> np.ndarray:
    start = (len(kernel) - size) // 2
    return kernel[start : start + size, start : start + size]


def depthwise_masks(weights: dict[str, np.ndarray], size: int, channels: int) -> dict[str, np.ndarray]:
    """Every transform reads the centre of the step before it, and the crop that follows drops rows of its matrix."""
    masks = {name: np.zeros(value.shape, bool) for name, value in weights.items()}
    steps = sorted((int(name[-1]) for name in weights if "to" in name and int(name[-1]) >= size), reverse=True)
    crop(masks["kernel"], steps[0] if steps else size)[:, :, :channels] = True
    for smaller, following in zip(steps, [*steps[1:], size]):
        rows = np.zeros((smaller, smaller), bool)
        crop(rows, following)[:] = True
        next(mask for name, mask in masks.items() if name.endswith(f"to{smaller}"))[rows.reshape(-1)] = True
    return masks


def depthwise(kernel_sizes: Any, **settings: Any) -> Case:
    sides = (kernel_sizes,) if isinstance(kernel_sizes, int) else tuple(sorted(kernel_sizes, reverse=True))

    def stock(layer, weights, channels, call):
        size = call.get("kernel_size", sides[0])
        kernel = weights["kernel"][:, :, :channels]
        for larger, smaller in itertools.pairwise(sides):
            if layer.transform and smaller >= size:
                cropped = crop(kernel, smaller)
                each = [weights[f"{larger}to{smaller}"] @ cropped[:, :, c, 0].reshape(-1) for c in range(channels)]
                kernel = np.stack(each, -1).reshape(smaller, smaller, channels, 1)
        plain = keras.layers.DepthwiseConv2D(size, strides=layer.strides, use_bias=False)
        return padded(plain, size, channels, [crop(kernel, size)])

    def used(layer, weights, channels, call):
        return depthwise_masks(weights, call.get("kernel_size", sides[0]), channels)

    return Case(
        make=lambda seed=0: layers.ElasticDepthwiseConv2D(kernel_sizes, seed=seed, name="depthwise", **settings),
        sizes=grid((CHANNELS, 3), kernel_size=(None, *sides)),
        too_large=((CHANNELS + 1, {}), (CHANNELS, {"kernel_size": 9}), (CHANNELS, {"kernel_size": 4})),
        stock=stock,
        used=used,
    )


def dense(**settings: Any) -> Case:
    def stock(layer, weights, channels, call):
        plain = keras.layers.Dense(6, use_bias=layer.use_bias)
        model = keras.Sequential([keras.Input((channels,)), plain])
        plain.set_weights([weights["kernel"][:channels], *([weights["bias"]] if layer.use_bias else [])])
        return model

    def used(layer, weights, channels, call):
        return masked(weights, kernel=np.s_[:channels], **({"bias": np.s_[:]} if layer.use_bias else {}))

    return Case(
        make=lambda seed=0: layers.ElasticDense(6, seed=seed, name="dense", **settings),
        sizes=grid((CHANNELS, 5, 1)),
        too_large=((CHANNELS + 1, {}),),
        stock=stock,
        used=used,
        space=(),
    )


def batch_norm(**settings: Any) -> Case:
    def stock(layer, weights, channels, call):
        plain = keras.layers.BatchNormalization(epsilon=layer.epsilon)
        model = keras.Sequential([keras.Input((SIDE, SIDE, channels)), plain])
        plain.set_weights([weights[key][:channels] for key in ("gamma", "beta", "moving_mean", "moving_variance")])
        return lambda x: model(x, training=call.get("training", False))

    return Case(
        make=lambda seed=0: layers.ElasticBatchNormalization(name="norm", **settings),
        sizes=grid((CHANNELS, 5, 1), training=(None, False, True)),
        too_large=((CHANNELS + 1, {}), (CHANNELS + 1, {"training": True})),
        stock=stock,
        used=lambda layer, weights, channels, call: masked(weights, gamma=np.s_[:channels], beta=np.s_[:channels]),
        seeded=False,
    )


def unit(slot_name: str) -> Case:
    """An elastic unit against the functional model of stock layers that ``StockOps`` builds."""
    slot = next(slot for slot in small_space("elastic", "independent").slots if slot.name == slot_name)
    options = [option for option in slot.options if option is not None]
    space = (1, 1) if slot_name == "classifier" else (SIDE, SIDE)

    def stock(layer, weights, channels, call):
        inputs = keras.Input((*space, channels))
        model = keras.Model(inputs, compute(call["unit"], StockOps(slot.name, epsilon=layer.epsilon), inputs))
        for part in call["unit"].parts:
            arrays, norm = layer.sliced(part)
            model.get_layer(f"{slot.name}_{part.name}").set_weights(arrays)
            if norm:
                model.get_layer(f"{slot.name}_{part.name}_bn").set_weights(norm)
        return model

    def used(layer, weights, channels, call):
        masks = masked(weights)
        for part in call["unit"].parts:
            own = {name.split("/")[1]: value for name, value in weights.items() if name.startswith(f"{part.name}/")}
            if part.kind == "depthwise":
                found = depthwise_masks(own, part.kernel_size, part.in_channels)
            else:
                found = masked(own, kernel=np.s_[..., : part.in_channels, : part.out_channels])
            for tensor in {"gamma", "beta", "bias"} & set(own):
                found[tensor][: part.out_channels] = True
            masks.update({f"{part.name}/{tensor}": mask for tensor, mask in found.items()})
        return masks

    return Case(
        make=lambda seed=0: elastic.ElasticUnit(slot, epsilon=1e-3, seed=seed),
        sizes=tuple((option.in_channels, {"unit": option}) for option in options),
        too_large=((options[0].in_channels + 1, {"unit": options[0]}),),
        stock=stock,
        used=used,
        space=space,
    )


CASES: dict[type, dict[str, Case]] = {
    layers.ElasticConv2D: {
        "1x1": conv(1),
        "3x3-stride2-bias": conv(3, strides=2, use_bias=True),
        "5x5": conv(5),
        "1x1-stride2": conv(1, strides=2),
    },
    layers.ElasticDepthwiseConv2D: {
        "one": depthwise(5),
        "crop": depthwise((3, 5, 7)),
        "crop-stride2": depthwise((7, 5, 3), strides=2),
        "transform": depthwise((3, 5, 7), transform=True),
        "transform-stride2": depthwise((3, 7), strides=2, transform=True),
    },
    layers.ElasticDense: {"bias": dense(), "plain": dense(use_bias=False)},
    layers.ElasticBatchNormalization: {"default": batch_norm(), "epsilon": batch_norm(epsilon=0.1)},
    elastic.ElasticUnit: {
        "stem": unit("stem"),
        "first": unit("first"),
        "stride": unit("stage1_block0"),
        "squeeze-excite": unit("stage2_block0"),
        "shortcut": unit("stage2_block1"),
        "classifier": unit("classifier"),
    },
}
NAMED: dict[str, Case] = {
    f"{cls.__name__}-{name}": case for cls, cases in CASES.items() for name, case in cases.items()
}
"""The same cases in one row."""


def built(case: Case, *, seed: int = 0) -> Any:
    layer = case.make(seed=seed)
    if not layer.built:
        layer.build(unknown(case, CHANNELS))
    return layer


def variables(layer: Any) -> dict[str, Any]:
    if isinstance(layer, elastic.ElasticUnit):
        return layer.variables_by_name()
    return {variable.name: variable for variable in layer.weights}


def randomised(case: Case) -> tuple[Any, dict[str, np.ndarray]]:
    """The layer with every weight random, so that nothing agrees by being 0 or 1; and the weights."""
    layer, rng = built(case), np.random.default_rng(1)
    for name, variable in variables(layer).items():
        values = rng.normal(size=variable.shape) / max(1, np.prod(variable.shape[:-1])) ** 0.5
        variable.assign(1 + 0.1 * values if "variance" in name or "gamma" in name else values)
    return layer, {name: np.array(variable) for name, variable in variables(layer).items()}


def batch(case: Case, channels: int) -> tf.Tensor:
    shape = (4, *case.space, channels)
    return tf.constant(np.random.default_rng(channels).normal(size=shape), tf.float32)


def unknown(case: Case, channels: int) -> tuple[int | None, ...]:
    return (None, *(None for _ in case.space), channels)


def sizes(case: Case) -> Iterator[tuple[tf.Tensor, int, dict[str, Any]]]:
    for channels, call in case.sizes:
        yield batch(case, channels), channels, call
