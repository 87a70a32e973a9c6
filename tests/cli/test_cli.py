from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import workdirs

from compofa_tf import cli
from compofa_tf.accuracy.table import AccuracyTable
from compofa_tf.cli import main
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.searches.front import Front

ROOT = Path(__file__).resolve().parents[2]


def compofa(*arguments, cwd=None, **environment):
    """Runs the command as a user does and returns the finished process."""
    command = [sys.executable, "-m", "compofa_tf", *map(str, arguments)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        check=False,
        stdin=subprocess.DEVNULL,
    )


def fails(capsys, *arguments):
    """Runs a command in this process; returns its one line of error."""
    options = main.parse(["compofa", *map(str, arguments)])
    assert main.run(options) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("compofa: error: ")
    return lines[0]


def test_search_prints_choices_writes_the_front_and_names_the_next_command(tmp_path):
    workdirs.with_tables(tmp_path)
    done = compofa("search", tmp_path, "--budget-ms", "1,2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "front.json").exists()
    assert "from all 243 candidates" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Next: compofa export {tmp_path}"
    front = json.loads((tmp_path / "front.json").read_text())
    assert front["budgets_ms"] == [1.0, 2.0]
    assert front["chosen"][0]["id"] in done.stdout


def test_search_runs_without_tensorflow(tmp_path):
    workdirs.with_tables(tmp_path)
    blocked = tmp_path / "blocked" / "tensorflow"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('TensorFlow must not be imported here')")
    code = (
        f"import sys; sys.path[:0] = [{str(blocked.parent)!r}, {str(ROOT)!r}]; from compofa_tf.cli import main; "
        f"sys.exit(main.run(main.parse(['compofa', 'search', {str(tmp_path)!r}])))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_existing_front_is_kept_unless_told(tmp_path, capsys):
    workdirs.with_tables(tmp_path)
    (tmp_path / "front.json").write_text("mine")
    assert "--overwrite" in fails(capsys, "search", tmp_path)
    assert (tmp_path / "front.json").read_text() == "mine"
    assert main.run(main.parse(["compofa", "search", str(tmp_path), "--overwrite"])) == 0


def test_budget_below_the_fastest_subnet_names_it(tmp_path, capsys):
    workdirs.with_tables(tmp_path)
    message = fails(capsys, "search", tmp_path, "--budget-ms", "0.0001")
    assert "fastest" in message and "at least" in message
    assert not (tmp_path / "front.json").exists()


def test_every_command_needs_a_work_directory_that_was_trained(tmp_path, capsys):
    for arguments in (
        ("measure",),
        ("search",),
        ("evaluate", "--arch", "r24-d22222"),
        ("extract", "--arch", "r24-d22222"),
    ):
        message = fails(capsys, arguments[0], tmp_path / "absent", *arguments[1:])
        assert "compofa train" in message, arguments
    assert "compofa search" in fails(capsys, "export", tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_unknown_recipe_setting_and_source_name_what_is_near(tmp_path, capsys):
    assert "cifar10" in fails(capsys, "train", "--recipe", "cifar", "--workdir", tmp_path / "w")
    bad = ("train", "--recipe", "demo", "--workdir", tmp_path / "w")
    assert "train.epochs" in fails(capsys, *bad, "--set", "train.epoch=2")
    assert "whole number" in fails(capsys, *bad, "--set", "train.epochs=two")
    assert "key=value" in fails(capsys, *bad, "--set", "train.epochs")
    assert not (tmp_path / "w").exists()


def test_a_missing_data_folder_is_one_line_and_leaves_nothing_trained(tmp_path):
    done = compofa("train", "--recipe", "demo", "--data", f"folder:{tmp_path / 'no'}", "--workdir", tmp_path / "w")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "does not exist" in done.stderr, done.stderr
    assert not (tmp_path / "w" / "recipe.json").exists()


def test_unknown_subnet_is_named(tmp_path, capsys):
    workdirs.described(tmp_path)
    assert "r24-d99999" in fails(capsys, "extract", tmp_path, "--arch", "r24-d99999")


def test_verbosity_shows_the_traceback(tmp_path):
    done = compofa("search", tmp_path, "--verbosity=1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_usage_errors_exit_with_2():
    done = compofa("serach")
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (errno.EACCES, "Permission denied: '{}'; give yourself the right to it, or name a work directory elsewhere"),
        (
            errno.EROFS,
            "Read-only file system: '{}'; nothing can be written on that disk; name a work directory elsewhere",
        ),
        (errno.ENOSPC, "No space left on device: '{}'; the disk is full; make room and run the same command again"),
    ],
)
def test_a_disk_that_takes_nothing_is_one_line_that_says_what_to_change(tmp_path, capsys, monkeypatch, code, mend):
    workdirs.with_tables(tmp_path)

    def refuse(*_args, **_kwargs):
        raise OSError(code, os.strerror(code), str(tmp_path / "front.json"))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert mend.format(tmp_path / "front.json") in fails(capsys, "search", tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can mount a read-only disk")
def test_a_run_on_a_read_only_disk_can_be_looked_at(tmp_path):
    """What only reads works there; what writes says that nothing can be written, and where to go."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        workdirs.with_tables(disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert compofa(cwd=disk).returncode == 0
        for command in ("search", "report"):
            done = compofa(command, disk / "run")
            assert done.returncode == 1
            assert done.stderr.count("\n") == 1 and "nothing can be written on that disk" in done.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


def test_space_and_recipes_tell_without_tensorflow():
    done = compofa("space", "--recipe", "imagenet")
    assert "243 subnets" in done.stdout and "446.8 M multiply-adds" in done.stdout
    listed = compofa("recipes").stdout
    assert {"demo", "cifar10", "small", "imagenet"} <= set(re.findall(r"^(\w+)", listed, re.MULTILINE))


TOY = """
from compofa_tf.cli.options import Subcommand, tell
from compofa_tf.progress import say


def greet(options):
    say(f"Hello {options.name}.")
    tell("compofa recipes", wrote="nothing but this line")


def arguments(parser):
    parser.add_argument("name")


COMMANDS = (Subcommand("greet", "greet somebody", "compofa greet Ada", greet, arguments),)
"""


def test_a_command_is_added_by_one_file(tmp_path, monkeypatch, capsys):
    """A module in the folder of the command line; here in another folder, which is made a part of it."""
    (tmp_path / "greeting.py").write_text(TOY)
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    assert main.run(main.parse(["compofa", "greet", "Ada"])) == 0
    assert capsys.readouterr().out == "Hello Ada.\nWrote nothing but this line.\nNext: compofa recipes\n"
    with pytest.raises(SystemExit):
        main.parse(["compofa", "--help"])
    listed = capsys.readouterr().out
    assert listed.index("recipes") < listed.index("greet somebody")
    sys.modules.pop("compofa_tf.cli.greeting")
    monkeypatch.undo()
    assert "greet" not in [command.name for command in main.subcommands()]


def test_parsing_loads_nothing_that_takes_long():
    """The help is there at once, and a strategy can still be made: no operation has run."""
    code = (
        "import sys; from compofa_tf.cli import main; main.parse(['compofa', 'measure', 'x']); "
        "print([name for name in ('numpy', 'tensorflow', 'keras', 'matplotlib', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr


def test_report_writes_the_figure_alone(tmp_path, capsys):
    workdirs.with_tables(tmp_path)
    assert main.run(main.parse(["compofa", "search", str(tmp_path)])) == 0
    figure = tmp_path / "family.svg"
    assert main.run(main.parse(["compofa", "report", str(tmp_path), "--figure", str(figure)])) == 0
    assert figure.read_text().count("<svg") == 1
    said = capsys.readouterr().out
    assert f"Wrote {figure}." in said and not (tmp_path / "report.html").exists()
    assert ".png or .svg" in fails(capsys, "report", tmp_path, "--figure", tmp_path / "family.gif")


def test_an_objective_is_kept_only_after_a_search_that_could_be_made_with_it(tmp_path, capsys):
    """Else every later search would fail by a setting that nobody sees."""
    space = workdirs.with_tables(tmp_path)
    assert "measure again, or search for top-1" in fails(capsys, "search", tmp_path, "--objective", "balanced")
    assert Recipe.load(tmp_path).search.objective == "top1"
    assert "objective must be one of top1, balanced" in fails(capsys, "search", tmp_path, "--objective", "f1")
    table = AccuracyTable.load(tmp_path / "accuracy" / "val.json", space=space)
    for record in list(table.values()):
        table.add(replace(record, balanced=1 - record.top1))
    table.save(tmp_path / "accuracy" / "val.json")
    assert main.run(main.parse(["compofa", "search", str(tmp_path), "--objective", "balanced"])) == 0
    assert Recipe.load(tmp_path).search.objective == "balanced"
    assert Front.load(tmp_path / "front.json").objective == "balanced"
    assert "balanced" in capsys.readouterr().out


def test_ends_are_checked_before_anything_is_exported(tmp_path, capsys):
    workdirs.with_tables(tmp_path)
    assert main.run(main.parse(["compofa", "search", str(tmp_path)])) == 0
    assert "io must be one of float32, uint8, int8" in fails(capsys, "export", tmp_path, "--io", "int4")
    assert "scores must be one of probabilities, logits" in fails(capsys, "export", tmp_path, "--scores", "softmax")
    assert Recipe.load(tmp_path).deploy.io is None
