"""Recipes: strict JSON, a stable hash, typed overrides, errors that help."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from compofa_tf import recipes
from compofa_tf.errors import InputError
from compofa_tf.recipes import fields, settings
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import (
    AccuracySettings,
    DataSettings,
    DeploySettings,
    LatencySettings,
    OptimizerSettings,
    PhaseSettings,
    SearchSettings,
    SpaceSettings,
    TeacherSettings,
)


def make(**changes) -> Recipe:
    parts = {
        "name": "test",
        "space": SpaceSettings(width_mult=0.25, input_size=32),
        "data": DataSettings(resolutions=(24, 32), batch_size=8),
        "teacher": TeacherSettings(epochs=1, learning_rate=1.0),
        "train": PhaseSettings(epochs=2, learning_rate=0.5, warmup_epochs=0.5),
        **changes,
    }
    return Recipe(**parts)


def test_json_round_trip_keeps_recipe_and_hash():
    recipe = make(
        shrink=(PhaseSettings(epochs=1, learning_rate=0.1, depths=(3, 4)),), search=SearchSettings(budgets_ms=(1.5, 2))
    )
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    assert again.hash == recipe.hash
    assert again.data.resolutions == (24, 32)


def test_hash_is_pinned_so_that_old_work_directories_stay_valid():
    assert make().hash == "120a42afa8eac002"


@pytest.mark.parametrize("setting", ["expands=4,6", "kernels=3", "sort_channels=0"])
def test_settings_that_were_added_later_count_where_they_are_set(setting):
    assert make().override([f"train.{setting}"]).hash != make().hash


def test_hash_does_not_depend_on_how_numbers_were_written():
    assert (
        make(optimizer=OptimizerSettings(weight_decay=0)).hash
        == make(optimizer=OptimizerSettings(weight_decay=0.0)).hash
    )
    assert make(data=DataSettings(resolutions=[24, 32], batch_size=8)).hash == make().hash


def test_hash_differs_for_every_setting():
    recipe = make(shrink=(PhaseSettings(epochs=1, learning_rate=0.1),))
    changes = ["seed=1", "name=other", "train.epochs=3", "shrink.0.kd_ratio=0.5", "data.flip=false", "deploy.tries=1"]
    assert len({recipe.hash, *(recipe.override([change]).hash for change in changes)}) == len(changes) + 1


@pytest.mark.parametrize(
    ("assignment", "get", "value"),
    [
        ("train.epochs=3", lambda r: r.train.epochs, 3),
        ("train.learning_rate=2", lambda r: r.train.learning_rate, 2.0),
        ("shrink.0.epochs=7", lambda r: r.shrink[0].epochs, 7),
        ("data.resolutions=24,28, 32", lambda r: r.data.resolutions, (24, 28, 32)),
        ("search.budgets_ms=1.5,2", lambda r: r.search.budgets_ms, (1.5, 2.0)),
        ("search.budgets_ms=", lambda r: r.search.budgets_ms, ()),
        ("deploy.precisions=int8", lambda r: r.deploy.precisions, ("int8",)),
        ("data.flip=False", lambda r: r.data.flip, False),
        ("data.source=folder:a=b", lambda r: r.data.source, "folder:a=b"),
        ("accuracy.images=100", lambda r: r.accuracy.images, 100),
        ("accuracy.images=none", lambda r: r.accuracy.images, None),
    ],
)
def test_override_reads_the_annotated_type(assignment, get, value):
    changed = make(shrink=(PhaseSettings(epochs=1, learning_rate=0.1),)).override([assignment])
    assert get(changed) == value
    assert type(get(changed)) is type(value)


def test_overrides_are_applied_together():
    changed = make().override(["latency.precisions=float32", "search.precision=float32"])
    assert changed.search.precision == "float32"
    with pytest.raises(InputError, match=r"search.precision must be one of latency.precisions"):
        make().override(["latency.precisions=float32"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epoch=3", r"did you mean train\.epochs.*Received: train\.epoch$"),
        ("epochs=3", r"did you mean teacher\.epochs or train\.epochs\?"),
        ("trian.epochs=3", r"train\.epochs"),
        ("train=3", r"did you mean train\.epochs or train\.learning_rate or"),
        ("shrink.0.epochs=3", r"no such setting"),
        ("nonsense=3", r"there are name, "),
        ("train.epochs", r"written key=value\. Received: 'train\.epochs'"),
        ("train.epochs=two", r"train\.epochs must be a whole number \(int\)\. Received: train\.epochs=two"),
        ("train.epochs=2.5", r"a whole number \(int\)"),
        ("train.learning_rate=fast", r"a finite number \(float\)"),
        ("train.learning_rate=inf", r"a finite number \(float\)"),
        ("data.flip=maybe", r"true or false \(bool\)"),
        ("data.resolutions=24,large", r"a comma-separated list of whole numbers \(int\)"),
        ("accuracy.images=few", r"a whole number \(int\) or none"),
        ("train.epochs=-1", r"epochs must be at least 0\. Received: epochs=-1"),
    ],
)
def test_override_errors_name_the_mend(assignment, message):
    with pytest.raises(InputError, match=message):
        make().override([assignment])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda j: j.update(epochs=3), r"no such setting; .*Received: epochs"),
        (lambda j: j["train"].update(epoch=3), r"did you mean train\.epochs.*Received: train\.epoch"),
        (lambda j: j.pop("space"), r"setting space is missing"),
        (lambda j: j["train"].pop("epochs"), r"setting train\.epochs is missing"),
        (lambda j: j["train"].update(epochs="3"), r"epochs must be a whole number \(int\)\. Received: epochs='3'"),
        (lambda j: j["train"].update(epochs=True), r"epochs must be a whole number"),
        (lambda j: j.update(data=[1]), r"data must be a mapping"),
        (lambda j: j.update(shrink=[{"epochs": 1}]), r"shrink\.0\.learning_rate is missing"),
    ],
)
def test_json_is_read_strictly(change, message):
    content = make().to_json()
    change(content)
    with pytest.raises(InputError, match=message):
        Recipe.from_json(content)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PhaseSettings(epochs=1, learning_rate=0), r"learning_rate must be greater than 0"),
        (
            lambda: PhaseSettings(epochs=1, learning_rate=1, warmup_epochs=2),
            r"warmup_epochs must be between 0 and epochs=1",
        ),
        (lambda: PhaseSettings(epochs=1, learning_rate=1, subnets=0), r"subnets must be at least 1"),
        (lambda: PhaseSettings(epochs=1, learning_rate=1, expands=(3, 0)), r"expands must be positive"),
        (lambda: PhaseSettings(epochs=1, learning_rate=1, kernels=(-3,)), r"kernels must be positive"),
        (lambda: PhaseSettings(epochs=1, learning_rate=1, sort_channels=-1), r"sort_channels must be at least 0"),
        (lambda: PhaseSettings(epochs=1, learning_rate=float("nan")), r"learning_rate must be a finite number"),
        (lambda: DataSettings(resolutions=()), r"resolutions must be one or more different sides"),
        (lambda: DataSettings(resolutions=(32, 32)), r"different sides"),
        (lambda: DataSettings(batch_size=0), r"batch_size must be at least 1"),
        (lambda: DataSettings(val_fraction=1.0), r"val_fraction must be in \(0, 1\)"),
        (lambda: OptimizerSettings(momentum=1.0), r"momentum must be in \[0, 1\)"),
        (lambda: AccuracySettings(images=0), r"images must be at least 1, or none for all"),
        (lambda: LatencySettings(threads=0), r"threads must be at least 1"),
        (lambda: SearchSettings(budgets_ms=(-1,)), r"budgets_ms must be positive"),
        (lambda: DeploySettings(precisions=("int4",)), r"precisions must be some of float32, float16, dynamic, int8"),
        (lambda: TeacherSettings(epochs=1, learning_rate=1, subnets=2), r"subnets must be 1 where the teacher"),
        (lambda: TeacherSettings(epochs=1, learning_rate=1, kd_ratio=1), r"kd_ratio must be 0 where the teacher"),
        (lambda: TeacherSettings(epochs=1, learning_rate=1, depths=(2,)), r"depths must be empty where the teacher"),
        (lambda: TeacherSettings(epochs=1, learning_rate=1, expands=(3,)), r"expands must be empty where the teacher"),
        (lambda: TeacherSettings(epochs=1, learning_rate=1, sort_channels=0), r"sort_channels must be None where"),
        (lambda: TeacherSettings(epochs=1, learning_rate=1, network="family"), r"network must be teacher\."),
        (lambda: PhaseSettings(epochs=1, learning_rate=1, network="student"), r"network must be family or teacher"),
        (
            lambda: PhaseSettings(epochs=1, learning_rate=1, subnets=1, kd_ratio=0, kernels=(7,), network="teacher"),
            r"kernels must be empty where the teacher, one whole network, is trained\. Received: kernels=\(7,\)",
        ),
        (lambda: make(teacher=PhaseSettings(epochs=1, learning_rate=1)), r"teacher must be a TeacherSettings"),
        (lambda: make(train=TeacherSettings(epochs=1, learning_rate=1)), r"train must be a PhaseSettings"),
        (lambda: make(teacher=TeacherSettings(epochs=0, learning_rate=1)), r"needs a trained teacher"),
        (
            lambda: make(
                shrink=(PhaseSettings(epochs=1, learning_rate=1),),
                train=PhaseSettings(epochs=1, learning_rate=1, subnets=1, kd_ratio=0, network="teacher"),
            ),
            r"teacher is trained before the family.*Received: network='teacher' in teacher, train",
        ),
    ],
)
def test_the_impossible_is_rejected(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_phases_come_in_order_without_empty_ones():
    empty, some = PhaseSettings(epochs=0, learning_rate=1), PhaseSettings(epochs=1, learning_rate=1)
    assert [name for name, _ in make(shrink=(some, empty, some)).phases] == ["teacher", "shrink.0", "shrink.2", "train"]


TEACHER_TWICE = PhaseSettings(epochs=1, learning_rate=1, subnets=1, kd_ratio=0, network="teacher")


def test_what_a_phase_trains_is_a_setting():
    """Left out of the JSON form where it is the usual network."""
    recipe = make(shrink=(TEACHER_TWICE,))
    assert [phase.network for _, phase in recipe.phases] == ["teacher", "teacher", "family"]
    content = recipe.to_json()
    parts = (*content["shrink"], content["teacher"], content["train"])
    assert [part.get("network") for part in parts] == ["teacher", None, None]
    assert Recipe.from_json(content) == recipe


def test_kernels_of_the_teacher_are_its_size_and_those_of_a_phase_are_limits():
    changed = make().override(["teacher.kernels=7"])
    assert changed.teacher.kernels == (7,)
    assert changed.to_json()["teacher"]["kernels"] == [7]
    assert changed.teacher.limits == {"depths": (), "expands": ()}
    assert changed.override(["train.kernels=3,5"]).train.limits == {"depths": (), "expands": (), "kernels": (3, 5)}


OUTSIDE_TRAINING = (
    "name", "data.source", "data.max_bad_share", "data.cache",
    "accuracy.", "latency.", "search.", "deploy.",
)  # fmt: skip


def other_value(key, value):
    known = {"space.family": "resnet50", "space.kernel": "elastic", "space.coupling": "independent"}
    known |= {"space.profile": "edgetpu", "data.normalization": "imagenet", "search.precision": "float32"}
    known |= {"space.strides": "1,1,2,2,1,2", "space.widths": "1.0", "data.source": "folder:elsewhere"}
    known |= {
        "data.layout": "splits",
        "data.group_by": "folder",
        "accuracy.images": "10",
        "deploy.precisions": "int8",
        "deploy.io": "uint8",
        "search.objective": "balanced",
        "deploy.scores": "logits",
        "latency.precisions": "int8",
    }
    if key.endswith(("sort_channels", "kernels", "expands", "depths")):
        return "3"
    if key in known:
        return known[key]
    if isinstance(value, bool):
        return str(not value).lower()
    if isinstance(value, tuple):
        return "40"
    return f"{value / 2 if isinstance(value, float) and value else 0.5}" if isinstance(value, float) else f"{value}1"


def test_the_training_hash_differs_for_every_setting_that_decides_the_weights_and_for_no_other():
    """Every setting there is; those of which a value contradicts the others are changed together with them."""
    recipe, decided = make(shrink=(PhaseSettings(epochs=1, learning_rate=0.1),)), set()
    fixed = ("teacher.subnets", "teacher.kd_ratio", "teacher.network", "train.network", "shrink.0.network")
    fixed += ("teacher.depths", "teacher.expands", "teacher.sort_channels")
    for key, _, value in fields.leaves(recipe):
        if key in fixed:
            continue
        changed = recipe.override([f"{key}={other_value(key, value)}"])
        assert changed.hash != recipe.hash, key
        outside = key.startswith(OUTSIDE_TRAINING)
        assert (changed.training_hash == recipe.training_hash) == outside, key
        assert len(recipe.differences(changed)) == 1
        assert recipe.differences(changed, of_training=True) == ([] if outside else recipe.differences(changed))
        decided.add(key.partition(".")[0])
    assert decided == {field.name for field in dataclasses.fields(Recipe)}


def test_training_hash_is_pinned_so_that_weights_keep_their_owner():
    assert make().training_hash == "f8aae2c81d2a35d5"
    assert make(shrink=(TEACHER_TWICE,)).training_hash != make().training_hash


def test_a_recipe_shows_itself_as_a_table():
    recipe = make(shrink=(PhaseSettings(epochs=1, learning_rate=0.1, depths=(3, 4)),), search=SearchSettings((1.5, 2)))
    assert repr(recipe) == f"<Recipe test {recipe.hash}>"
    lines = str(recipe).splitlines()
    assert lines[0] == f"test, recipe {recipe.hash}, seed 0"
    assert [line.split() for line in lines[1:5]] == [
        ["phase", "network", "epochs", "learning_rate", "warmup_epochs", "subnets", "kd_ratio", "depths"],
        ["teacher", "teacher", "1", "1", "0", "1", "0"],
        ["shrink.0", "family", "1", "0.1", "0", "4", "1", "3,4"],
        ["train", "family", "2", "0.5", "0.5", "4", "1"],
    ]
    assert "space      family=mobilenet_v3 width_mult=0.25 kernel=fixed" in lines[5]
    assert "search     budgets_ms=1.5,2 precision=int8 objective=top1" in lines
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("name", recipes.names())
def test_what_a_recipe_shows_can_be_set(name):
    recipe, assignments, part = recipes.get(name), [], ""
    for line in str(recipe).splitlines()[2 + len(recipe.phases) :]:
        words = line.split()
        part = part if line.startswith(" ") else words.pop(0)
        assignments += [f"{part}.{word}" for word in words]
    assert len(assignments) >= 25
    changed = recipe.override(assignments)
    assert {difference.partition(":")[0] for difference in recipe.differences(changed)} <= {"data.brightness"}


def test_differences_name_the_settings():
    changed = make().override(["train.epochs=3", "seed=4"])
    assert make().differences(changed) == ["train.epochs: 2 and 3", "seed: 0 and 4"]
    assert make().differences(make()) == []


def test_save_and_load(tmp_path):
    make().save(tmp_path / "recipe.json")
    assert Recipe.load(tmp_path) == make()
    (tmp_path / "recipe.json").write_text('{"kind": "rec')
    with pytest.raises(InputError, match="truncated"):
        Recipe.load(tmp_path)


def test_no_settings_class_has_more_than_a_dozen_fields():
    """But that of the data, whose settings are typed as ``data.NAME`` and would only get longer names in parts."""
    classes = [value for name, value in vars(settings).items() if name.endswith("Settings")] + [Recipe]
    assert len(classes) == 10
    assert max(len(dataclasses.fields(cls)) for cls in classes if cls is not settings.DataSettings) <= 12
    assert len(dataclasses.fields(settings.DataSettings)) <= 15


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_complete(name):
    recipe = recipes.get(name)
    assert recipe.name == name
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.space.build(classes=7).classes == 7
    page = sys.modules[f"compofa_tf.recipes.library.{name}"].__doc__
    assert all(f"\n{entry}: " in page for entry in ("Paper", "Command", "Hardware", "Time", "Expected", "Last run"))
    assert recipes.describe(name) in page


def test_unknown_recipe_names_near_matches():
    assert {"demo", "cifar10", "small", "imagenet"} <= set(recipes.names())
    with pytest.raises(InputError, match=r"did you mean cifar10\?.*Received: recipe='cifar'"):
        recipes.get("cifar")
    with pytest.raises(InputError, match=r"there are cifar10, demo"):
        recipes.get("zzz")


def test_recipes_import_no_tensorflow():
    code = (
        "import sys; from compofa_tf import recipes; str(recipes.get('demo')); "
        "recipes.get('demo').space.build(classes=2); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
