"""Every command of ``compofa`` keeps what CONTRIBUTING promises, and is in this table.

Its help has an example that parses. It says what it wrote, and names the command to give next, which parses too. Its
exit code is 0 only when the thing was done; otherwise there is one line on standard error, and no traceback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shlex
import shutil
from pathlib import Path

import pytest
import workdirs
from PIL import Image
from tiny import tiny_space

from compofa_tf import families
from compofa_tf.cli import main
from compofa_tf.pipeline.run import Run
from compofa_tf.published import networks
from compofa_tf.recipes.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Case:
    """How a command is tried.

    ``{run}`` stands for a run of a tiny family from weights to an exported model, ``{model}``; ``{weights}`` for one
    that is only trained, ``{new}`` for a folder that is not there, ``{checkpoint}`` for a PyTorch checkpoint.

    Attributes:
      words: What is typed.
      wrote: Files that must be there afterwards, new or written again; the folder of each is named, or it is itself.
      told: Something that must be said.
      next: The beginning of the command that comes next.
      fails: What is typed for a command that cannot be done.
      why: What the one line must say then.
      required: Words without which the command line does not parse, if any.
      slow: Whether it takes more than a few seconds.
    """

    words: str
    next: str
    wrote: tuple[str, ...] = ()
    told: str = ""
    fails: str = ""
    why: str = ""
    required: bool = False
    slow: bool = False


COMMANDS = {
    "benchmark": Case(
        "{model} --threads 1",
        "compofa report {run}",
        told=" ms",
        fails="{run}/models/absent.tflite",
        why="absent.tflite",
        required=True,
        slow=True,
    ),
    "classify": Case(
        "{model} {picture} --top 2",
        "compofa benchmark {model}",
        told="%",
        fails="{model} {picture}",
        why="m.tflite",
        required=True,
        slow=True,
    ),
    "data": Case(
        "digits --recipe demo",
        "compofa train --recipe demo --data digits",
        told="10 classes, 1,797 pictures",
        fails="folder:absent",
        why="does not exist",
        required=True,
    ),
    "demo": Case(
        "--smallest --workdir {new}",
        "compofa train --recipe small",
        wrote=("{new}/report.html",),
        fails="--workdir {run}/recipe.json",
        why="recipe.json",
        slow=True,
    ),
    "evaluate": Case(
        "{run} --arch r24-d11 --images 20 --per-class",
        "compofa report {run}",
        told="balanced accuracy",
        fails="{run} --arch r24-d99",
        why="r24-d99",
        slow=True,
    ),
    "export": Case(
        "{run} --overwrite --set deploy.precisions=int8",
        "compofa report {run}",
        wrote=("{model}", "{model}.json"),
        fails="{run}",
        why="--overwrite",
        slow=True,
    ),
    "extract": Case(
        "{run} --arch r24-d11",
        "compofa evaluate {run} --model {run}/models/r24-d11.keras",
        wrote=("{run}/models/r24-d11.keras", "{run}/models/r24-d11.keras.json"),
        fails="{run} --arch nonsense",
        why="nonsense",
        required=True,
        slow=True,
    ),
    "import-torch": Case(
        "{checkpoint} --workdir {new}",
        "compofa measure {new} --latency",
        wrote=("{new}/recipe.json", "{new}/supernet/supernet.json"),
        fails="{checkpoint} --workdir {run}",
        why="already holds a run",
        required=True,
        slow=True,
    ),
    "measure": Case(
        "{weights} --images 20",
        "compofa search {weights}",
        wrote=("{weights}/accuracy/val.json", "{weights}/latency/host-int8-t1.json"),
        fails="{weights} --limit 1 --sample 1",
        why="not both",
        slow=True,
    ),
    "recipes": Case("", "compofa train", told="demo "),
    "report": Case(
        "{run}",
        "compofa benchmark {run}/models/",
        wrote=("{run}/report.html",),
        fails="{new}",
        why="no such work directory",
    ),
    "search": Case(
        "{run} --overwrite",
        "compofa export {run}",
        wrote=("{run}/front.json",),
        told="subnets on the front",
        fails="{run}",
        why="front.json exists; pass --overwrite",
    ),
    "status": Case("{run}", "compofa report {run}", told="Training: ", fails="{new}", why="is not a work directory"),
    "space": Case("--recipe demo", "compofa train --recipe demo", told="subnets", fails="--recipe dema", why="demo"),
    "train": Case(
        "--recipe demo --workdir {new} --set teacher.epochs=0 --set teacher.warmup_epochs=0 --set train.epochs=1 --set "
        "train.kd_ratio=0 --set data.batch_size=700 --set data.resolutions=8 --set accuracy.resolutions=8",
        "compofa measure {new}",
        wrote=("{new}/recipe.json", "{new}/metrics.jsonl", "{new}/supernet/supernet.json"),
        fails="--recipe demo --workdir {new} --data folder:absent",
        why="does not exist",
        required=True,
        slow=True,
    ),
}

EVERY = pytest.mark.parametrize("name", COMMANDS)
DONE = [pytest.param(name, marks=[pytest.mark.slow] * case.slow) for name, case in COMMANDS.items()]
FAILING = [name for name, case in COMMANDS.items() if case.fails]


@pytest.fixture(scope="module", autouse=True)
def tiny_family():
    """A family of four subnets stands in for every other, except for the checkpoint of one that was published."""
    published, names_of = families.get, networks.of

    def get(name, **settings):
        return published(name, **settings) if settings.get("width_mult") == 0.25 else tiny_space(**settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "get", get)
        # Recognition asks for the published names of whatever a family returns.
        patch.setattr(networks, "of", lambda name: names_of("mobilenet_v3" if name == "tiny" else name))
        yield


@pytest.fixture(scope="module")
def searched(tmp_path_factory, tiny_family):
    """A run of untrained weights and made-up tables, with something that lies where models do."""
    path = tmp_path_factory.mktemp("searched") / "run"
    workdirs.with_weights(path)
    assert main.run(main.parse(["compofa", "search", str(path), "--budget-ms", "1000"])) == 0
    (path / "models").mkdir()
    (path / "models" / "m.tflite").write_text("no model")
    (path / "models" / "m.tflite.json").write_text("{}")
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory, searched):
    """The same with a model that was exported."""
    path = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(searched, path)
    words = ["compofa", "export", str(path), "--overwrite", "--set", "deploy.precisions=int8"]
    assert main.run(main.parse(words)) == 0
    return path


@pytest.fixture
def places(request, tmp_path):
    """What stands in the words of the table: copies, so that tests do not see each other."""
    slow = request.node.get_closest_marker("slow")
    run, weights = tmp_path / "run", tmp_path / "weights"
    shutil.copytree(request.getfixturevalue("exported" if slow else "searched"), run)
    shutil.copytree(run, weights, ignore=shutil.ignore_patterns("accuracy", "latency", "front*", "models"))
    (model,) = run.glob("models/*.tflite")
    new, checkpoint, picture = tmp_path / "new", tmp_path / "small.pth", tmp_path / "photo.png"
    Image.new("L", (8, 8), 200).save(picture)
    places = {"run": run, "model": model, "weights": weights, "new": new}
    return {**places, "checkpoint": checkpoint, "picture": picture}


def typed(name, words, places):
    return ["compofa", name, *shlex.split(words.format(**places))]


def files_in(places):
    found = [
        path for name in ("run", "weights", "new") for path in places[name].rglob("*") if ".locks" not in path.parts
    ]
    return {path: path.stat().st_mtime_ns for path in found if path.is_file()}


def help_of(*arguments):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as stopped:
        main.parse(["compofa", *arguments, "--help"])
    assert stopped.value.code == 0
    return text.getvalue()


def test_no_command_is_missing_from_the_table():
    listed = [line.split()[0] for line in help_of().splitlines() if line.startswith("    ") and line[4:5] != " "]
    assert sorted(listed) == sorted(COMMANDS)


@EVERY
def test_help_has_an_example_of_the_command_that_parses(name):
    text = help_of(name)
    example = next(line for line in text.splitlines() if line.startswith("Example: "))
    words = shlex.split(example.removeprefix("Example: "))
    assert words[:2] == ["compofa", name]
    assert callable(main.parse(words).command)


@pytest.mark.parametrize("name", DONE)
def test_says_what_it_wrote_and_what_comes_next(name, places, capsys):
    case = COMMANDS[name]
    if "{checkpoint}" in case.words:
        torch = pytest.importorskip("torch", reason="needs torch (the extra [torch])")
        from torch_checkpoints import small_state

        torch.save(small_state()[1], places["checkpoint"])
    before = files_in(places)
    assert main.run(main.parse(typed(name, case.words, places))) == 0
    said, complaints = capsys.readouterr()
    assert "Traceback" not in said + complaints and case.told in said
    wrote = [Path(path.format(**places)) for path in case.wrote]
    after = files_in(places)
    assert all(path in after and after[path] != before.get(path) for path in wrote)
    sentences = " ".join(line for line in said.splitlines() if line.startswith("Wrote "))
    assert all(str(path) in sentences or str(path.parent) in sentences for path in wrote)
    assert bool(sentences) is bool(wrote), "only what was written may be said to be"
    assert said.splitlines()[-1].startswith("Next: " + case.next.format(**places))
    words = shlex.split(said.splitlines()[-1].removeprefix("Next: "))
    assert callable(main.parse(words).command)


@pytest.mark.parametrize("name", FAILING)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(name, places, capsys):
    case = COMMANDS[name]
    places["checkpoint"].write_text("not looked at")
    before = files_in(places)
    assert main.run(main.parse(typed(name, case.fails, places))) == 1
    line, end, more = capsys.readouterr().err.partition("\n")
    assert line.startswith("compofa: error: ") and case.why in line
    assert (end, more) == ("\n", "")
    assert files_in(places) == before


@pytest.mark.parametrize(
    "name", [name for name, case in COMMANDS.items() if case.words.split()[:1] in (["{run}"], ["{weights}"])]
)
def test_a_folder_without_a_run_names_the_command_that_makes_one(name, places, capsys):
    words = typed(name, COMMANDS[name].words, {**places, "run": places["new"], "weights": places["new"]})
    assert main.run(main.parse(words)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "compofa train" in line or "compofa search" in line or "no such work directory" in line
    assert not places["new"].exists()


@EVERY
def test_required_arguments_are_asked_for(name, capsys):
    if not COMMANDS[name].required:
        assert callable(main.parse(["compofa", name]).command)
        return
    with pytest.raises(SystemExit) as stopped:
        main.parse(["compofa", name])
    assert stopped.value.code == 2
    assert "required" in capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_lead_from_one_to_the_next(tmp_path, capsys):
    """From the weights on, each line that a command ends with is typed as it stands, until the report is written.

    One wide budget: what a busy machine measures cannot break it.
    """
    path = tmp_path / "run"
    workdirs.with_weights(path)
    Recipe.load(path).override(["search.budgets_ms=1000"]).save(path / "recipe.json")
    for tables in ("accuracy", "latency"):
        shutil.rmtree(path / tables)
    command, done = Run(path).next_command, []
    while "report" not in done:
        words = shlex.split(command)
        done.append(words[1])
        assert main.run(main.parse(words)) == 0, command
        command = capsys.readouterr().out.splitlines()[-1].removeprefix("Next: ")
    assert done == ["measure", "search", "export", "report"]
    assert command.startswith(f"compofa benchmark {path}/models/")
