"""Imported checkpoints through the command line: every stage after the import, and everything that must be refused."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
import workdirs
from torch_checkpoints import small_state, static_state

import compofa_tf as ct
from compofa_tf import families
from compofa_tf.cli import main
from compofa_tf.errors import InputError
from compofa_tf.pipeline.importing import import_checkpoint, labels_of, recipe_for
from compofa_tf.pipeline.run import Run
from compofa_tf.recipes.recipe import Recipe

torch = pytest.importorskip("torch", reason="needs torch (the extra [torch])")


def run(*words):
    return main.run(main.parse(["compofa", *map(str, words)]))


def refused(capsys, *words):
    """Runs a command that must fail with one line; returns that line."""
    capsys.readouterr()
    assert run(*words) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("compofa: error: ")
    return line


def photos(folder, count=12):
    """Pictures in folders that are no classes of anything."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(count):
        place = folder / ("a" if index % 3 else "b")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 60, 3), np.uint8)).save(place / f"{index}.png")
    return f"images:{folder}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "small.pth"
    torch.save({"state_dict": small_state()[1]}, path)
    return path


def test_an_imported_checkpoint_is_a_work_directory(tmp_path):
    """Named classes from a folder of images; then every command finds what a training would have left."""
    from PIL import Image

    for split, number in itertools.product(("train", "val"), range(10)):
        folder = tmp_path / "images" / split / f"class{number}"
        folder.mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (40, 40), (25 * number, 100 * index, 0)).save(folder / f"{index}.png")
    net, state = small_state()
    torch.save(state, tmp_path / "small.pth")
    data = f"folder:{tmp_path / 'images'}"
    names = [f"class{number}" for number in range(9, -1, -1)]  # not in the order of the folders
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n")
    labels = {"data": data, "labels": tmp_path / "labels.txt"}
    import_checkpoint(tmp_path / "small.pth", workdir=tmp_path / "run", **labels)
    workdir = Run(tmp_path / "run")
    assert workdir.space == net.space == workdir.recipe.space.build(classes=10)
    assert workdir.labels == names and workdir.data.labels == tuple(names)
    ((images, found),) = workdir.data.eval(resolution=32, batch_size=20).as_numpy_iterator()
    reds = np.round(workdir.data.normalization.to_json()["std"][0] * 255 * images[:, 0, 0, 0] + 0.485 * 255)
    np.testing.assert_array_equal(found, 9 - np.round(reds / 25).astype(int))
    assert workdir.normalization["name"] == "imagenet"
    again = ct.Supernet.load(tmp_path / "run").get_state()
    assert all(np.array_equal(value, again[name]) for name, value in net.get_state().items())
    with pytest.raises(InputError, match="already holds a run"):
        import_checkpoint(tmp_path / "small.pth", workdir=tmp_path / "run")
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / "images" / split / "class9")
    assert Run(tmp_path / "run").data.classes == 10  # one of them without pictures
    (tmp_path / "few.txt").write_text("a\nb\na\n")
    for words, message in (
        ({"data": data}, r"only numbers for names.*--labels FILE"),
        ({**labels, "labels": tmp_path / "few.txt"}, r"each of the checkpoint's 10 classes once.*3 names.*'a' twice"),
        ({**labels, "labels": tmp_path / "none.txt"}, "cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            import_checkpoint(tmp_path / "small.pth", workdir=tmp_path / "other", **words)
        assert not (tmp_path / "other").exists()
    (tmp_path / "ten.txt").write_text("\n".join("abcdefghij"))
    with pytest.raises(InputError, match=r"None of the data's classes is one of the checkpoint's \(a, b, c, "):
        import_checkpoint(tmp_path / "small.pth", workdir=tmp_path / "other", data=data, labels=tmp_path / "ten.txt")


def test_a_thousand_classes_are_those_of_imagenet():
    names = labels_of(families.mobilenet_v3(), None)
    assert (len(names), names[0], names[-1]) == (1000, "n01440764", "n15075141")
    assert names == sorted(names)


def test_importing_without_data_numbers_the_labels(checkpoint, tmp_path):
    assert run("import-torch", checkpoint, "--workdir", tmp_path / "run") == 0
    content = json.loads((tmp_path / "run" / "supernet" / "supernet.json").read_text())
    assert content["labels"] == [str(number) for number in range(10)]
    assert (content["imported_from"], content["only"]) == ("small.pth", None)
    assert content["training_hash"] == Recipe.load(tmp_path / "run").training_hash


def test_what_cannot_be_imported_leaves_nothing(tmp_path, capsys):
    (tmp_path / "x.pth").write_bytes(b"no checkpoint")
    line = refused(capsys, "import-torch", tmp_path / "x.pth", "--workdir", tmp_path / "run")
    assert "no PyTorch checkpoint" in line
    assert not (tmp_path / "run").exists()


def test_the_same_weights_as_every_kind_of_space(checkpoint, tmp_path):
    """The fixed kernels of a stage are the centres of the 7 x 7 ones in any of them."""
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3), np.float32)
    plain = ct.import_torch(checkpoint)
    arch = plain.space.arch(depths=(2, 3, 4, 2, 3), resolution=64)
    expected = np.asarray(plain(x, arch))
    for number, text in enumerate(
        ("coupling=independent", "kernel=elastic", "family=mobilenet_v3,kernel=elastic,coupling=independent")
    ):
        workdir = tmp_path / str(number)
        assert run("import-torch", checkpoint, "--workdir", workdir, "--space", text) == 0
        net = ct.Supernet.load(workdir)
        assert net.space == Run(workdir).recipe.space.build(classes=10)
        same = net.space.arch(depths=arch.depths, expands=arch.expands, kernels=arch.kernels, resolution=64)
        np.testing.assert_allclose(net(x, same), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_spaces_that_the_weights_do_not_fit(checkpoint, tmp_path, capsys):
    target = ("--workdir", tmp_path / "run")
    for text, message in (
        ("width_mult=1.0", "misshapen first_conv.conv.weight"),
        ("family=proxyless_nas,width_mult=0.25", "lacks blocks.21.*"),
        ("kernal=elastic", "did you mean kernel"),
        ("classes=12", "misshapen classifier"),
    ):
        line = refused(capsys, "import-torch", checkpoint, *target, "--space", text)
        assert message in line
        assert not (tmp_path / "run").exists()
    words = ("import-torch", checkpoint, *target, "--space", "kernel=fixed", "--kernel-matrices", "apply")
    assert "elastic kernels only" in refused(capsys, *words)


def test_checkpoints_that_are_refused(tmp_path, capsys):
    _, state = small_state()
    name = "blocks.3.mobile_inverted_conv.depth_conv.conv.weight"
    path = tmp_path / "x.pth"

    def saved(content):
        torch.save(content, path)
        return path.read_bytes()

    whole = saved(state)
    odd = {**state, "first_conv.conv.weight": torch.zeros(13, 3, 3, 3)}
    for content, message in (
        (whole[: len(whole) // 2], "truncated"),
        (b"", "truncated or no PyTorch checkpoint"),
        (b"no checkpoint", "no PyTorch checkpoint"),
        (saved({"a.weight": torch.zeros(2)}), "no known family"),
        (saved(odd), "misshapen first_conv.conv.weight"),
        (saved({**state, name: torch.full_like(state[name], float("nan"))}), "not finite"),
        (saved({**state, "first_conv.conv.conv.weight": torch.zeros(2)}), "two tensors for first_conv.conv.weight"),
    ):
        path.write_bytes(content)
        assert message in refused(capsys, "import-torch", path, "--workdir", tmp_path / "run")
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.pth"]


def test_images_without_classes_calibrate_and_measure_no_accuracy(checkpoint, tmp_path, capsys):
    source = photos(tmp_path / "photos")
    workdir = tmp_path / "run"
    assert run("import-torch", checkpoint, "--workdir", workdir, "--data", source) == 0
    assert Run(workdir).labels == [str(number) for number in range(10)]
    data = Run(workdir).data
    assert (data.classes, data.train_size, data.val_size, data.name) == (0, 12, 0, "photos")
    ((images, _),) = data.calibration(resolution=32, batch_size=16, count=100)
    assert images.shape == (12, 32, 32, 3)
    named = ("--workdir", workdir)
    for words in (("measure", *named), ("measure", *named, "--accuracy")):
        assert "has no classes" in refused(capsys, *words)
    assert "needs images with classes" in refused(capsys, "evaluate", *named, "--arch", "r64-d22222")
    assert "--accuracy` first." in refused(capsys, "search", *named)
    assert "1000 classes" in refused(capsys, "search", *named, "--accuracy", "published")
    assert not (workdir / "front.json").exists()
    with pytest.raises(InputError, match="Training needs images with classes"):
        ct.train(ct.recipes.get("small").override([f"data.source={source}"]), workdir=tmp_path / "trained")
    shutil.rmtree(tmp_path / "photos")
    other = ("import-torch", checkpoint, "--workdir", tmp_path / "other")
    assert "does not exist" in refused(capsys, *other, "--data", source)
    (tmp_path / "photos").mkdir()
    assert "holds no picture" in refused(capsys, *other, "--data", source)


SMALL = (
    "accuracy.resolutions=64",
    "latency.precisions=int8",
    "latency.repeats=1",
    "latency.runs=5",
    "latency.warmup=1",
    "latency.validate=0",
    "deploy.precisions=int8",
)


def settings(*more):
    return [word for setting in (*SMALL, *more) for word in ("--set", setting)]


@pytest.mark.slow
def test_from_checkpoint_to_int8_with_the_published_predictor(tmp_path):
    """The README's sequence on the full network with random weights, at one small resolution."""
    space = families.mobilenet_v3()
    ct.Supernet(space, seed=1).save(
        tmp_path / "run" / "supernet", labels=[], normalization={"mean": [0.5] * 3, "std": [0.25] * 3}
    )
    chosen = ["accuracy.resolutions=128", f"data.source={photos(tmp_path / 'photos')}", *SMALL[1:]]
    recipe_for(space).override(chosen).save(tmp_path / "run" / "recipe.json")
    workdir = Run(tmp_path / "run")
    for words in (
        ("measure", "--latency"),
        ("search", "--accuracy", "published", "--budget-ms", "1000"),
        ("export",),
        ("report",),
    ):
        assert run(words[0], "--workdir", workdir.path, *words[1:]) == 0
    (sidecar,) = workdir.models.glob("*.tflite.json")
    record = json.loads(sidecar.read_text())
    assert record["accuracy"] is None and "has no classes" in record["accuracy_not_measured"]
    assert set(record["float_accuracy"]) == {"predicted_top1", "predictor", "caveat"}
    assert record["within_budget"] is True and record["budget_device"] == "host"
    page = (workdir.path / "report.html").read_text()
    assert "accuracy not measured" in page and "predicted and not measured" in page
    assert (
        run("search", "--workdir", workdir.path, "--accuracy", "published", "--overwrite", "--budget-ms", "0.001") == 1
    )


@pytest.mark.slow
def test_a_sample_of_a_space_of_10_to_the_19_is_measured_and_searched(checkpoint, tmp_path, capsys):
    """Accuracies of a few subnets, then search, extraction and evaluation of one; how long blocks take is made up here.

    Measuring them is tried with the other families; the hundreds of this space would only take long.
    """
    from PIL import Image

    for number, index in itertools.product(range(10), range(2)):
        folder = tmp_path / "classes" / f"class{number}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (25 * number, 100 * index, 0)).save(folder / f"{index}.png")
    named = ("--workdir", tmp_path / "run")
    floats = ("latency.precisions=float32", "search.precision=float32", "deploy.precisions=float32")  # converted faster
    more = settings("accuracy.resolutions=32", "accuracy.calibration_images=10", *floats)
    space = ("--space", "coupling=independent,kernel=elastic")
    (tmp_path / "labels.txt").write_text("\n".join(f"class{number}" for number in range(10)))
    words = ("--data", f"folder:{tmp_path / 'classes'}", "--labels", tmp_path / "labels.txt", *space, *more)
    assert run("import-torch", checkpoint, *named, *words) == 0
    assert "--sample" in refused(capsys, "measure", *named, "--accuracy")
    assert run("measure", *named, "--accuracy", "--sample", "3") == 0
    content = json.loads((tmp_path / "run" / "accuracy" / "val.json").read_text())
    assert content["covered"] == {"measured": 3, "of": Run(tmp_path / "run").space.size}
    workdirs.with_made_up_latency(Run(tmp_path / "run"), list(content["records"]))
    assert run("search", *named, "--budget-ms", "1000") == 0
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    assert len(front["family"]["id"]) == 3 and front["chosen"][0]["id"] in content["records"]
    assert run("extract", *named, "--arch", front["chosen"][0]["id"]) == 0
    assert run("evaluate", *named, "--arch", front["chosen"][0]["id"]) == 0
    assert run("export", *named) == 0


@pytest.mark.slow
def test_an_extracted_subnet_is_measured_searched_and_exported_alone(reference, tmp_path, capsys):
    state, arch = static_state(reference)
    torch.save({"state_dict": state}, tmp_path / "static.pth")
    workdir = Run(tmp_path / "run")
    more = settings("accuracy.resolutions=64,96", "deploy.calibration_images=12")
    source = ("--data", photos(tmp_path / "photos"))
    assert run("import-torch", tmp_path / "static.pth", "--workdir", workdir.path, *source, *more) == 0
    assert workdir.archs == [arch.at(64), arch.at(96)]
    name, other = (workdir.space.id(a) for a in (arch.at(64), workdir.space.largest(64)))
    assert run("measure", "--workdir", workdir.path, "--latency") == 0
    assert run("extract", "--workdir", workdir.path, "--arch", name) == 0
    assert "Only one subnet has weights" in refused(capsys, "extract", "--workdir", workdir.path, "--arch", other)
    import keras

    x = np.random.default_rng(0).standard_normal((1, 64, 64, 3), np.float32)
    model = keras.models.load_model(workdir.models / f"{name}.keras")
    np.testing.assert_allclose(model(x), ct.Supernet.load(workdir.path)(x, arch.at(64)), rtol=1e-4, atol=1e-4)
