from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from compofa_tf import families
from compofa_tf.deploy.lowering import lower
from compofa_tf.errors import InputError
from compofa_tf.nets import plain

INT8 = "litert-cpu-int8"


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight a value that matters: an untrained batch norm would hide a wrong factor."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name, shape = weight.path, tuple(weight.shape)
        fan_in = float(np.prod(shape[:-1])) if len(shape) > 1 else 1.0
        if name.endswith(("moving_variance", "gamma")):
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif len(shape) > 1:
            fan_in = fan_in / shape[-2] if "depth" in name else fan_in
            weight.assign(rng.normal(scale=(2.0 / fan_in) ** 0.5, size=shape))
        else:
            weight.assign(rng.normal(scale=0.3, size=shape))
    return model


def hard_activations(model: keras.Model) -> list[str]:
    return [
        layer.name
        for layer in model.layers
        if getattr(layer, "activation", None) in (keras.activations.hard_silu, keras.activations.hard_sigmoid)
    ]


def multiplications_by_constant(model: keras.Model) -> int:
    """Counts explicit rescales: products of which only one factor is a tensor of the graph."""
    count = 0
    for operation in model.operations:
        if type(operation).__name__ == "Multiply" and not isinstance(operation, layers.Layer):
            count += len(keras.tree.flatten(operation.input)) == 1
    return count


def assert_same_function(model: keras.Model, lowered: keras.Model, *, rtol: float = 1e-5) -> None:
    shape = (4, *[side or 1 for side in model.inputs[0].shape[1:]])
    images = np.random.default_rng(1).normal(size=shape).astype(model.inputs[0].dtype)
    expected = keras.tree.flatten(model(images, training=False))
    found = keras.tree.flatten(lowered(images, training=False))
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        # Rounding of two orders of the same sums, in shares of the largest value.
        np.testing.assert_allclose(b, a, rtol=0, atol=rtol * float(np.abs(a).max()))


def swish(x):
    return layers.Activation("hard_silu")(x)


def block(x, *, middle, out, kernel, stride, se, activation):
    y = layers.Conv2D(middle, 1, use_bias=False)(x)
    y = layers.Activation(activation)(layers.BatchNormalization()(y))
    if stride > 1:
        y = layers.ZeroPadding2D(kernel // 2)(y)
    padding = "valid" if stride > 1 else "same"
    y = layers.DepthwiseConv2D(kernel, stride, padding=padding, use_bias=False, name=f"depth_{len(y.name)}_{id(y)}")(y)
    y = layers.Activation(activation)(layers.BatchNormalization()(y))
    if se:
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        gate = layers.Conv2D(8, 1, activation="relu")(gate)
        gate = layers.Activation("hard_sigmoid")(layers.Conv2D(middle, 1)(gate))
        y = layers.Multiply()([y, gate])
    y = layers.BatchNormalization()(layers.Conv2D(out, 1, use_bias=False)(y))
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == out else y


def mobile_net(rng: np.random.Generator, *, side: int = 16) -> keras.Model:
    """A random member of what plain.build makes: stem, blocks, convolution head, classifier."""
    inputs = keras.Input((side, side, 3))
    x = swish(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)))
    for _ in range(int(rng.integers(1, 4))):
        x = block(
            x,
            middle=int(rng.integers(2, 5)) * 8,
            out=int(rng.choice([8, 16])),
            kernel=int(rng.choice([3, 5])),
            stride=int(rng.choice([1, 2])),
            se=bool(rng.integers(2)),
            activation=str(rng.choice(["relu", "hard_silu"])),
        )
    x = swish(layers.BatchNormalization()(layers.Conv2D(32, 1, use_bias=False)(x)))
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Flatten()(swish(layers.Conv2D(48, 1, use_bias=False)(x)))
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, layers.Dense(10)(x))


