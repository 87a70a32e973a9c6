"""Numbers for people."""

from __future__ import annotations

import pytest

from compofa_tf.reports import formats


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.percent(0.8272), "82.7 %"),
        (formats.percent(None), "–"),
        (formats.difference(-0.94), "−0.9 %"),
        (formats.difference(4.0), "+4.0 %"),
        (formats.milliseconds(0.01234), "0.012"),
        (formats.milliseconds(4.567), "4.57"),
        (formats.milliseconds(123.4), "123"),
        (formats.byte_size(1_234_000), "1.23 MB"),
        (formats.byte_size(999), "1 kB"),
        (formats.short_count(12_940_000), "12.9 M"),
        (formats.short_count(446_800_000_0), "4.5 G"),
    ],
)
def test_numbers_are_readable(shown, expected):
    assert shown == expected
