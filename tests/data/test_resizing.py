from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf
from pictures import batches, picture, take

from compofa_tf.data import images, load, resizing


def test_both_ways_of_resizing_agree(digits):
    one_by_one = load("digits", dataclasses.replace(digits.settings, cache=False))
    assert digits.images.pixels is not None
    assert one_by_one.images.pixels is None
    for resolution in (5, 24):
        changes = {"resolutions": [resolution] * 3, "steps": 1}
        (x, y), (u, v) = take(digits, **changes)[0], take(one_by_one, **changes)[0]
        # Float rounding of two orders of summation, in units of the normalised range [-1, 1].
        np.testing.assert_allclose(x, u, atol=5e-6)
        np.testing.assert_array_equal(y, v)
        pair = [batches(data.eval(resolution=resolution, batch_size=99, limit=99)) for data in (digits, one_by_one)]
        np.testing.assert_allclose(pair[0][0][0], pair[1][0][0], atol=5e-6)


def test_resizing_is_the_antialiased_bilinear_one_of_tensorflow():
    pixels = np.asarray(picture(41, 29))
    crop = [3, 5, 20, 30]
    held = images.Images(
        contents=tf.constant([], tf.string), in_memory=True, pixels=tf.constant(pixels.transpose(0, 2, 1)[None]),
        labels=np.zeros(1, np.int32), heights=np.asarray([29]), widths=np.asarray([41]), jpeg=np.zeros(1, bool),
    )  # fmt: skip
    for resolution in (7, 16, 40):
        got = resizing.crop_and_resize(
            held, tf.constant([0]), tf.constant([crop]), tf.constant([[resolution / 20, resolution / 30]], tf.float32),
            tf.zeros([1, 2]), tf.constant(resolution),
        )  # fmt: skip
        expected = tf.image.resize(pixels[3:23, 5:35], [resolution, resolution], antialias=True)
        np.testing.assert_allclose(got[0], expected, atol=1e-3)
