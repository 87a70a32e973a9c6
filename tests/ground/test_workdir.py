"""Every file name of a work directory, once."""

from __future__ import annotations

import os
import re
from pathlib import Path

import compofa_tf
from compofa_tf.workdir import WorkDir, runs_in

PACKAGE = Path(compofa_tf.__file__).parent


def test_runs_are_listed_the_last_written_first(tmp_path):
    assert runs_in(tmp_path / "absent") == []
    for age, name in enumerate(("new", "old", "older")):
        run = WorkDir(tmp_path / name)
        run.path.mkdir()
        run.recipe_file.write_text("{}")
        os.utime(run.recipe_file, (1000 - age, 1000 - age))
    (tmp_path / "no run").mkdir()
    assert [run.path.name for run in runs_in(tmp_path)] == ["new", "old", "older"]
    older = WorkDir(tmp_path / "older")
    older.front_file.write_text("{}")
    assert runs_in(tmp_path)[0] == older


def test_a_table_is_named_by_device_precision_and_threads(tmp_path):
    run = WorkDir(tmp_path)
    assert run.latency_file("devices/pixel6.yaml", "int8", 2) == tmp_path / "latency" / "pixel6-int8-t2.json"


def test_the_names_of_files_stand_nowhere_else():
    names = (
        r"recipe\.json|front\.json|metrics\.jsonl|report\.html|data_index\.json|supernet\.json|weights\.npz|val\.json"
    )
    joined = re.compile(rf'/ "(?:[^"]*/)?(?:{names}|supernet|teacher|checkpoints|models|tensorboard)"')
    found = {
        path.relative_to(PACKAGE).as_posix(): joined.findall(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")
    }
    assert {path: hits for path, hits in found.items() if hits} == {"workdir.py": found["workdir.py"]}
