"""From the tables of a run to its front."""

from __future__ import annotations

import json

import pytest
import workdirs

from compofa_tf.errors import InputError
from compofa_tf.pipeline.run import Run
from compofa_tf.pipeline.searching import find_front


def test_tables_of_another_space_are_refused(tmp_path):
    workdirs.with_tables(tmp_path)
    supernet = tmp_path / "supernet" / "supernet.json"
    content = json.loads(supernet.read_text())
    content["space"]["settings"]["width_mult"] = 0.75
    supernet.write_text(json.dumps(content))
    with pytest.raises(InputError, match="another space"):
        find_front(Run(tmp_path))
    assert not (tmp_path / "front.json").exists()


def test_a_truncated_table_is_named(tmp_path):
    workdirs.with_tables(tmp_path)
    table = tmp_path / "latency" / "host-int8-t1.json"
    table.write_text(table.read_text()[:2000])
    with pytest.raises(InputError, match=r"host-int8-t1\.json"):
        find_front(Run(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.update(ms=-1.0, turn_ms=[-1.0]), "positive, finite number of ms"),
        (lambda rows: rows.update(ms=1e-6, turn_ms=[1e-6]), "from 0.0001 to 100000"),
        (lambda rows: rows.update(ms=float("nan"), turn_ms=[float("nan")]), "positive, finite number of ms"),
        (lambda rows: rows.pop("turn_ms"), "turn_ms"),
        (lambda rows: rows.clear(), "it is damaged"),
    ],
)
def test_impossible_latencies_are_refused_and_no_front_is_written(tmp_path, capsys, change, message):
    from compofa_tf.cli import main

    workdirs.with_tables(tmp_path)
    table = tmp_path / "latency" / "host-int8-t1.json"
    content = json.loads(table.read_text())
    change(next(iter(content["entries"].values())))
    table.write_text(json.dumps(content))
    assert main.run(main.parse(["compofa", "search", str(tmp_path)])) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "front.json").exists()


def test_an_entry_that_stands_twice_is_refused(tmp_path):
    workdirs.with_tables(tmp_path)
    for name in ("latency/host-int8-t1.json", "accuracy/val.json"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace('"kind"', '"kind": "twice", "kind"', 1))
        with pytest.raises(InputError, match=r"\.json is damaged: 'kind' stands there twice"):
            find_front(Run(tmp_path))
        (tmp_path / name).write_text(text)
    assert not (tmp_path / "front.json").exists()


def test_subnets_without_weights_are_not_searched(tmp_path):
    """Of an imported single subnet the front holds that one alone."""
    space = workdirs.with_tables(tmp_path)
    supernet = tmp_path / "supernet" / "supernet.json"
    arch = space.arch(depths=(2, 3, 4, 2, 3), resolution=224)
    supernet.write_text(json.dumps({**json.loads(supernet.read_text()), "only": space.id(arch)}))
    front = find_front(Run(tmp_path))
    assert [candidate.arch for candidate in front.candidates] == [arch.at(24)]
    assert front.total == 1 and front.coverage == "the only candidate"


def test_an_earlier_front_is_kept_unless_told(tmp_path):
    workdirs.with_tables(tmp_path)
    run = Run(tmp_path)
    find_front(run)
    written = run.front_file.read_bytes()
    with pytest.raises(InputError, match=r"front\.json exists; pass --overwrite"):
        find_front(run, budgets_ms=(1e3,))
    assert run.front_file.read_bytes() == written
    assert find_front(run, budgets_ms=(1e3,), overwrite=True).budgets == (1e3,)


def test_the_recipe_that_a_front_names_is_that_of_the_search(tmp_path):
    workdirs.with_tables(tmp_path)
    run = Run(tmp_path).changed(["search.budgets_ms=1000"])
    front = find_front(run)
    assert front.recipe_hash == run.recipe.hash and front.budgets == (1000.0,)
