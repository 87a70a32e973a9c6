"""Measuring a latency table: what is converted and timed, noise, interruption, and one real measurement."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from spaces import small_space

from compofa_tf import families
from compofa_tf.deploy import flatbuffer
from compofa_tf.deploy.ends import Ends
from compofa_tf.deploy.runtime import fully_accelerated
from compofa_tf.errors import InputError
from compofa_tf.latency import measuring
from compofa_tf.latency.devices.device import DECISIVE, DEVICES
from compofa_tf.latency.plan import MeasurementPlan, Procedure
from compofa_tf.latency.table import LatencyTable
from compofa_tf.latency.timings import Times
from compofa_tf.normalization import Normalization

SPACE = families.mobilenet_v3(width_mult=0.25, classes=10, input_size=32)
SCALE, OVERHEAD_MS = 1.15, 0.02


def piece_ms(key):
    return 0.1 + sum(key.encode()) % 997 / 997


def true_ms(name):
    """What the fake machine takes: wholes are a little slower than their pieces, which pay for each call."""
    if ":" in name:
        return piece_ms(name)
    pieces = SPACE.pieces(SPACE.parse(name))
    return SCALE * sum(piece_ms(piece.key) for piece in pieces) - (len(pieces) - 1) * OVERHEAD_MS


class FakeMachine:
    """A device that also stands in for conversion; a "model" is a file with the name of what it would be."""

    name = "fake"

    def __init__(self):
        self.converted, self.calls = [], []
        self.busy_calls = 0
        self.fail_at_call = self.fail_at_conversion = None
        self.changed = {}

    def describe(self):
        return {"processor": "abacus", "runtime_version": "1", "delegate": "beads", "date": "noon", **self.changed}

    def convert(self, space, precision, item, path):
        if len(self.converted) == self.fail_at_conversion:
            raise KeyboardInterrupt
        self.converted.append(item.name)
        path.write_text(item.name)

    def time(self, models, *, threads, runs, warmup, rounds):
        if len(self.calls) == self.fail_at_call:
            raise KeyboardInterrupt
        names = [path.read_text() for path in models]
        self.calls.append(names)
        busy = len(self.calls) <= self.busy_calls
        slower = [1 + (0.5 * turn if busy else 0) for turn in range(rounds)]
        return [
            Times.of([[true_ms(name) * factor] * runs for factor in slower], fully_accelerated=True) for name in names
        ]


@pytest.fixture
def machine(monkeypatch):
    fake = FakeMachine()
    monkeypatch.setattr(measuring, "_convert", fake.convert)
    monkeypatch.setitem(DEVICES, "fake", lambda: fake)
    return fake


def measure(**arguments):
    values = {
        "device": "fake",
        "resolutions": (32,),
        "fit": 4,
        "validate": 5,
        "runs": 20,
        "repeats": 2,
        "progress": False,
    }
    return LatencyTable.measure(SPACE, **{**values, **arguments})


def test_everything_is_converted_once_and_visited_until_it_has_its_runs(machine):
    table = measure(runs=60)
    assert len(machine.converted) == len(set(machine.converted)) == 17 + 4 + 5
    assert [sorted(names) for names in machine.calls] == [sorted(machine.converted)] * 3  # visits of 50, 50 and 20 runs
    assert machine.calls[0] != machine.calls[1]  # another order in every visit
    assert set(table.entries) == set(MeasurementPlan.of(SPACE, resolutions=(32,)).pieces)
    assert {(t.runs, len(t.turn_ms)) for t in (*table.entries.values(), *table.subnets.values())} == {(120, 24)}
    assert (table.precision, table.threads, table.device) == ("int8", 1, "fake")
    assert table.conditions == machine.describe() and not table.noisy


def test_correction_is_found_and_validated_on_others(machine):
    table = measure()
    assert (table.correction.scale, table.correction.overhead_ms) == pytest.approx((SCALE, OVERHEAD_MS))
    assert len(table.fitted) == 4 and len(table.validation.checks) == 5
    assert table.validation.worst_error_percent < 1e-6 and table.validation.spearman == pytest.approx(1)
    assert table.predict(SPACE.arch(depths=3, resolution=32)) == pytest.approx(true_ms("r32-d33333"))


def test_without_whole_subnets_predictions_are_sums(machine):
    table = measure(fit=0, validate=0)
    assert len(machine.converted) == 17 and table.validation is None
    arch = SPACE.smallest(32)
    assert table.predict(arch) == pytest.approx(sum(piece_ms(piece.key) for piece in SPACE.pieces(arch)))


def test_few_runs_are_one_turn(machine):
    table = measure(runs=3, repeats=1, validate=0)
    assert {(t.runs, len(t.turn_ms)) for t in table.entries.values()} == {(3, 1)}


def test_busy_machine_is_given_more_runs_until_it_is_calm(machine):
    machine.busy_calls = 2
    table = measure(runs=50, repeats=3)
    assert len(machine.calls) == 4 and not table.noisy  # calm once most turns are
    assert len(set(map(len, machine.calls))) == 1
    assert table.runs == 150 and {t.runs for t in table.entries.values()} == {200}


def test_noise_that_stays_is_marked_and_told(machine, capsys):
    machine.busy_calls = 99
    table = measure(runs=50, repeats=3, progress=True)
    assert len(machine.calls) == 6 and len(table.noisy) == 26
    assert all(timing.noisy for timing in table.entries.values())
    assert "The machine was busy: 26 of 26 latencies" in capsys.readouterr().out


def test_progress_names_the_work_and_the_result(machine, capsys):
    measure(progress=True)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[0].startswith("Latency of 17 pieces and 9 whole subnets at 32 px, int8, 1 thread(s): converting 22")
    assert said[1].startswith("Predictions, int8: 5 whole subnets measured: mean absolute error 0.00 %")
    measure()
    assert capsys.readouterr().out == ""


def test_large_tables_are_timed_in_portions(machine, monkeypatch):
    monkeypatch.setattr(measuring, "_MOST_MODELS", 10)
    table = measure(repeats=1)
    assert [len(names) for names in machine.calls] == [10, 10, 6] and len(table.entries) == 17
    monkeypatch.setattr(measuring, "_MOST_BYTES", 1)
    machine.calls.clear()
    measure(repeats=1)
    assert [len(names) for names in machine.calls] == [1] * 26


def test_a_finished_table_is_not_measured_again(machine, tmp_path):
    path = tmp_path / "latency" / "t.json"
    first = measure(path=path)
    assert [entry.name for entry in path.parent.iterdir()] == ["t.json"]
    machine.converted.clear()
    machine.calls.clear()
    again = measure(path=path)
    assert machine.converted == machine.calls == []
    assert again.to_json()["entries"] == first.to_json()["entries"]
    assert LatencyTable.load(path, space=SPACE).to_json() == again.to_json()


def test_interrupted_while_converting(machine, tmp_path):
    machine.fail_at_conversion = 9
    with pytest.raises(KeyboardInterrupt):
        measure(path=tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()
    before, machine.fail_at_conversion = list(machine.converted), None
    measure(path=tmp_path / "t.json")
    assert machine.converted[: len(before)] == before and len(machine.converted) == len(set(machine.converted)) == 26
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.json"]


def test_interrupted_while_timing(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "_MOST_MODELS", 10)
    machine.fail_at_call = 4  # of 3 portions per visit: in the second
    with pytest.raises(KeyboardInterrupt):
        measure(runs=50, path=tmp_path / "t.json")
    kept = LatencyTable.load(tmp_path / "t.json", space=SPACE)
    assert sorted({t.runs for t in (*kept.entries.values(), *kept.subnets.values())}) == [50, 100]
    machine.fail_at_call = None
    machine.calls.clear()
    table = measure(runs=50, path=tmp_path / "t.json")
    assert sum(map(len, machine.calls)) == 16 and len(machine.converted) == 26
    assert {t.runs for t in (*table.entries.values(), *table.subnets.values())} == {100}


def test_what_is_known_is_left_out(machine):
    """The generator needs no table: what it found goes on as what is known."""
    plan = MeasurementPlan.of(SPACE, resolutions=(32,), fit=2)
    procedure = Procedure("int8", threads=1, runs=70, warmup=0)
    visits = list(measuring.measure(plan, procedure, machine, known={}, progress=False))
    assert [len(visit) for visit in visits] == [19, 19] and [visit[0].timing.runs for visit in visits] == [50, 20]
    assert {found.name for found in visits[0] if found.whole} == {SPACE.id(arch) for arch in plan.fit}
    known = {found.name: found.timing for found in visits[0]}
    again = list(measuring.measure(plan, procedure, machine, known=known, progress=False))
    assert [len(visit) for visit in again] == [19] and {found.timing.runs for found in again[0]} == {20}
    known |= {found.name: known[found.name].continued_by(found.timing) for found in again[0]}
    assert not list(measuring.measure(plan, procedure, machine, known=known, progress=False))


def test_more_is_added_to_a_table(machine, tmp_path):
    path = tmp_path / "t.json"
    measure(path=path, recipe_hash="old")
    machine.converted.clear()
    table = measure(path=path, resolutions=(24,), recipe_hash="new")
    assert table.resolutions == (24, 32) and len(table.entries) == 34 and table.recipe_hash == "new"
    assert table.covers(SPACE.smallest(32)) and table.covers(SPACE.smallest(24))
    assert not any(name.startswith(("32x32", "r32")) for name in machine.converted)
    machine.calls.clear()
    table = measure(path=path, repeats=3)
    assert len(machine.calls) == 1 and len(machine.calls[0]) == 26
    assert table.runs == 60 and {t.runs for t in table.entries.values()} == {40, 60}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"threads": 2}, "threads=2 where the file has 1"),
        ({"precision": "float32"}, "precision='float32' where the file has 'int8'"),
        ({"warmup": 3}, "warmup=3 where the file has 10"),
    ],
)
def test_other_conditions_are_refused_and_nothing_is_lost(machine, tmp_path, changes, named):
    path = tmp_path / "t.json"
    measure(path=path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="measured under other conditions") as caught:
        measure(path=path, **changes)
    assert named in str(caught.value) and path.read_bytes() == before


@pytest.mark.parametrize("name", DECISIVE)
def test_another_machine_or_runtime_is_refused(machine, tmp_path, name):
    measure(path=tmp_path / "t.json")
    machine.changed = {name: "another"}
    with pytest.raises(InputError, match=f"{name}='another' where the file has"):
        measure(path=tmp_path / "t.json")


def test_damaged_and_foreign_tables_stay_as_they_are(machine, tmp_path):
    path = tmp_path / "t.json"
    path.write_text('{"kind": "latency_table", ')
    with pytest.raises(InputError, match="truncated"):
        measure(path=path)
    assert path.read_text() == '{"kind": "latency_table", '
    path.unlink()
    measure(path=path)
    content = json.loads(path.read_text())
    content["space"]["settings"]["width_mult"], content["fingerprint"] = 0.5, "f" * 16
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="of another space"):
        measure(path=path)
    assert machine.converted and path.read_text() == json.dumps(content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "int4"}, "precision must be one of"),
        ({"repeats": 0}, "repeats must be at least 1. Received: repeats=0"),
        ({"runs": 0}, "runs must be at least 1"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"device": "pixel6"}, "only device 'host'"),
        ({"resolutions": ()}, "needs resolutions"),
    ],
)
def test_bad_arguments(machine, arguments, message):
    with pytest.raises(InputError, match=message):
        measure(**arguments)
    assert machine.converted == []


def test_pieces_are_converted_as_final_models_are(tmp_path):
    space = small_space()
    stage = space.pieces(space.largest(16))[2]  # squeeze-and-excite, hard swish, shortcuts
    path = tmp_path / "piece.tflite"
    procedure = Procedure("int8", threads=1, runs=1, warmup=0)
    measuring._convert(space, procedure, measuring._Item(stage.key, stage), path)
    contents = flatbuffer.inspect(path)
    assert contents.is_fully_integer and "HARD_SWISH" not in contents.counts
    assert contents.inputs[0].shape == (1, stage.height, stage.width, stage.channels)
    assert contents.inputs[0].dtype == contents.outputs[0].dtype == "INT8"
    assert fully_accelerated(path.read_bytes())


@pytest.mark.parametrize("trained", [None, "imagenet"])
def test_whole_subnets_are_converted_with_the_ends_that_ship(tmp_path, trained):
    """Float32 with a softmax unless told otherwise, and a normalisation inside where clients know none per channel."""
    space = small_space()
    item = measuring._Item("whole", space.smallest(16))
    by = trained and Normalization.named(trained)
    for ends, first, last in (
        (None, "QUANTIZE", "SOFTMAX"),
        (Ends("uint8", "logits"), "QUANTIZE", "QUANTIZE"),
        (Ends("int8", "logits"), "PAD", "FULLY_CONNECTED"),
    ):
        if ends and ends.io == "uint8" and by is None:
            continue  # how pixels are normalised must be known
        procedure = Procedure("int8", threads=1, runs=1, warmup=0, ends=ends, trained=by)
        measuring._convert(space, procedure, item, path := tmp_path / measuring._file_name(space, procedure, item))
        names = [operator.name for operator in flatbuffer.inspect(path).operators]
        inside = by is not None and (ends is None or ends.io == "uint8")
        assert names[:2] == [first, "DEPTHWISE_CONV_2D"] if inside else names[0] == first, names
        assert names[-1] == last, names
    assert len(list(tmp_path.iterdir())) == (3 if by else 2)


def test_whole_subnets_are_measured_again_when_other_ends_ship(machine, tmp_path, capsys):
    """The pieces, which have no ends, are not."""
    path = tmp_path / "table.json"
    first = measure(path=path, fit=2)
    before = len(machine.converted)
    again = measure(path=path, fit=2, ends=Ends("int8", "logits"))
    assert "are measured again, with the ends of the files that ship now" in capsys.readouterr().out
    assert len(machine.converted) == before + len(first.subnets) and set(again.subnets) == set(first.subnets)
    assert again.ends == {"io": "int8", "scores": "logits", "trained": None} != first.ends
    assert LatencyTable.load(path).ends == again.ends


def test_random_weights_get_the_statistics_of_their_input():
    inputs = keras.Input((8, 8, 4))
    x = inputs
    for _ in range(6):  # with the initial statistics the signal would fade by about 20 per layer
        x = keras.layers.DepthwiseConv2D(3, depthwise_initializer=keras.initializers.RandomNormal(0, 0.02))(x)
        x = keras.layers.BatchNormalization()(keras.layers.ZeroPadding2D()(x))
    model = keras.Model(inputs, x)
    images = np.random.default_rng(0).standard_normal((8, 8, 8, 4)).astype(np.float32)
    measuring._settle(model, images)
    assert 0.3 < float(np.std(model(images, training=False))) < 3


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_real_measurement(tmp_path, monkeypatch, precision):
    monkeypatch.setitem(families._FAMILIES, "small", small_space)
    path = tmp_path / "t.json"
    table = LatencyTable.measure(
        small_space(), resolutions=(16,), precision=precision, fit=2, validate=2, runs=10, repeats=1, path=path
    )
    assert len(table.entries) == 6 and len(table.subnets) == 4
    assert all(0 < t.min_ms <= t.ms and t.fully_accelerated for t in table.entries.values())
    assert all(table.predict(arch) > 0 for arch in small_space().enumerate(resolutions=(16,)))
    again = LatencyTable.load(path, space=small_space())
    assert again.validation == table.validation and len(again.validation.checks) == 2
