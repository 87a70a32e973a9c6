from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from spaces import small_space

from compofa_tf import families
from compofa_tf.accuracy import evaluation
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.nets import subnet
from compofa_tf.nets.supernet import Supernet


class FakeData:
    """Random images with fixed labels; remembers what it was asked for."""

    name = "fake"

    def _images(self, resolution, count, seed):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(count, resolution, resolution, 3)).astype(np.float32), rng.integers(0, 5, count)

    def calibration(self, *, resolution, batch_size, count, seed=0):
        return tf.data.Dataset.from_tensor_slices(self._images(resolution, count, 1)).batch(batch_size)

    def eval(self, *, resolution, batch_size, limit=None):
        return tf.data.Dataset.from_tensor_slices(self._images(resolution, limit or 60, 2)).batch(batch_size)


@pytest.fixture(scope="module")
def net():
    net = Supernet(small_space(), seed=3)
    rng = np.random.default_rng(0)
    state = {name: value + rng.normal(size=value.shape, scale=0.2) for name, value in net.get_state().items()}
    net.set_state({name: abs(value) if "variance" in name else value for name, value in state.items()})
    return net


def test_counts_agree_with_ranks_by_hand():
    logits = np.array([[3.0, 2, 1, 0, -1, -2], [0, 1, 2, 3, 4, 5], [0, 5, 4, 3, 2, 1]], np.float32)
    assert evaluation.count_correct(logits, np.array([0, 0, 5])).tolist() == [1, 2, 3]


def test_constant_and_non_finite_outputs_earn_nothing():
    assert evaluation.count_correct(np.zeros((4, 3), np.float32), np.zeros(4, int)).tolist() == [0, 4, 4]
    assert evaluation.count_correct(np.full((2, 3), np.nan, np.float32), np.zeros(2, int)).tolist() == [0, 0, 2]


def test_supernet_and_extracted_model_have_the_same_accuracy(net):
    data = FakeData()
    arch = net.space.arch(depths=(1, 2), resolution=16)
    subnet.calibrate(net, arch, data.calibration(resolution=16, batch_size=32, count=64))
    through_net = evaluation.evaluate(net, data.eval(resolution=16, batch_size=25), arch=arch)
    through_model = evaluation.evaluate(subnet.extract(net, arch), data.eval(resolution=16, batch_size=25))
    assert through_net == through_model
    assert through_net.count == 60


def test_a_perfect_and_a_useless_model():
    images = tf.data.Dataset.from_tensors((tf.eye(5)[:, None, None, :], tf.range(5)))
    import keras

    inputs = keras.Input((1, 1, 5))
    perfect = keras.Model(inputs, keras.layers.Flatten()(inputs))
    found = evaluation.evaluate(perfect, images)
    assert (found.top1, found.top5, found.count) == (1.0, 1.0, 5)
    assert 0.5 < found.interval[0] < 1.0 == found.interval[1]


@pytest.mark.parametrize(
    ("model", "arch", "message"),
    [(object(), None, "Received: object"), ("missing.keras", None, "missing.keras")],
)
def test_what_cannot_be_evaluated_is_named(model, arch, message):
    with pytest.raises(InputError, match=message):
        evaluation.evaluate(model, [], arch=arch)


def test_a_supernet_needs_an_arch_and_data(net):
    with pytest.raises(InputError, match="give arch"):
        evaluation.evaluate(net, [])
    with pytest.raises(InputError, match="empty dataset"):
        evaluation.evaluate(net, [], arch=net.space.smallest(16))


@pytest.mark.parametrize("memory", [2**30, 1])
@pytest.mark.parametrize(("kernel", "coupling"), [("fixed", "compound"), ("elastic", "independent")])
def test_shared_prefixes_give_the_numbers_of_measuring_each_alone(monkeypatch, kernel, coupling, memory):
    monkeypatch.setattr(evaluation, "_ACTIVATION_BYTES", memory)
    net = Supernet(small_space(kernel, coupling), seed=3)
    data = FakeData()
    rng = np.random.default_rng(0)
    archs = list(dict.fromkeys(net.space.sample(rng, resolutions=(16, 24)) for _ in range(6)))
    table = evaluation.measure_accuracy(
        net, data=data, archs=archs, images=50, calibration_images=40, batch_size=16, progress=False
    )
    for arch in archs:
        pipelines = {"resolution": arch.resolution, "batch_size": 16}
        subnet.calibrate(net, arch, data.calibration(**pipelines, count=40))
        alone = evaluation.evaluate(net, data.eval(**pipelines, limit=50), arch=arch)
        record = table[net.space.id(arch)]
        assert (record.top1, record.top5, record.count) == (alone.top1, alone.top5, alone.count)


def test_measurement_resumes_and_refuses_other_settings(tmp_path):
    net = Supernet(families.mobilenet_v3(width_mult=0.25, input_size=32, strides=(2, 2, 2, 2, 1, 2), classes=5))
    path = tmp_path / "val.json"
    settings = {"data": FakeData(), "images": 20, "calibration_images": 16, "progress": False, "path": path}
    archs = list(net.space.enumerate(resolutions=(16,)))[:4]
    evaluation.measure_accuracy(net, archs=archs[:2], **settings)
    records = AccuracyTable.load(path).to_json()["records"]
    table = AccuracyTable.measure(net, archs=archs, **settings)
    assert len(table) == 4
    assert {name: table.to_json()["records"][name] for name in records} == records
    kept = path.read_bytes()
    with pytest.raises(InputError, match="another setting"):
        AccuracyTable.measure(net, archs=archs, **{**settings, "images": 21})
    assert path.read_bytes() == kept


def test_a_huge_space_is_not_enumerated(tmp_path):
    class Huge:
        space = families.mobilenet_v3(coupling="independent", kernel="elastic")

    with pytest.raises(InputError, match="--sample"):
        evaluation.measure_accuracy(Huge(), data=FakeData(), resolutions=(224,), progress=False)


def test_few_functions_are_traced_for_many_subnets_and_resolutions(net):
    segments = evaluation._segments(net)
    family = evaluation._Family(
        net, segments, [tf.zeros([4, 16, 16, 3])], [(tf.zeros([4, 16, 16, 3]), tf.zeros([4], tf.int32))]
    )
    list(family.measure(list(net.space.enumerate(resolutions=(16,)))))
    assert {s.infer.experimental_get_tracing_count() for s in segments} == {1}
    assert {s.calibrate.experimental_get_tracing_count() for s in segments} == {1}
