"""One way to name a run: the first word, or --workdir, or none where it is clear which one is meant."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import workdirs

from compofa_tf.cli import main
from compofa_tf.pipeline.run import Run

NAMES = ("old", "newer", "newest")


def compofa(capsys, *words):
    """Runs a command in this process; returns exit code, standard output and standard error."""
    code = main.run(main.parse(["compofa", *map(str, words)]))
    said = capsys.readouterr()
    return code, said.out, said.err


def make_runs(folder, names=NAMES):
    """Runs with tables in ``runs/``, each newer than the one before."""
    for age, name in enumerate(reversed(names)):
        workdirs.with_tables(folder / "runs" / name)
        for path in (folder / "runs" / name).rglob("*"):
            os.utime(path, (1e9 - age, 1e9 - age))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("search", "runs/a", "--budget-ms", "1,2"),
        ("search", "--budget-ms", "1,2", "runs/a"),
        ("search", "--workdir", "runs/a", "--budget-ms", "1,2"),
        ("search", "runs/a", "--workdir", "runs/a/", "--budget-ms", "1,2"),
        ("search", "--budget-ms", "1,2", "runs/a", "--seed", "1"),
    ],
)
def test_the_first_word_or_the_option_names_the_run(here, capsys, words):
    make_runs(here, ("a", "b"))
    code, out, _ = compofa(capsys, *words)
    assert code == 0 and "Using" not in out
    assert out.splitlines()[-1] == "Next: compofa export runs/a"
    assert (here / "runs" / "a" / "front.json").exists() and not (here / "runs" / "b" / "front.json").exists()


def test_two_names_are_refused(here, capsys):
    make_runs(here, ("a", "b"))
    code, _, err = compofa(capsys, "search", "runs/a", "--workdir", "runs/b")
    assert code == 1 and "only one can be meant. Received: runs/a and --workdir runs/b" in err


def test_a_command_that_reads_takes_the_newest_run_and_says_so(here, capsys):
    make_runs(here)
    code, out, _ = compofa(capsys, "report")
    assert code == 0
    assert out.splitlines()[0] == "Using runs/newest, the newest run."
    assert (here / "runs" / "newest" / "report.html").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("measure",),
        ("search",),
        ("export",),
        ("extract", "--arch", "r24-d22222"),
        ("evaluate", "--arch", "r24-d22222", "--set", "deploy.tries=1"),
    ],
)
def test_a_command_that_writes_takes_the_only_run_and_lists_several(here, capsys, words):
    code, _, err = compofa(capsys, *words)
    assert code == 1 and "There is no run in runs/" in err and "compofa demo" in err and err.count("\n") == 1
    make_runs(here)
    before = sorted(here.rglob("*"))
    code, out, err = compofa(capsys, *words)
    assert (code, out) == (1, "") and err.count("\n") == 1
    assert "name one of them after the command: runs/newest, runs/newer, runs/old." in err
    assert sorted(here.rglob("*")) == before


def test_the_only_run_is_taken_and_named(here, capsys):
    make_runs(here, ("only",))
    code, out, _ = compofa(capsys, "search")
    assert code == 0 and out.splitlines()[0] == "Using runs/only, the only run."


def test_of_many_runs_some_are_named(here, capsys):
    make_runs(here, [f"run{number}" for number in range(10)])
    assert compofa(capsys, "search")[2].endswith("runs/run2 and 2 more.\n")


def test_compofa_alone_lists_the_runs_with_the_next_command_of_each(here, capsys):
    code, out, _ = compofa(capsys)
    assert code == 0 and "no run in runs/" in out and out.endswith("Next: compofa demo\n")
    make_runs(here)
    (here / "runs" / "newer" / "accuracy" / "val.json").unlink()
    os.utime(here / "runs" / "newer" / "recipe.json", (1e9 - 0.5, 1e9 - 0.5))
    (here / "runs" / "old" / "supernet" / "supernet.json").write_text("{")  # damaged, and now the newest
    (here / "runs" / "no run").mkdir()
    code, out, _ = compofa(capsys)
    assert code == 0
    assert out.splitlines() == [
        "Runs here, the newest first, and what comes next in each:",
        "  runs/old     compofa search runs/old",
        "  runs/newest  compofa search runs/newest",
        "  runs/newer   compofa measure runs/newer --accuracy",
        "Next: compofa search runs/old",
    ]


def test_compofa_alone_is_quick_and_exits_with_0(here):
    done = subprocess.run(
        [sys.executable, "-m", "compofa_tf"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "compofa demo" in done.stdout


def test_settings_of_a_command_stay_for_the_next_ones(here, capsys):
    make_runs(here, ("a",))
    words = ("--set", "search.budgets_ms=1,2", "--data", "folder:elsewhere")
    code, out, _ = compofa(capsys, "search", "runs/a", *words)
    assert code == 0
    assert "search.budgets_ms: () and (1.0, 2.0)" in out.splitlines()[0]
    assert Run(here / "runs" / "a").recipe.data.source == "folder:elsewhere"
    code, out, _ = compofa(capsys, "search", "runs/a", "--overwrite")
    assert code == 0 and "From now on" not in out and "\n        2  " in out
    code, _, err = compofa(capsys, "search", "runs/a", "--overwrite", "--set", "data.batch_size=7")
    assert code == 1 and "cannot change afterwards" in err and err.count("\n") == 1


def test_a_path_with_a_blank_comes_back_as_a_shell_takes_it(here, capsys):
    make_runs(here, ("my run",))
    code, out, _ = compofa(capsys, "search", "runs/my run")
    assert code == 0 and out.splitlines()[-1] == "Next: compofa export 'runs/my run'"
