"""Recall, balanced accuracy and confusions by hand."""

from __future__ import annotations

import numpy as np
import pytest

from compofa_tf.accuracy.per_class import PerClass, balanced_accuracy
from compofa_tf.errors import InputError

TRUE = np.asarray([0] * 8 + [1] * 2)
PREDICTED = np.asarray([0] * 6 + [1, 2] + [1, 0])


def test_the_numbers_are_those_of_the_definition():
    found = PerClass.of(("common", "rare", "absent"), TRUE, PREDICTED)
    np.testing.assert_array_equal(found.confusion, [[6, 1, 1], [1, 1, 0], [0, 0, 0]])
    assert found.counts.tolist() == [8, 2, 0]
    assert found.recall[:2].tolist() == [0.75, 0.5] and np.isnan(found.recall[2])
    assert found.balanced == 0.625
    assert found.confusions == [("common", "rare", 1), ("common", "absent", 1), ("rare", "common", 1)]


def test_it_says_the_worst_first():
    lines = str(PerClass.of(("common", "rare", "absent"), TRUE, PREDICTED)).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["class", "rare", "common", "absent"]
    assert lines[4] == "balanced accuracy 62.50%"
    assert lines[5].endswith("common for rare 1, common for absent 1, rare for common 1")


def test_json_has_no_number_where_there_is_none():
    content = PerClass.of(("common", "rare", "absent"), TRUE, PREDICTED).to_json()
    assert content["recall"] == {"common": 0.75, "rare": 0.5, "absent": None}
    assert content["confusions"][0] == ["common", "rare", 1]


def test_balanced_accuracy_of_many_subnets_at_once():
    right = np.stack([TRUE == PREDICTED, np.ones(10, bool), TRUE == 0])
    np.testing.assert_allclose(balanced_accuracy(right, TRUE), [0.625, 1.0, 0.5])


def test_without_pictures_there_is_nothing_to_say():
    with pytest.raises(InputError, match="at least one image"):
        PerClass.of(("a", "b"), np.zeros(0, int), np.zeros(0, int))
