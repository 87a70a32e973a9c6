"""Many subnets, their common first stages computed once: the numbers of each alone, with few traces."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from spaces import KINDS, small_space

from compofa_tf.accuracy import evaluation, measuring
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.errors import InputError
from compofa_tf.nets import subnet
from compofa_tf.nets.supernet import Supernet

SETTINGS = {"images": 50, "calibration_images": 40, "batch_size": 16}


@pytest.mark.parametrize("memory", [2**30, 1])
@pytest.mark.parametrize(("kernel", "coupling"), [KINDS[0], KINDS[3], KINDS[5]])
def test_shared_prefixes_give_the_numbers_of_measuring_each_alone(monkeypatch, fake_data, kernel, coupling, memory):
    monkeypatch.setattr(measuring, "_ACTIVATION_BYTES", memory)
    net = Supernet(small_space(kernel, coupling), seed=3)
    rng = np.random.default_rng(0)
    archs = list(dict.fromkeys(net.space.sample(rng, resolutions=(16, 24)) for _ in range(6)))
    found = dict(measuring.measure(net, [*archs, archs[0]], fake_data, **SETTINGS))
    assert sorted(arch.resolution for arch in archs) == [arch.resolution for arch in found]
    assert found.keys() == set(archs)
    for arch, ranks in found.items():
        pipelines = {"resolution": arch.resolution, "batch_size": 16}
        subnet.calibrate(net, arch, fake_data.calibration(**pipelines, count=40))
        alone = evaluation.evaluate(net, fake_data.eval(**pipelines, limit=50), arch=arch)
        assert evaluation.accuracy_of(ranks) == alone


def test_without_calibration_images_the_stored_statistics_are_used_and_kept(net, fake_data):
    arch, before = net.space.largest(16), net.get_state()
    ((_, ranks),) = measuring.measure(net, [arch], fake_data, images=50, calibration_images=0, batch_size=16)
    alone = evaluation.evaluate(net, fake_data.eval(resolution=16, batch_size=16, limit=50), arch=arch)
    assert evaluation.accuracy_of(ranks) == alone
    after = net.get_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_table_is_measured_continued_and_refused(tiny_family, fake_data, tmp_path):
    net, path = Supernet(tiny_family(classes=5)), tmp_path / "val.json"
    settings = {"data": fake_data, **SETTINGS, "progress": False, "path": path}
    archs = list(net.space.enumerate(resolutions=(16,)))
    AccuracyTable.measure(net, archs=archs[:2], **settings)
    records = AccuracyTable.load(path).to_json()["records"]
    table = AccuracyTable.measure(net, archs=archs, **settings)
    assert len(table) == len(archs) == 4
    assert {name: table.to_json()["records"][name] for name in records} == records
    kept = path.read_bytes()
    with pytest.raises(InputError, match="another setting"):
        AccuracyTable.measure(net, archs=archs, **{**settings, "images": 21})
    assert path.read_bytes() == kept


def test_few_functions_are_traced_and_common_stages_computed_once(net):
    """In the order of their codes, four subnets of two stages of two choices need two first stages and one stem."""
    segments = measuring._segments(net)
    calls = []
    counted = [
        measuring._Segment(
            segment.entries,
            segment.calibrate,
            lambda x, code, number=number, infer=segment.infer: calls.append(number) or infer(x, code),
        )
        for number, segment in enumerate(segments)
    ]
    batch = (tf.zeros([4, 16, 16, 3]), tf.zeros([4], tf.int32))
    measurer = measuring._Measurer(net, counted, [tf.zeros([4, 16, 16, 3])], [batch])
    archs = sorted(net.space.enumerate(resolutions=(16,)), key=lambda arch: net.space.encode(arch).tolist())
    assert len(list(measurer.measure(archs))) == 4
    assert [calls.count(number) for number in range(4)] == [1, 2, 4, 4]
    assert {segment.infer.experimental_get_tracing_count() for segment in segments} == {1}
    assert {segment.calibrate.experimental_get_tracing_count() for segment in segments} == {1}
