"""The order of the commands: what each finds, leaves, and what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from compofa_tf import commands
from compofa_tf.cli import main
from compofa_tf.workdir import WorkDir

ORDER = (
    ("train --recipe {recipe}", "recipe", "recipe.json"),
    ("train --recipe {recipe}", "training curves", "metrics.jsonl"),
    ("train --recipe {recipe}", "weights", "supernet/supernet.json"),
    ("measure --accuracy", "accuracy table", "accuracy/val.json"),
    ("measure --latency", "latency table", "latency/host-int8-t1.json"),
    ("search", "front", "front.json"),
    ("export", "exported model", "models/a-float32.tflite.json"),
    ("report", "report", "report.html"),
)


def holding(root, *names) -> WorkDir:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return WorkDir(root)


def absent(workdir) -> list[tuple[str, str]]:
    return [(command.words, output.name) for output, command in commands.missing(workdir)]


def test_every_output_has_one_writer_and_lies_where_the_table_says(tmp_path):
    assert absent(WorkDir(tmp_path)) == [(words, name) for words, name, _ in ORDER]
    for words, name, file in ORDER:
        (output,) = (output for output in commands.OUTPUTS if output.name == name)
        assert commands.writer(output).words == words
        assert not output.there(WorkDir(tmp_path))
        assert output.there(holding(tmp_path, file))


def test_each_command_leaves_what_the_next_one_needs(tmp_path):
    for place, (words, _, file) in enumerate(ORDER):
        workdir = WorkDir(tmp_path)
        assert absent(workdir) == [(words, name) for words, name, _ in ORDER[place:]]
        command = next(command for command in commands.COMMANDS if command.words == words)
        assert commands.next_command(workdir) == command.line(workdir, resumed=place > 0)
        assert set(command.needs) <= commands.written(workdir)
        holding(tmp_path, file)
    assert absent(WorkDir(tmp_path)) == []


def test_in_the_end_the_smallest_model_is_measured_again(tmp_path):
    workdir = holding(tmp_path, *(file for _, _, file in ORDER))
    assert commands.next_command(workdir) == f"compofa benchmark {tmp_path}/models/a-float32.tflite"
    for name, size in (("a-float32", 4), ("b-int8", 1), ("c-float16", 2)):
        holding(tmp_path, f"models/{name}.tflite.json")
        (tmp_path / "models" / f"{name}.tflite").write_bytes(bytes(size))
    assert commands.next_command(workdir) == f"compofa benchmark {tmp_path}/models/b-int8.tflite"


def test_imported_weights_need_no_curves(tmp_path):
    workdir = holding(tmp_path, "recipe.json", "supernet/supernet.json")
    assert commands.next_command(workdir) == f"compofa measure {tmp_path} --accuracy"


def test_a_front_from_published_sources_needs_no_tables(tmp_path):
    workdir = holding(tmp_path, "recipe.json", "supernet/supernet.json", "front.json")
    assert absent(workdir) == [("export", "exported model"), ("report", "report")]


def test_a_report_made_early_stands_for_nothing_else(tmp_path):
    assert commands.written(holding(tmp_path, "report.html")) == {commands.REPORT}


def test_who_has_looked_into_the_files_may_say_what_is_there(tmp_path):
    workdir = holding(tmp_path, *(file for _, _, file in ORDER))
    found = commands.missing(workdir, there=set(commands.OUTPUTS) - {commands.FRONT})
    assert [output for output, _ in found] == [commands.FRONT]


def test_folders_with_strange_names_are_quoted(tmp_path):
    workdir = WorkDir(Path("my runs/$HOME"))
    line = commands.writer(commands.RECIPE).line(workdir, resumed=True)
    assert shlex.split(line) == ["compofa", "train", "--recipe", "my runs/$HOME", "--workdir", "my runs/$HOME"]
    line = commands.writer(commands.LATENCY).line(workdir)
    assert shlex.split(line) == ["compofa", "measure", "my runs/$HOME", "--latency"]
    workdir = holding(tmp_path / "my runs" / "$HOME", "models/m.tflite.json")
    assert shlex.split(commands.benchmark(workdir))[-1] == f"{tmp_path}/my runs/$HOME/models/m.tflite"


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.words)
def test_examples_and_lines_parse(command):
    assert command.example.startswith(f"compofa {command.words.split()[0]} ")
    for line in (command.example, command.line(WorkDir(Path("runs/photos")))):
        assert callable(main.parse(shlex.split(line)).command)
