"""The one exception of what a user can mend, and its usual sentences."""

from __future__ import annotations

import pytest

from compofa_tf.errors import InputError, NotCoveredError, at_least, did_you_mean


def test_a_missing_measurement_is_both_an_input_and_a_key_error():
    error = NotCoveredError("No piece was measured.")
    assert isinstance(error, InputError) and isinstance(error, KeyError)
    assert str(error) == "No piece was measured."
    assert str(NotCoveredError()) == ""


def test_the_first_value_that_is_too_small_is_named():
    at_least(1, runs=1, repeats=2.5)
    with pytest.raises(InputError, match=r"^repeats must be at least 1\. Received: repeats=0$"):
        at_least(1, runs=3, repeats=0, warmup=-1)


def test_mistyped_words():
    known = ("cifar10", "demo", "imagenet")
    assert did_you_mean("cifar", known) == "did you mean cifar10?"
    assert did_you_mean("cifar", known, say="--recipe {}") == "did you mean --recipe cifar10?"
    assert did_you_mean("xyz", known) == "there are cifar10, demo, imagenet."
