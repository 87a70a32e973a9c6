"""Every command of ``compofa`` has a help text with an example, and is in this table."""

from __future__ import annotations

import contextlib
import io

import pytest

from compofa_tf.cli import main

COMMANDS = {
    "benchmark": "benchmark FILE",
    "demo": "",
    "evaluate": "--workdir DIR --arch r32-d22222",
    "export": "--workdir DIR",
    "extract": "--workdir DIR --arch r32-d22222",
    "import-torch": "FILE --workdir DIR",
    "measure": "--workdir DIR",
    "recipes": "",
    "report": "--workdir DIR",
    "search": "--workdir DIR",
    "space": "",
    "train": "--recipe demo",
}


def help_of(*arguments):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as stopped:
        main.parse(["compofa", *arguments, "--help"])
    assert stopped.value.code == 0
    return text.getvalue()


def test_no_command_is_missing_from_the_table():
    listed = [line.split()[0] for line in help_of().splitlines() if line.startswith("    ") and line[4:5] != " "]
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_of_the_command_that_parses(name):
    text = help_of(name)
    example = next(line for line in text.splitlines() if line.startswith("Example: "))
    words = example.removeprefix("Example: ").split()
    assert words[:2] == ["compofa", name]
    assert callable(main.parse(words).command)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"demo", "recipes", "space"}))
def test_required_arguments_are_asked_for(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main.parse(["compofa", name])
    assert stopped.value.code == 2
    assert "required" in capsys.readouterr().err
