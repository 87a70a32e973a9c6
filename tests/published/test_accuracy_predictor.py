"""The published accuracy predictor against the original's numbers, and what it refuses."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from published_tables import FIVE, SPACES, arch_of, published

from compofa_tf import families
from compofa_tf.errors import InputError
from compofa_tf.latency.arrays import latencies_of
from compofa_tf.published.accuracy_predictor import AccuracyPredictor
from compofa_tf.searches.exact import search
from compofa_tf.space.archs import Archs


@pytest.fixture(scope="module")
def predictions(reference):
    return json.loads((reference / "search_predictions.json").read_text())


@pytest.mark.parametrize("name", SPACES)
def test_predictions_are_the_originals(name, predictions):
    space, cases = SPACES[name], predictions[name]
    archs = [arch_of(space, case) for case in cases]
    latency, predictor = published(name)["latency"], AccuracyPredictor.published(space)
    expected = [case["latency_ms"] for case in cases]
    np.testing.assert_allclose([latency.predict(arch) for arch in archs], expected, rtol=0, atol=1e-9)
    arrays = Archs.of(space, archs)
    np.testing.assert_allclose(latencies_of(latency, FIVE).predict_all(arrays), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(predictor.predict_all(arrays), [case["accuracy"] for case in cases], rtol=0, atol=1e-6)
    assert predictor.predict(archs[3]) == pytest.approx(cases[3]["accuracy"], abs=1e-6)


def test_resolutions_between_those_of_the_predictor(predictions):
    space = SPACES["ofa"]
    cases = predictions["ofa_other_resolutions"]
    archs = Archs.of(space, [arch_of(space, case) for case in cases])
    predicted = AccuracyPredictor.published(space).predict_all(archs)
    np.testing.assert_allclose(predicted, [case["accuracy"] for case in cases], rtol=0, atol=1e-6)


def test_inputs_of_the_predictor(predictions):
    space, example = SPACES["ofa"], predictions["encoding_example"]
    archs = Archs.of(space, [arch_of(space, example["arch"])])
    (row,) = AccuracyPredictor.published(space).encode(archs)
    assert np.flatnonzero(row).tolist() == example["nonzero_indices"]


def test_predictor_of_another_space_or_with_other_weights(tmp_path):
    good = dict(
        zip((f"{n}.{p}" for n, p in itertools.product("0246", ("weight", "bias"))), [np.zeros(1, np.float32)] * 8)
    )
    with pytest.raises(InputError, match="shapes"):
        AccuracyPredictor(SPACES["compofa"], good)
    with pytest.raises(InputError, match=r"0\.weight"):
        AccuracyPredictor(SPACES["compofa"], {})
    with pytest.raises(InputError, match="finite"):
        AccuracyPredictor(SPACES["compofa"], {**good, "0.weight": np.array([np.nan])})
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    for name, message in (("absent.npz", "does not exist"), ("cut.npz", "truncated")):
        with pytest.raises(InputError, match=message):
            AccuracyPredictor.load(tmp_path / name, space=SPACES["compofa"])
    tables = published("compofa")
    with pytest.raises(InputError, match="of another space"):
        search(SPACES["ofa"], accuracy=tables["accuracy"], latency=published("ofa")["latency"], budgets_ms=(20,))
    with pytest.raises(InputError, match="resolutions from 112"):
        tables["accuracy"].predict(SPACES["compofa"].largest(64))


@pytest.mark.parametrize(
    "changes",
    [{"classes": 10}, {"width_mult": 0.5}, {"profile": "edgetpu"}, {"input_size": 64}, {"strides": (2, 1, 2, 2, 1, 2)}],
)
def test_the_predictor_refuses_spaces_that_it_was_not_made_for(changes):
    with pytest.raises(InputError, match="is for ImageNet's 1000 classes"):
        AccuracyPredictor.published(families.mobilenet_v3(**changes))
    with pytest.raises(InputError, match="mobilenet_v3 family only"):
        AccuracyPredictor.published(families.proxyless_nas())
