"""What a person sees of long work."""

from __future__ import annotations

import pytest

from compofa_tf import progress


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (600, "10 min"), (7500, "2 h 05 min")])
def test_durations_for_people(seconds, text):
    assert progress.duration(seconds) == text


def test_without_a_terminal_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LINE_EVERY_S", -1.0)
    with progress.progress_bar(total=4, initial=1, desc="accuracy") as bar:
        bar.set_postfix_str("busy")
        bar.update()
    assert "accuracy: 2 of 4 subnets" in capsys.readouterr().err
    with progress.progress_bar(total=4, desc="quiet", shown=False) as bar:
        bar.update()
    assert capsys.readouterr().err == ""


def test_the_first_unit_does_not_tell_how_long_the_others_take(monkeypatch, capsys):
    """It makes the graphs: the time that it took, times 243, was hours."""
    now = iter([0.0, 100.0, 140.0, 141.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with progress.progress_bar(total=243, desc="accuracy") as bar:
        bar.update()
        bar.update()
        bar.update()
    assert capsys.readouterr().err.splitlines() == [
        "accuracy: 1 of 243 subnets",
        "accuracy: 2 of 243 subnets, 2 h 41 min left",
    ]