@pytest.mark.parametrize("seed", range(6))
def test_random_mobile_nets_keep_their_function(seed):
    model = randomize(mobile_net(np.random.default_rng(seed)), seed)
    before = [weight.numpy() for weight in model.weights]
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered)
    assert hard_activations(model)
    assert not hard_activations(lowered)
    assert len(lowered.weights) == len(model.weights)
    assert not {id(w) for w in model.weights} & {id(w) for w in lowered.weights}
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_squeeze_and_excite_folds_36_into_the_projection():
    inputs = keras.Input((8, 8, 8))
    x = block(swish(inputs), middle=16, out=24, kernel=3, stride=2, se=True, activation="hard_silu")
    model = randomize(keras.Model(inputs, x))
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered)
    assert multiplications_by_constant(lowered) == 0
    kernels = [layer.get_weights()[0] for layer in model.layers if isinstance(layer, layers.Conv2D)]
    folded = [layer.get_weights()[0] for layer in lowered.layers if isinstance(layer, layers.Conv2D)]
    ratios = sorted(round(float(np.mean(a / b))) for a, b in zip(kernels, folded, strict=True))
    # The depthwise one is a Conv2D's sibling, not a Conv2D: expand 6, reduce 6, restore 1, project 6 * 6.
    assert ratios == [1, 6, 6, 36]


@pytest.mark.parametrize("last", ["norm", "conv", "relu"])
def test_a_shortcut_from_a_swish_scales_the_branch_that_joins_it(last):
    """The first block of MobileNetV3: the stem's swish is a shortcut."""
    inputs = keras.Input((8, 8, 8))
    x = swish(inputs)
    y = layers.Conv2D(8, 3, padding="same", activation="relu" if last == "relu" else None)(x)
    y = layers.BatchNormalization()(y) if last == "norm" else y
    model = randomize(keras.Model(inputs, layers.Conv2D(4, 1)(layers.Add()([x, y]))))
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered)
    assert multiplications_by_constant(lowered) == 0


def test_a_branch_that_was_read_before_keeps_its_scale():
    inputs = keras.Input((8, 8, 8))
    x = swish(inputs)
    y = layers.Conv2D(8, 3, padding="same")(x)
    z = layers.Activation("softmax")(y)
    model = randomize(keras.Model(inputs, [layers.Add()([x, y]), layers.Subtract()([x, y]), z]))
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered)
    assert multiplications_by_constant(lowered) == 1


def test_a_branch_that_is_read_later_or_made_twice():
    inputs = keras.Input((8, 8, 8))
    x = swish(inputs)
    shared = layers.Conv2D(8, 3, padding="same")
    norm = layers.BatchNormalization()
    y = norm(shared(x))
    joined = layers.Add()([x, y])
    again = norm(shared(inputs))
    outputs = [joined, layers.Activation("softmax")(y), layers.Conv2D(2, 1)(y), again, layers.Add()([again, joined])]
    model = randomize(keras.Model(inputs, outputs))
    assert_same_function(model, lower(model, target=INT8))


def test_equal_factors_meet_without_rescale():
    inputs = keras.Input((8, 8, 4))
    x = layers.Add()([swish(layers.Conv2D(4, 1)(inputs)), swish(layers.Conv2D(4, 3, padding="same")(inputs))])
    x = layers.Concatenate()([x, swish(inputs)])
    model = randomize(keras.Model(inputs, layers.Conv2D(5, 1)(x)))
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered)
    assert multiplications_by_constant(lowered) == 0


def test_outputs_activations_and_unknown_layers_get_true_values():
    inputs = keras.Input((6, 6, 3))
    x = swish(inputs)
    outputs = {
        "direct": x,
        "gate": layers.Activation("hard_sigmoid")(x),
        "norm": layers.BatchNormalization()(x),
        "softmax": layers.Activation("softmax")(x),
        "clipped": layers.ReLU(max_value=1.0)(x),
        "shifted": x + 1.0,
        "separable": layers.SeparableConv2D(4, 3, activation="hard_silu")(x),
        "product": x * swish(inputs),
        "again": swish(x),
        "linear": layers.Activation("relu")(x),
    }
    model = randomize(keras.Model(inputs, outputs))
    lowered = lower(model, target=INT8)
    assert set(lowered.output) == set(outputs)
    assert_same_function(model, lowered)


def test_activation_inside_a_layer_and_operations_of_keras_ops():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, activation="hard_silu")(inputs)
    x = layers.Dense(8, activation="hard_sigmoid")(x)
    x = keras.ops.hard_silu(x)
    x = keras.ops.hard_sigmoid(layers.Conv2D(8, 1)(x))
    model = randomize(keras.Model(inputs, layers.Dense(3)(x)))
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered)
    assert not hard_activations(lowered)
    assert not {type(operation).__name__ for operation in lowered.operations} & {"HardSilu", "HardSigmoid"}


