"""Rewriting the activations of a Keras model into what a runtime executes fast, with the same function.

The converter fuses ``hard_silu`` into ``HARD_SWISH``, which LiteRT's CPU back end (XNNPACK) has in float only: every
int8 ``HARD_SWISH`` leaves the accelerated graph and makes an int8 MobileNetV3 slower than the float one. The same
function as ``x * relu6(x + 3)`` stays inside. That is 6 times too large, so the next convolution gets a sixth of its
kernel: the constant costs nothing. ``relu6(x + 3)`` is 6 times the hard sigmoid in the same way, and a product
multiplies factors.

XNNPACK has no int8 ``AVERAGE_POOL_2D`` either: an average over windows side by side becomes a depthwise convolution
with equal weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from compofa_tf.deploy.targets import TARGETS
from compofa_tf.errors import InputError

_GAIN = 6.0
"""``x * relu6(x + 3)`` and ``relu6(x + 3)`` are this many times hard swish and hard sigmoid."""

_FOLDING = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)

# f(c * x) == c * f(x) for every c > 0: the factor passes through.
_HOMOGENEOUS = (
    keras.layers.AveragePooling2D,
    keras.layers.Cropping2D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Identity,
    keras.layers.MaxPooling2D,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.ZeroPadding2D,
)
_HOMOGENEOUS_ACTIVATIONS = (keras.activations.linear, keras.activations.relu)
_SAME_FACTOR = (keras.layers.Add, keras.layers.Subtract, keras.layers.Concatenate, keras.layers.Maximum)


def lower(model: keras.Model, *, target: str) -> keras.Model:
    """Returns a model of the same function whose activations suit ``target``.

    For ``"litert-cpu-int8"``, every hard swish becomes ``x * relu6(x + 3)`` and every hard sigmoid ``relu6(x + 3)``;
    the constants 1/6 are folded into the kernels of the convolutions and dense layers that read the result, carried
    there through padding, pooling, reshaping and products. Where no kernel can absorb a factor (a sum of differently
    scaled tensors, an output of the model, an unknown layer), an explicit multiplication restores the true value, so
    the result is right for every functional model, at worst slower.

    For ``"litert-cpu-float"`` (float32, float16, dynamic range) the converter's fused ``HARD_SWISH`` is the fastest
    form, and ``"edgetpu"`` models (ReLU6, no squeeze-and-excite) have nothing to rewrite: for both the very
    same model is returned.

    Args:
      model: Built functional or sequential Keras model. It is neither modified nor shares weights with the result.
      target: One of ``targets.TARGETS``.

    Returns:
      ``model`` itself, or a functional model for inference only, with the same inputs and outputs.

    Raises:
      InputError: If the target is unknown, or the model is a subclassed or an unbuilt one.
    """
    if target not in TARGETS:
        raise InputError(f"target must be one of {', '.join(TARGETS)}. Received: target={target!r}")
    return _Lowering().run(_functional(model)) if TARGETS[target] else model


def _functional(model: keras.Model) -> keras.Model:
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if not (isinstance(model, keras.Model) and getattr(model, "inputs", None)):
        raise InputError(
            "only a functional or built sequential keras.Model can be lowered; "
            f"extract a plain one first. Received: model of type {type(model).__name__}"
        )
    return model


def _is_tiling_average(layer: Any) -> bool:
    """Whether a layer averages windows that lie side by side, so that a convolution can do it."""
    if type(layer) is not keras.layers.AveragePooling2D or layer.data_format != "channels_last":
        return False
    sizes = tuple(layer.pool_size)
    if sizes != tuple(layer.strides) or layer.padding == "valid":
        return sizes == tuple(layer.strides)
    try:
        return sizes == (2, 2) and None not in layer.input.shape[1:]
    except AttributeError:  # used several times
        return False


def _folds(layer: Any) -> bool:
    return type(layer) in _FOLDING  # not isinstance: a subclass may compute something else


def _function_of(layer: Any) -> Callable[..., Any] | None:
    """Returns the activation function of a layer whose last step that is, or of a node made by ``keras.ops``."""
    if isinstance(layer, keras.Layer):
        return layer.activation if _folds(layer) or type(layer) is keras.layers.Activation else None
    by_name = {"HardSilu": keras.activations.hard_silu, "HardSigmoid": keras.activations.hard_sigmoid}
    return by_name.get(type(layer).__name__)


def _is_hard(function: Callable[..., Any] | None) -> bool:
    return function is keras.activations.hard_silu or function is keras.activations.hard_sigmoid


def _is_homogeneous(layer: Any) -> bool:
    return type(layer) in _HOMOGENEOUS or (
        type(layer) is keras.layers.Activation and layer.activation in _HOMOGENEOUS_ACTIVATIONS
    )


def _takes_gain(layer: Any) -> bool:
    """Whether scaling the first two weights, kernel and bias or gamma and beta, scales the output."""
    if type(layer) is keras.layers.BatchNormalization:
        return layer.center and layer.scale
    return _folds(layer) and layer.activation in _HOMOGENEOUS_ACTIVATIONS


def _completed(pool: Any, x: Any) -> Any:
    """Repeats the last row and column where a window of two would lack one: the average stays the same."""
    if pool.padding == "same":
        for axis in (1, 2):
            if x.shape[axis] % 2:
                x = keras.ops.concatenate([x, x[:, -1:] if axis == 1 else x[:, :, -1:]], axis=axis)
    return x


class _Lowering:
    """One pass over one model: which factor every tensor carries, and which layer was cloned from which."""

    def __init__(self) -> None:
        self._kept: list[Any] = []  # tensors whose id is a key below must live
        self._factors: dict[int, float] = {}  # value in the clone / value in the model
        self._restored: dict[tuple[int, float], Any] = {}
        self._swish_parts: dict[int, tuple[Any, Any]] = {}
        self._origin: dict[int, Any] = {}
        self._absorbed: dict[int, float] = {}  # by a cloned layer, from its input
        self._gain: dict[int, float] = {}  # of a cloned layer, on its output
        self._producer: dict[int, Any] = {}  # tensors that nothing has read yet, and whose layer can take a gain

    def run(self, model: keras.Model) -> keras.Model:
        """Lowers ``model``; one instance serves one call."""
        clone = keras.models.clone_model(model, clone_function=self._clone, call_function=self._call)
        if all(self._factor(x) == 1.0 for x in clone.outputs):
            return clone
        outputs = keras.tree.map_structure(self._true, clone.output)
        return keras.Model(clone.input, outputs, name=model.name)

    def _clone(self, layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            copy = lower(layer, target="litert-cpu-int8")
        elif _is_tiling_average(layer):
            size = tuple(layer.pool_size)
            equal = keras.initializers.Constant(1.0 / (size[0] * size[1]))
            copy = keras.layers.DepthwiseConv2D(
                size, size, depthwise_initializer=equal, use_bias=False, name=layer.name, dtype=layer.dtype_policy
            )
        else:
            config = layer.get_config()
            if _folds(layer) and _is_hard(layer.activation):
                config["activation"] = "linear"
            copy = type(layer).from_config(config)
        self._origin[id(copy)] = layer
        return copy

    def _call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        origin = self._origin[id(layer)]
        sources = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        if type(origin) in _SAME_FACTOR:
            self._equalize(sources)
        for source in sources:
            self._producer.pop(id(source), None)
        return self._lowered_call(layer, origin, sources, args, kwargs)

    def _lowered_call(self, layer: Any, origin: Any, sources: list[Any], args: Any, kwargs: Any) -> Any:
        function = _function_of(origin)
        if _folds(origin):
            output = self._fold(layer, origin, args, kwargs)
            return self._hard(function, self._true(output)) if _is_hard(function) else output
        if _is_hard(function):
            return self._hard(function, self._true(args[0]))
        factors = [self._factor(x) for x in sources]
        if _is_tiling_average(origin):
            return self._mark(layer(_completed(origin, args[0])), factors[0])
        if type(origin) is keras.layers.Multiply:
            return self._mark(layer(*args, **kwargs), float(np.prod(factors)))
        if _is_homogeneous(origin) or (type(origin) in _SAME_FACTOR and len(set(factors)) == 1):
            return self._mark(layer(*args, **kwargs), factors[0])
        args, kwargs = keras.tree.map_structure(self._true, (args, kwargs))
        output = layer(*args, **kwargs)
        if isinstance(origin, keras.Layer) and not isinstance(origin, keras.Model) and origin.weights:
            return self._weighted(layer, origin.get_weights(), output)
        return output

    def _fold(self, layer: Any, origin: Any, args: Any, kwargs: Any) -> Any:
        factor = self._absorbed.setdefault(id(layer), self._factor(args[0]))
        output = layer(self._rescaled(args[0], factor), *args[1:], **kwargs)  # a layer used twice may have to rescale
        kernel, *bias = origin.get_weights()
        return self._weighted(layer, [kernel / factor, *bias], output)

    def _weighted(self, layer: Any, weights: list[np.ndarray], output: Any) -> Any:
        """Sets the weights of a layer at its first call, and notes its output."""
        if id(layer) in self._gain:  # a later gain would change both outputs
            self._producer = {key: value for key, value in self._producer.items() if value is not layer}
            return self._mark(output, self._gain[id(layer)])
        layer.set_weights(weights)
        self._gain[id(layer)] = 1.0
        if _takes_gain(layer):
            self._mark(output, 1.0)
            self._producer[id(output)] = layer
        return output

    def _equalize(self, sources: list[Any]) -> None:
        """Lets layers whose output joins a scaled tensor make theirs as much larger, at no cost at run time."""
        largest = max(self._factor(x) for x in sources)
        for source in sources:
            layer = self._producer.get(id(source))
            if layer is not None and self._gain[id(layer)] == 1.0 and largest != 1.0:
                self._gain[id(layer)] = largest
                weights = layer.get_weights()
                layer.set_weights([w * largest for w in weights[:2]] + weights[2:])
                self._mark(source, largest)

    def _hard(self, function: Any, x: Any) -> Any:
        gate = keras.ops.relu6(x + 3.0)
        if function is keras.activations.hard_sigmoid:
            return self._mark(gate, _GAIN)
        product = self._mark(x * gate, _GAIN)
        self._swish_parts[id(product)] = (x, gate)
        return product

    def _mark(self, x: Any, factor: float) -> Any:
        self._kept.append(x)
        self._factors[id(x)] = factor
        return x

    def _factor(self, x: Any) -> float:
        return self._factors.get(id(x), 1.0)

    def _true(self, x: Any) -> Any:
        return self._rescaled(x, 1.0)

    def _rescaled(self, x: Any, factor: float) -> Any:
        """Returns ``x`` carrying ``factor``, multiplying once per tensor and only where it must."""
        found = self._factor(x)
        if found == factor:
            return x
        key = (id(x), factor)
        if key not in self._restored:
            # The converter would recognise x * relu6(x + 3) * (1 / 6), and fuse it into what this module avoids.
            rest, gate = self._swish_parts.get(id(x), (x, None))
            scaled = rest * (factor / found)
            self._restored[key] = self._mark(scaled if gate is None else scaled * gate, factor)
        return self._restored[key]
