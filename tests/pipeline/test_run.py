"""An opened work directory: what it says, who may write to it, which of its settings may change."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import workdirs

from compofa_tf.errors import InputError
from compofa_tf.latency.table import LatencyTable
from compofa_tf.pipeline.run import Run

HOLDER = """
import sys, time
from pathlib import Path
from compofa_tf.pipeline.run import Run
with Run(Path(sys.argv[1])).writing(sys.argv[2]):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def held():
    """Returns a function that has an output written by another process until the test ends."""
    holders = []

    def hold(path, output):
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path), output], stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        assert holder.stdout.readline() == "held\n"
        return holder.pid

    yield hold
    for holder in holders:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def supernet_says(folder, **changes) -> None:
    """Changes entries of ``supernet.json``."""
    path = folder / "supernet" / "supernet.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_run_says_what_its_files_say(tmp_path):
    space = workdirs.described(tmp_path)
    run = Run(tmp_path)
    assert run.space == space and run.only is None and run.archs is None
    assert run.recipe == workdirs.small_recipe()
    assert run.labels == workdirs.LABELS and run.normalization == workdirs.NORMALIZATION
    assert run.latency_table_file("int8") == tmp_path / "latency" / "host-int8-t1.json"
    assert run.parse("r32-d23423") == space.arch(depths=(2, 3, 4, 2, 3), resolution=32)


def test_of_an_imported_subnet_only_that_one_has_weights(tmp_path):
    space = workdirs.described(tmp_path)
    arch = space.arch(depths=(2, 3, 4, 2, 3), resolution=224)
    supernet_says(tmp_path, only=space.id(arch))
    run = Run(tmp_path)
    assert run.archs == [arch.at(24)]
    assert run.calibration_images == 0
    assert run.parse("r32-d23423") == arch.at(32)
    with pytest.raises(InputError, match="Only one subnet has weights"):
        run.parse("r32-d22222")


def test_what_is_missing_names_the_command_to_run_first(tmp_path):
    run = Run(tmp_path / "run")
    for ask in (lambda: run.recipe, lambda: run.space, run.require_trained):
        with pytest.raises(InputError, match=r"run `compofa train --recipe NAME --workdir \S+/run` first"):
            ask()
    workdirs.small_recipe().save(run.recipe_file)
    for ask in (lambda: run.labels, run.require_trained):
        with pytest.raises(InputError, match=r"has not finished .*`compofa train --recipe (\S+/run) --workdir \1`"):
            ask()
    with pytest.raises(InputError, match=r"no \S+front\.json: run `compofa search \S+/run` first"):
        run.require_front()


def test_the_next_command_goes_on_from_what_is_there(tmp_path):
    run = Run(tmp_path)
    assert run.next_command == f"compofa train --recipe NAME --workdir {tmp_path}"
    workdirs.described(tmp_path)
    assert Run(tmp_path).next_command == f"compofa measure {tmp_path}"
    supernet_says(tmp_path, imported_from="model.pth")
    assert Run(tmp_path).next_command == f"compofa measure {tmp_path} --latency"
    workdirs.with_tables(tmp_path)
    run.accuracy_file.unlink()
    assert Run(tmp_path).next_command == f"compofa measure {tmp_path} --accuracy"
    supernet_says(tmp_path, imported_from="model.pth")
    assert Run(tmp_path).next_command == f"compofa search {tmp_path} --accuracy published"
    workdirs.with_tables(tmp_path)
    assert Run(tmp_path).next_command == f"compofa search {tmp_path}"
    run.front_file.write_text("{}")
    assert Run(tmp_path).next_command == f"compofa export {tmp_path}"


def test_of_a_space_too_large_to_be_measured_a_sample_comes_next(tmp_path):
    workdirs.described(tmp_path)
    supernet = json.loads((tmp_path / "supernet" / "supernet.json").read_text())
    settings = {**supernet["space"]["settings"], "coupling": "independent"}
    supernet_says(tmp_path, space={**supernet["space"], "settings": settings})
    assert Run(tmp_path).next_command == f"compofa measure {tmp_path} --sample 200"


def test_a_damaged_file_does_not_hide_what_comes_next(tmp_path):
    workdirs.described(tmp_path)
    supernet = tmp_path / "supernet" / "supernet.json"
    for text in ("{", '{"kind": "supernet", "schema_version": 1}'):
        supernet.write_text(text)
        assert Run(tmp_path).next_command == f"compofa measure {tmp_path} --accuracy"
        for ask in (lambda: Run(tmp_path).space, lambda: Run(tmp_path).labels):
            with pytest.raises(InputError, match=r"truncated|it is damaged|Not a space description"):
                ask()


