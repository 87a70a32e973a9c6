from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from compofa_tf.deploy import runtime
from compofa_tf.deploy.conversion import convert
from compofa_tf.deploy.runtime import Runner
from compofa_tf.errors import InputError


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 4, 3))
    return keras.Model(inputs, layers.Dense(5)(layers.Flatten()(layers.Conv2D(4, 3)(inputs))))


def images(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 6, 4, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def int8(model):
    return convert(model, precision="int8", calibrate_on=images(32))


def test_float(model, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(convert(model))
    runner = Runner(path, threads=2)
    assert runner.input_shape == (6, 4, 3)
    np.testing.assert_allclose(runner(images(7)), model(images(7)), rtol=1e-4, atol=1e-5)


def test_int8_is_within_steps_of_the_model(model, int8):
    expected = model(images(64)).numpy()
    found = Runner(int8)(images(64))
    step = np.diff(np.unique(found)).min()
    # Two layers: input, hidden map and output round by half a step each, so a handful of output steps at most.
    assert np.abs(found - expected).max() < 5 * step


def test_quantize_rounds_and_clips():
    values = np.array([-100.0, -0.26, -0.24, 0.0, 0.24, 0.26, 100.0], np.float32)
    found = runtime.quantize(values, np.dtype(np.int8), 0.5, 3)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, [-128, 2, 3, 3, 3, 4, 127])
    np.testing.assert_array_equal(runtime.dequantize(found, 0.5, 3), [-65.5, -0.5, 0, 0, 0, 0.5, 62.0])
    np.testing.assert_array_equal(runtime.quantize(values, np.dtype(np.uint8), 0.5, 3), [0, 2, 3, 3, 3, 4, 203])
    np.testing.assert_array_equal(runtime.quantize(values, np.dtype(np.float32), 0.0, 0), values)
    np.testing.assert_array_equal(runtime.dequantize(values, 0.0, 0), values)


def test_no_images_give_no_logits(int8):
    assert Runner(int8)(np.zeros((0, 6, 4, 3))).shape == (0, 5)


@pytest.mark.parametrize("shape", [(6, 4, 3), (1, 4, 6, 3), (1, 6, 4, 1)])
def test_wrong_shapes(int8, shape):
    with pytest.raises(InputError, match=r"must be \[count, 6, 4, 3\]. Received: shape="):
        Runner(int8)(np.zeros(shape))


def test_values_that_no_integer_stands_for(int8):
    with pytest.raises(InputError, match="must be finite"):
        Runner(int8)(np.full((1, 6, 4, 3), np.nan))


def test_several_outputs():
    inputs = keras.Input((6, 4, 3))
    content = convert(keras.Model(inputs, [layers.Conv2D(2, 1)(inputs), layers.Conv2D(3, 1)(inputs)]))
    with pytest.raises(InputError, match="1 inputs, 2 outputs"):
        Runner(content)


def test_bad_files(tmp_path, int8):
    with pytest.raises(InputError, match="does not exist"):
        Runner(tmp_path / "none.tflite")
    path = tmp_path / "cut.tflite"
    path.write_bytes(int8[: len(int8) // 2])
    with pytest.raises(InputError, match=r"cut\.tflite is a truncated"):
        Runner(path)


def test_nothing_is_printed(int8, capfd):
    Runner(int8)
    runtime.fully_accelerated(int8)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_fully_accelerated(int8):
    assert runtime.fully_accelerated(int8)
