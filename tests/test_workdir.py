from __future__ import annotations

import json

import pytest
import workdirs

from compofa_tf.errors import InputError
from compofa_tf.pipeline import run as stages
from compofa_tf.pipeline.exporting import Exporter
from compofa_tf.pipeline.run import Run


def test_a_quick_look_takes_the_first_or_a_seeded_sample_with_both_ends(tmp_path):
    space = workdirs.described(tmp_path)
    everything = list(space.enumerate(resolutions=(24, 32)))
    assert stages.choose_archs(space, (24, 32), limit=None, sample=None, seed=0) is None
    assert stages.choose_archs(space, (24, 32), limit=3, sample=None, seed=0) == everything[:3]
    drawn = stages.choose_archs(space, (24, 32), limit=None, sample=10, seed=0)
    assert drawn == stages.choose_archs(space, (24, 32), limit=None, sample=10, seed=0)
    assert len(set(drawn)) == 10
    assert {space.largest(32), space.smallest(24)} <= set(drawn) <= set(everything)
    assert len(stages.choose_archs(space, (24,), limit=None, sample=1000, seed=0)) == 243
    with pytest.raises(InputError, match="not both"):
        stages.choose_archs(space, (24,), limit=1, sample=1, seed=0)
    with pytest.raises(InputError, match="sample=0"):
        stages.choose_archs(space, (24,), limit=None, sample=0, seed=0)


def test_tables_of_another_space_are_refused(tmp_path):
    workdirs.with_tables(tmp_path)
    supernet = tmp_path / "supernet" / "supernet.json"
    content = json.loads(supernet.read_text())
    content["space"]["settings"]["width_mult"] = 0.75
    supernet.write_text(json.dumps(content))
    with pytest.raises(InputError, match="another space"):
        stages.find_front(Run(tmp_path))
    assert not (tmp_path / "front.json").exists()


def test_a_truncated_table_is_named(tmp_path):
    workdirs.with_tables(tmp_path)
    table = tmp_path / "latency" / "host-int8-t1.json"
    table.write_text(table.read_text()[:2000])
    with pytest.raises(InputError, match=r"host-int8-t1\.json"):
        stages.find_front(Run(tmp_path))


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
    assert main.run(main.parse(["compofa", "search", "--workdir", str(tmp_path)])) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "front.json").exists()


def test_an_entry_that_stands_twice_is_refused(tmp_path):
    workdirs.with_tables(tmp_path)
    for name in ("latency/host-int8-t1.json", "accuracy/val.json"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace('"kind"', '"kind": "twice", "kind"', 1))
        with pytest.raises(InputError, match=r"\.json is damaged: 'kind' stands there twice"):
            stages.find_front(Run(tmp_path))
        (tmp_path / name).write_text(text)
    assert not (tmp_path / "front.json").exists()


def test_members_without_weights_are_not_searched(tmp_path):
    """Of an imported single subnet the front holds that one alone."""
    space = workdirs.with_tables(tmp_path)
    supernet = tmp_path / "supernet" / "supernet.json"
    arch = space.arch(depths=(2, 3, 4, 2, 3), resolution=224)
    supernet.write_text(json.dumps({**json.loads(supernet.read_text()), "only": space.id(arch)}))
    workdir = Run(tmp_path)
    assert workdir.members() == [arch.at(24)]
    front = stages.find_front(workdir)
    assert [candidate.arch for candidate in front.candidates] == [arch.at(24)]
    assert front.total == 1 and front.coverage == "the only candidate"
    assert workdir.parse("r32-d23423") == arch.at(32)
    with pytest.raises(InputError, match="Only one member has weights"):
        workdir.parse("r32-d22222")


class FakeExporter(Exporter):
    """Measures what it is told instead of exporting: how much slower than predicted each try is."""

    def __init__(self, tries, slower):
        self.same_device = True
        self.slower, self.artifacts, self.tried, self.discarded = iter(slower), [], [], []
        deploy = type("Deploy", (), {"tries": tries})
        self.recipe = type("Recipe", (), {"deploy": deploy})

    def _export(self, candidate, budget_ms):
        self.tried.append(candidate.id)
        ms = candidate.predicted_ms * next(self.slower)
        record = {"latency": {"measured": {"ms": ms}}, "budget_ms": budget_ms}
        record["within_budget"] = ms <= budget_ms
        return [type("Artifact", (), {"record": record, "path": candidate.id})]

    def _discard(self, made):
        self.discarded += [artifact.path for artifact in made]