def test_settings_of_use_change_from_now_on_and_are_told(tmp_path, capsys):
    workdirs.described(tmp_path)
    before = Run(tmp_path)
    assert before.changed([]) is before
    after = before.changed(
        ["data.source=folder:elsewhere", "latency.threads=2", "accuracy.images=none", "deploy.tries=1"]
    )
    for run in (after, Run(tmp_path)):
        assert run.recipe.data.source == "folder:elsewhere"
        assert (run.recipe.latency.threads, run.recipe.accuracy.images, run.recipe.deploy.tries) == (2, None, 1)
        assert run.latency_table_file("int8").name == "host-int8-t2.json"
    assert after.recipe.training_hash == before.recipe.training_hash and after.recipe.hash != before.recipe.hash
    (line,) = capsys.readouterr().out.splitlines()
    assert "recipe.json" in line and "latency.threads: 1 and 2" in line and "'digits' and 'folder:elsewhere'" in line
    assert after.changed(["latency.threads=2"]).recipe == after.recipe
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.batch_size=32", r"cannot change afterwards.*data\.batch_size: 128 and 32"),
        ("train.epochs=1", "cannot change afterwards"),
        ("seed=1", "cannot change afterwards"),
        ("space.width_mult=1.0", "cannot change afterwards"),
        ("latency.thread=2", r"did you mean latency\.threads"),
        ("search.precision=float32", "one of latency.precisions"),
        ("latency.threads=0", "at least 1"),
    ],
)
def test_settings_of_the_training_stay(tmp_path, assignment, message):
    workdirs.described(tmp_path)
    written = (tmp_path / "recipe.json").read_bytes()
    with pytest.raises(InputError, match=message):
        Run(tmp_path).changed(["deploy.tries=1", assignment])
    assert (tmp_path / "recipe.json").read_bytes() == written


class Data:
    labelled = True

    def __init__(self, labels):
        self.labels = labels

    def bound_to(self, classes):
        return Data(tuple(classes))


@pytest.mark.parametrize(
    ("weights", "data", "fits"),
    [
        (["a", "b"], ("a", "b"), True),
        (["a", "b"], ("b", "a"), True),
        (["0", "1"], ("0", "1"), True),
        (["0", "1"], ("a", "b"), False),  # imported without names
    ],
)
def test_data_is_bound_to_the_classes_of_the_weights(tmp_path, monkeypatch, weights, data, fits):
    workdirs.described(tmp_path)
    supernet_says(tmp_path, labels=weights)
    monkeypatch.setattr("compofa_tf.data.load", lambda *_, **__: Data(data))
    if fits:
        assert Run(tmp_path).data.labels == tuple(weights)
    else:
        with pytest.raises(InputError, match=r"only numbers for names.*--labels FILE.*Received: a, b"):
            _ = Run(tmp_path).data


@pytest.mark.parametrize("imported", [False, True])
def test_a_subnet_is_calibrated_unless_it_was_imported(tmp_path, monkeypatch, imported):
    space = workdirs.described(tmp_path)
    arch = space.smallest(24)
    if imported:
        supernet_says(tmp_path, only=space.id(arch))
    calls = []

    class Images(Data):
        def calibration(self, **asked):
            return asked

        def bound_to(self, classes):
            return self

    monkeypatch.setattr("compofa_tf.nets.supernet.Supernet.load", lambda path: ("net of", path))
    monkeypatch.setattr("compofa_tf.data.load", lambda *_, **__: Images(workdirs.LABELS))
    monkeypatch.setattr("compofa_tf.nets.subnet.calibrate", lambda *given: calls.append(given))
    run = Run(tmp_path)
    assert run.calibrated(arch) == ("net of", tmp_path)
    expected = (run.net, arch, {"resolution": 24, "batch_size": 64, "count": 64})
    assert calls == ([] if imported else [expected])


def test_a_second_writer_of_an_output_is_refused_and_writers_of_others_are_not(tmp_path, held):
    workdirs.described(tmp_path)
    run = Run(tmp_path)
    words = {
        "training": "the training",
        "accuracy": "the accuracy table",
        "host-int8-t1": "the latency table host-int8-t1",
        "front": "the front",
        "models": "the models",
    }
    outputs = list(words)
    for output, other in zip(outputs, outputs[1:] + outputs[:1]):
        process = held(tmp_path, output)
        message = rf"Another command \(process {process} on \S+\) is writing {words[output]} in "
        with pytest.raises(InputError, match=message), run.writing(output):
            pytest.fail("the block must not run")
        if other != outputs[0]:
            with run.writing(other):
                pass


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("front", ("search", "--overwrite")),
        ("host-int8-t1", ("measure", "--latency")),
        ("accuracy", ("measure", "--accuracy")),
        ("models", ("export", "--overwrite")),
        ("models", ("extract", "--arch", "r24-d22222", "--overwrite")),
        ("training", ("train", "--recipe", "demo")),
        ("training", ("demo", "--smallest")),
        ("training", ("import-torch", "absent.pth")),
        ("recipe", ("search", "--overwrite", "--set", "deploy.tries=1")),
    ],
)
def test_every_command_that_writes_refuses_to_be_the_second_one(tmp_path, held, capsys, output, words):
    from compofa_tf.cli import main

    workdirs.with_tables(tmp_path)
    assert main.run(main.parse(["compofa", "search", str(tmp_path)])) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    held(tmp_path, output)
    capsys.readouterr()
    assert main.run(main.parse(["compofa", *words, "--workdir", str(tmp_path)])) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Another command (process " in line
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


def test_search_report_and_measuring_work_beside_a_training(tmp_path, held, capsys, monkeypatch):
    from compofa_tf.cli import main

    workdirs.with_tables(tmp_path)
    held(tmp_path, "training")
    measured = []
    monkeypatch.setattr(LatencyTable, "measure", lambda space, *, precision, **_: measured.append(precision))
    for words in (("search",), ("report",), ("measure", "--latency"), ("search", "--set", "deploy.tries=1")):
        options = main.parse(["compofa", words[0], str(tmp_path), *words[1:]])
        assert main.run(options) == (1 if words[1:2] == ("--set",) else 0), words
    assert measured == ["int8"]
    assert (tmp_path / "front.json").exists() and (tmp_path / "report.html").exists()
    assert "pass --overwrite" in capsys.readouterr().err
