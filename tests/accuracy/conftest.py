from __future__ import annotations

import numpy as np
import pytest
from spaces import small_space
from tiny import tiny

from compofa_tf import families


class FakeData:
    """Random images with labels out of five, the same for every call."""

    name = "fake"

    def _images(self, resolution, count, batch_size, seed):
        import tensorflow as tf

        rng = np.random.default_rng(seed)
        images = rng.normal(size=(count, resolution, resolution, 3)).astype(np.float32)
        return tf.data.Dataset.from_tensor_slices((images, rng.integers(0, 5, count))).batch(batch_size)

    def calibration(self, *, resolution, batch_size, count, seed=0):
        return self._images(resolution, count, batch_size, seed=1)

    def eval(self, *, resolution, batch_size, limit=None):
        return self._images(resolution, limit or 60, batch_size, seed=2)

    def eval_labels(self, *, limit=None):
        batches = self.eval(resolution=1, batch_size=99, limit=limit).as_numpy_iterator()
        return np.concatenate([labels for _, labels in batches])


@pytest.fixture(scope="session")
def fake_data():
    return FakeData()


@pytest.fixture(scope="module")
def net():
    """A supernet whose subnets differ in what they say."""
    from compofa_tf.nets.supernet import Supernet

    net = Supernet(small_space(), seed=3)
    rng = np.random.default_rng(0)
    state = {name: value + rng.normal(size=value.shape, scale=0.2) for name, value in net.get_state().items()}
    net.set_state({name: abs(value) if "variance" in name else value for name, value in state.items()})
    return net


@pytest.fixture
def tiny_family(monkeypatch):
    """A family that files may name."""
    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))
    return families.register(tiny)
