"""The result does not depend on what lies beside you, what others configured, or what your terminal can show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

HERE = Path(__file__).parent
PATHS = os.pathsep.join((str(HERE.parent), str(HERE)))
COMPOFA = (sys.executable, "-m", "compofa_tf")


def run(*words, **options):
    environment = {**os.environ, "PYTHONPATH": PATHS, **options.pop("env", {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    options = {"capture_output": True, "text": True, "check": False, **options}
    return subprocess.run([*map(str, words)], env=environment, **options)


NETWORK = """
import numpy as np
import compofa_tf as ct
from tiny import tiny_space
space = tiny_space(classes=4)
net = ct.Supernet(space, seed=1)
arch = space.largest(16)
images = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)).astype(np.float32)
model = ct.extract(net, arch, calibrate_on=images)
artifact = ct.export_tflite(model, "m.tflite", precision="int8", calibrate_on=images)
logits = np.asarray(net(images, arch))
assert logits.dtype == np.float32
np.savez("found.npz", logits=logits, extracted=np.asarray(model(images)))
print(artifact.record["sha256"])
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the script does where nobody configured anything."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(sys.executable, "-c", NETWORK, cwd=folder, env={"KERAS_HOME": str(folder)})
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"image_data_format": "channels_first"},
        {"floatx": "float16", "backend": "jax"},
        {"dtype_policy": "mixed_float16"},
    ],
    ids=lambda settings: ",".join(settings.values()),
)
def test_keras_settings_of_others_change_nothing(settings, undisturbed, tmp_path):
    import numpy as np

    (tmp_path / "keras.json").write_text(json.dumps(settings))
    policy = "import keras; keras.config.set_dtype_policy('mixed_float16')\n" if "dtype_policy" in settings else ""
    environment = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow" if policy else None}
    done = run(sys.executable, "-c", policy + NETWORK, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(undisturbed / "found.npz") as before, np.load(tmp_path / "found.npz") as found:
        for name in before.files:
            np.testing.assert_array_equal(found[name], before[name], err_msg=name)


def test_another_backend_is_one_sentence(tmp_path):
    code = "import compofa_tf as ct; ct.layers"
    done = run(sys.executable, "-c", code, cwd=tmp_path, env={"KERAS_BACKEND": "jax"})
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "set KERAS_BACKEND=tensorflow" in last and last.endswith("Keras backend jax")
    # The command line needs no setting.
    done = run(*COMPOFA, "recipes", cwd=tmp_path, env={"KERAS_BACKEND": "jax"})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_foreign_models_in_mixed_precision_are_exported(tmp_path):
    code = """
import keras, numpy as np
import compofa_tf as ct
keras.config.set_dtype_policy("mixed_float16")
x = inputs = keras.Input((16, 16, 3))
x = keras.layers.Conv2D(8, 3, activation="relu")(x)
x = keras.layers.BatchNormalization()(x)
outputs = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))
images = np.random.default_rng(0).uniform(-1, 1, (16, 16, 16, 3)).astype(np.float32)
for precision in ("float32", "int8"):
    record = ct.export_tflite(keras.Model(inputs, outputs), f"{precision}.tflite", precision=precision,
                              calibrate_on=images).record
    print(precision, record["agreement"]["mean_share_of_range"] < 0.05)
"""
    done = run(sys.executable, "-c", code, cwd=tmp_path, env={"KERAS_BACKEND": "tensorflow"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "float32 True" in done.stdout and "int8 True" in done.stdout


def test_modules_in_the_current_folder_are_not_run(tmp_path):
    """``compofa`` and what it starts take NumPy and the standard library from where they are installed."""
    (tmp_path / "numpy").mkdir()
    for name in ("random.py", "json.py", "numpy/__init__.py"):
        (tmp_path / name).write_text("raise SystemExit('foreign code')")
    script = Path(sys.executable).with_name("compofa")
    if not script.exists():
        pytest.skip("needs the installed command compofa beside this Python")
    done = run(script, "space", "--recipe", "demo", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs("bash")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ('"$0" -m compofa_tf recipes | head -n 1; exit ${PIPESTATUS[0]}', {0, 141}),
        ('"$0" -m compofa_tf recipes >&-', {0}),
        ('"$0" -m compofa_tf recipes 2>&-', {0}),
        ('"$0" -m compofa_tf recipes <&-', {0}),
        ('"$0" -m compofa_tf recipes <&- >&- 2>&-', {0}),
    ],
)
def test_pipes_that_break_and_streams_that_are_closed(command, code, tmp_path):
    done = run("bash", "-c", command, sys.executable, cwd=tmp_path)
    assert done.returncode in code and done.stderr == ""


def test_names_that_the_terminal_cannot_show(tmp_path):
    for name in ("café", "thé"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8), (i, 0, len(name))).save(tmp_path / "set" / name / f"{i}.png")
    plain = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": None}
    done = run(*COMPOFA, "data", "folder:set", cwd=tmp_path, env=plain)
    assert done.returncode == 0, done.stderr
    assert "caf\\xe9" in done.stdout


@pytest.mark.parametrize("name", ["two words", "it's", 'a "b"', "line\nbreak", "$HOME", "-dash"])
def test_work_directories_of_any_name(name, tmp_path):
    where = tmp_path / name
    done = run(*COMPOFA, "report", "--workdir", where, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("compofa: error: ")


def test_without_a_home(tmp_path):
    done = run(*COMPOFA, "data", "digits", cwd=tmp_path, env={"HOME": None, "COMPOFA_CACHE": None})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_named_like_a_recipe_is_no_recipe(tmp_path):
    (tmp_path / "demo").mkdir()
    done = run(*COMPOFA, "train", "--recipe", "demo", "--data", "folder:absent", cwd=tmp_path)
    assert done.returncode == 1 and "The data folder does not exist" in done.stderr
    done = run(*COMPOFA, "train", "--recipe", "./demo", cwd=tmp_path)
    assert done.returncode == 1 and "demo/recipe.json does not exist" in done.stderr


def test_files_are_written_and_read_where_there_is_no_fcntl(tmp_path):
    """As on Windows."""
    code = """
import sys
sys.modules["fcntl"] = None
import compofa_tf as ct
from compofa_tf.errors import InputError
from compofa_tf.locks import locked
from pathlib import Path
recipe = ct.recipes.get("demo")
with locked(Path("run/.locks/recipe.lock"), what="the recipe"):
    recipe.save("run/recipe.json")
    try:
        with locked(Path("run/.locks/recipe.lock"), what="the recipe"):
            print("twice")
    except InputError as error:
        print("refused" if "Another command" in str(error) else error)
assert ct.Recipe.load("run") == recipe
"""
    done = run(sys.executable, "-c", code, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
