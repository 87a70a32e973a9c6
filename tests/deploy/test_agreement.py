from __future__ import annotations

import json
import math

import numpy as np
import pytest

from compofa_tf.deploy.agreement import Agreement, compare
from compofa_tf.errors import InputError

EXPECTED = np.array([[0.0, 4.0, 1.0], [3.0, 1.0, 2.0]], np.float32)


def test_the_numbers_are_those_of_the_definition():
    found = EXPECTED + np.array([[0.5, 0.0, 0.0], [0.0, 2.5, 0.0]], np.float32)  # the second image changes its class
    agreement = compare(EXPECTED, found, on="random images", output_scale=0.25)
    assert agreement == Agreement(
        images=2,
        on="random images",
        logits_range=4.0,
        mean_difference=0.5,
        max_difference=2.5,
        mean_share_of_range=0.125,
        mean_output_steps=2.0,
        top1_agreement=0.5,
        decisive_images=2,
        decisive_agreement=0.5,
    )
    assert agreement.within(0.125) and not agreement.within(0.124)


def test_without_steps_and_without_a_range():
    agreement = compare(EXPECTED * 0, EXPECTED * 0 + 0.5, on="random images")
    assert (agreement.logits_range, agreement.mean_share_of_range, agreement.mean_output_steps) == (1.0, 0.5, None)


@pytest.mark.parametrize(("tolerance", "images", "share"), [(0.2, 2, 0.5), (0.5, 1, 1.0), (0.8, 0, None)])
def test_only_images_with_a_margin_above_the_tolerance_are_decisive(tolerance, images, share):
    """Margins of 3 and 1 in a range of 4; the second image changes its class."""
    found = EXPECTED.copy()
    found[1] = [1.0, 3.0, 2.0]
    agreement = compare(EXPECTED, found, on="random images", tolerance=tolerance)
    assert (agreement.decisive_images, agreement.decisive_agreement) == (images, share)


def test_an_older_record_without_decisive_images_is_read():
    content = compare(EXPECTED, EXPECTED, on="random images").to_json()
    del content["decisive_images"], content["decisive_agreement"]
    assert Agreement.from_json(content).decisive_agreement is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_agrees_with_nothing(value):
    found = EXPECTED.copy()
    found[0, 0] = value
    assert not compare(EXPECTED, found, on="random images").within(math.inf)


def test_it_survives_json_as_the_sidecar_has_it():
    agreement = compare(EXPECTED, EXPECTED + np.float32(0.1), on="calibration images", output_scale=0.1)
    content = json.loads(json.dumps(agreement.to_json()))
    assert Agreement.from_json(content) == agreement
    assert list(content) == [
        "images",
        "on",
        "logits_range",
        "mean_difference",
        "max_difference",
        "mean_share_of_range",
        "mean_output_steps",
        "top1_agreement",
        "decisive_images",
        "decisive_agreement",
    ]


@pytest.mark.parametrize("content", [{}, {"images": 2}, {"strange": 1}])
def test_something_else_is_refused(content):
    with pytest.raises(InputError, match="This is not an agreement"):
        Agreement.from_json(content)