def test_a_shared_layer_with_two_factors():
    inputs = keras.Input((6, 6, 4))
    shared = layers.Conv2D(4, 3, padding="same")
    outputs = [shared(swish(inputs)), shared(inputs), shared(layers.Multiply()([swish(inputs), swish(inputs)]))]
    model = randomize(keras.Model(inputs, outputs))
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered)
    assert len(lowered.weights) == 2


def test_nested_and_sequential_models():
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(4, 1), layers.Activation("hard_silu")])
    inputs = keras.Input((6, 6, 4))
    model = randomize(keras.Model(inputs, layers.Conv2D(3, 1)(inner(swish(inputs)))))
    assert_same_function(model, lower(model, target=INT8))
    assert_same_function(inner, lower(inner, target=INT8))


@pytest.mark.parametrize(
    ("side", "size", "padding", "left"),
    [
        (8, 2, "same", 0),
        (7, 2, "same", 0),
        (9, 3, "valid", 0),
        (7, 3, "valid", 0),
        (7, 3, "same", 1),
        (None, 2, "same", 1),
    ],
)
def test_an_average_of_windows_side_by_side_becomes_a_convolution(side, size, padding, left):
    """Also where the last window has fewer pixels; what cannot be one stays as it is. A factor passes through."""
    inputs = keras.Input((side, side, 3))
    x = layers.AveragePooling2D(size, padding=padding)(swish(layers.Conv2D(4, 3, padding="same")(inputs)))
    model = randomize(keras.Model(inputs, layers.Conv2D(2, 1)(x)))
    lowered = lower(model, target=INT8)
    assert sum(isinstance(layer, layers.AveragePooling2D) for layer in lowered.layers) == left
    assert multiplications_by_constant(lowered) == 0
    if side is not None:
        assert_same_function(model, lowered)


def test_shared_averages_stay_right():
    inputs, pool = keras.Input((7, 7, 3)), layers.AveragePooling2D(2, padding="same")
    model = keras.Model(inputs, layers.Concatenate()([pool(inputs), pool(layers.Activation("relu")(inputs))]))
    assert_same_function(model, lower(model, target=INT8))


@pytest.mark.parametrize("resolution", [32, 40])
def test_residual_subnets_are_averaged_by_convolutions(resolution):
    space = families.resnet50(width_mult=0.125, classes=10)
    model = randomize(plain.build(space, space.arch(depths=(2, 0, 1, 0, 2), resolution=resolution)))
    lowered = lower(model, target=INT8)
    assert not any(isinstance(layer, layers.AveragePooling2D) for layer in lowered.layers)
    assert_same_function(model, lowered)


def test_our_own_subnets_need_no_rescale():
    space = families.mobilenet_v3(width_mult=0.35, classes=10, input_size=32)
    model = randomize(plain.build(space, space.smallest(32)))
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered, rtol=1e-4)  # a dozen blocks amplify float32 rounding
    assert multiplications_by_constant(lowered) == 0
    assert not hard_activations(lowered)


@pytest.fixture
def float64():
    """In double precision a wrong factor cannot hide behind rounding, which deep unnormalised networks amplify."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV3Large"])
def test_keras_applications(float64, name):
    build = getattr(keras.applications, name)
    model = randomize(build(weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None))
    lowered = lower(model, target=INT8)
    assert_same_function(model, lowered, rtol=1e-10)
    assert hard_activations(model)
    assert not hard_activations(lowered)


def test_a_lowered_model_can_be_saved(tmp_path):
    model = randomize(mobile_net(np.random.default_rng(7)))
    lowered = lower(model, target=INT8)
    lowered.save(tmp_path / "lowered.keras")
    assert_same_function(model, keras.models.load_model(tmp_path / "lowered.keras"))


@pytest.mark.parametrize("target", ["litert-cpu-float", "edgetpu"])
def test_other_targets_take_the_model_as_it_is(target):
    model = mobile_net(np.random.default_rng(0))
    assert lower(model, target=target) is model


def test_bad_target_and_bad_model():
    with pytest.raises(InputError, match=r"target must be one of .*Received: target='gpu'"):
        lower(mobile_net(np.random.default_rng(0)), target="gpu")

    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(InputError, match="functional or built sequential"):
        lower(Own(), target=INT8)
    with pytest.raises(InputError, match="functional or built sequential"):
        lower(keras.Sequential([layers.Dense(3)]), target=INT8)