def test_a_broken_budget_tries_the_next_member_that_is_fast_enough_by_as_much(tmp_path):
    workdirs.with_tables(tmp_path)
    front = stages.find_front(Run(tmp_path))
    budget_ms = front.budgets[1]
    candidates = [front.best(budget_ms), *front.alternatives(budget_ms)]
    quick = FakeExporter(3, [1.0])
    quick.export(budget_ms, candidates)
    assert [artifact.path for artifact in quick.artifacts] == quick.tried == [candidates[0].id]
    assert stages.over_budget(quick.artifacts) is None

    slower = 1.05 * budget_ms / candidates[0].predicted_ms
    second = FakeExporter(3, [slower, slower])
    second.export(budget_ms, candidates)
    fits = next(c for c in candidates[1:] if c.predicted_ms * slower <= budget_ms)
    assert second.tried == [candidates[0].id, fits.id]
    assert second.discarded == [candidates[0].id]
    assert [artifact.path for artifact in second.artifacts] == [fits.id]


def test_when_no_member_keeps_a_budget_the_fastest_tried_is_left_and_named(tmp_path):
    workdirs.with_tables(tmp_path)
    front = stages.find_front(Run(tmp_path))
    budget_ms = front.budgets[1]
    candidates = [front.best(budget_ms), *front.alternatives(budget_ms)]
    slower = 1.2 * budget_ms / candidates[0].predicted_ms
    never = FakeExporter(2, [slower, 9.0])
    never.export(budget_ms, candidates)
    assert [artifact.path for artifact in never.artifacts] == [candidates[0].id]
    assert never.discarded == never.tried[1:]
    assert len(never.tried) == 2
    assert f"budget of {budget_ms:g} ms" in stages.over_budget(never.artifacts)


def test_budgets_of_another_device_are_not_judged_by_this_one(tmp_path):
    workdirs.with_tables(tmp_path)
    front = stages.find_front(Run(tmp_path))
    budget_ms = front.budgets[1]
    exporter = FakeExporter(3, [9.0])
    exporter.same_device = False
    exporter.export(budget_ms, [front.best(budget_ms), *front.alternatives(budget_ms)])
    assert [artifact.path for artifact in exporter.artifacts] == exporter.tried == [front.best(budget_ms).id]
    exporter.artifacts[0].record["within_budget"] = None
    assert stages.over_budget(exporter.artifacts) is None


def test_old_exports_go_only_when_new_ones_are_there_and_other_files_stay(tmp_path, monkeypatch):
    workdirs.with_tables(tmp_path)
    workdir = Run(tmp_path)
    stages.find_front(workdir)
    for name in ("old.tflite", "old.tflite.json", "mine.keras"):
        workdir.models.mkdir(exist_ok=True)
        (workdir.models / name).write_text("kept")

    class Fails:
        artifacts = ()

        def __init__(self, *_):
            pass

        def export(self, *_):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(stages, "Exporter", Fails)
    with pytest.raises(InputError, match="--overwrite"):
        stages.export_models(workdir)
    with pytest.raises(OSError, match="No space"):
        stages.export_models(workdir, overwrite=True)
    assert len(list(workdir.models.iterdir())) == 3
    monkeypatch.setattr(Fails, "export", lambda *_: None)
    stages.export_models(workdir, overwrite=True)
    assert [path.name for path in workdir.models.iterdir()] == ["mine.keras"]


@pytest.mark.slow
def test_stages_after_training_run_on_real_digits(tmp_path, capsys):
    from compofa_tf.cli import main

    space = workdirs.with_weights(tmp_path)
    (tmp_path / "accuracy" / "val.json").unlink()
    (tmp_path / "latency" / "host-int8-t1.json").unlink()
    workdir = Run(tmp_path)
    table = stages.measure_accuracy(workdir, sample=6)
    assert len(table) == 6
    stages.measure_latency(workdir)
    front = stages.find_front(workdir, budgets_ms=(1e3,))
    artifacts = stages.export_models(workdir)
    assert [artifact.precision for artifact in artifacts] == ["int8", "float32"]
    for artifact in artifacts:
        record = json.loads(artifact.sidecar.read_text())
        assert record["arch"]["id"] == front.best(1e3).id
        assert record["labels"] == workdirs.LABELS and record["normalization"]["mean"] == [0.5, 0.5, 0.5]
        assert record["accuracy"]["count"] == 359
        assert record["latency"]["measured"]["ms"] > 0 and record["within_budget"]
    int8 = json.loads(artifacts[0].sidecar.read_text())
    assert int8["latency"]["predicted_ms"] > 0
    assert int8["fully_accelerated"] and int8["input"]["dtype"] == "int8"
    with pytest.raises(InputError, match="--overwrite"):
        stages.export_models(workdir)
    name = space.id(space.smallest(24))
    assert main.run(main.parse(["compofa", "extract", "--workdir", str(tmp_path), "--arch", name])) == 0
    model = tmp_path / "models" / f"{name}.keras"
    for target in (("--arch", name), ("--model", str(model)), ("--model", str(artifacts[0].path))):
        assert main.run(main.parse(["compofa", "evaluate", "--workdir", str(tmp_path), "--images", "50", *target])) == 0
    assert capsys.readouterr().out.count("50 images") == 3
    assert main.run(main.parse(["compofa", "report", "--workdir", str(tmp_path)])) == 0
    assert front.best(1e3).id in (tmp_path / "report.html").read_text()
