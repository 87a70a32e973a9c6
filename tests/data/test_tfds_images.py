from __future__ import annotations

import dataclasses
import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds

from compofa_tf import data as ct_data
from compofa_tf.data import store
from compofa_tf.errors import InputError
from compofa_tf.recipes.settings import DataSettings

SETTINGS = DataSettings(val_fraction=0.25, max_bad_share=0.2)


class Base(tfds.core.GeneratorBasedBuilder):
    """A set of random pictures, 6 of each class and split."""

    VERSION = tfds.core.Version("1.0.0")
    SPLITS: tuple[str, ...] = ("train", "test")
    LABEL = tfds.features.ClassLabel(names=["ham", "eggs", "spam"])

    def _info(self):
        features = tfds.features.FeaturesDict(
            {"image": tfds.features.Image(encoding_format="png"), "id": tfds.features.Text(), "label": self.LABEL}
        )
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(i) for i, split in enumerate(self.SPLITS)}

    def _generate_examples(self, seed):
        rng = np.random.default_rng(seed)
        for i in range(18):
            shape = (20, 20 + i, 3)
            yield i, {"image": rng.integers(0, 256, shape, np.uint8), "id": f"{i}", "label": i % 3}


class CompofaBreakfast(Base):
    pass


class CompofaBreakfastOneSplit(Base):
    SPLITS = ("train",)


class CompofaBreakfastTestOnly(Base):
    SPLITS = ("test",)


class CompofaBreakfastUnlabelled(Base):
    LABEL = tfds.features.Scalar(np.int64)


class CompofaBreakfastCut(Base):
    failure: Exception | None = ConnectionError("Connection broken: IncompleteRead(512 bytes read)\nmore about it")

    def _split_generators(self, dl_manager):
        if self.failure:
            raise self.failure
        return super()._split_generators(dl_manager)


class CompofaBreakfastRemote(Base):
    url_infos = {"https://breakfast.invalid/all.zip": None}  # noqa: RUF012


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


def load(name: str, **changes) -> ct_data.Data:
    workdir = changes.pop("workdir", None)
    return ct_data.load(f"tfds:{name}", dataclasses.replace(SETTINGS, **changes), workdir=workdir)


def test_a_set_is_prepared_and_loaded_with_its_names_and_splits(data_dir):
    data = load("compofa_breakfast")
    assert (data.name, data.labels) == ("compofa_breakfast", ("ham", "eggs", "spam"))
    # What TFDS calls test judges and never chooses: some of the training images do that.
    assert (data.train_size, data.val_size, data.test_size, data.skipped) == (12, 6, 18, ())
    assert (data_dir / "compofa_breakfast" / "1.0.0").is_dir()
    (x, y), *_ = data.eval(resolution=20, batch_size=18, role="test").as_numpy_iterator()
    assert x.shape == (18, 20, 20, 3)
    assert y.dtype == np.int32
    # The images of the test split are square only where i = 0; its pixels arrive unchanged.
    first = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    assert any(np.allclose(image, data.normalization.apply(first), atol=1e-5) for image in x)


def test_two_loads_give_the_same_batches():
    arguments = {"batch_size": 8, "steps": 3, "resolutions": np.full(3, 16, np.int32), "seed": 0}
    pairs = zip(load("compofa_breakfast").train(**arguments), load("compofa_breakfast").train(**arguments))
    for (x, y), (u, v) in pairs:
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)


def test_a_set_without_validation_is_split():
    data = load("compofa_breakfast_one_split")
    assert (data.train_size, data.val_size) == (12, 6)
    np.testing.assert_array_equal(np.bincount(data.images.labels[data.val_ids]), [2, 2, 2])


def test_a_large_set_is_unpacked_once_into_the_work_directory(tmp_path, monkeypatch):
    held = load("compofa_breakfast")
    monkeypatch.setattr(store, "MEMORY_LIMIT_BYTES", 1000)
    with pytest.raises(InputError, match="unpacked into the work directory; give one"):
        load("compofa_breakfast")
    first = load("compofa_breakfast", workdir=tmp_path / "run")
    assert not first.images.in_memory
    written = sorted((tmp_path / "run" / "images").rglob("0*"))
    stamps = [path.stat().st_mtime_ns for path in written]
    assert len([path for path in written if path.is_file()]) == 36
    second = load("compofa_breakfast", workdir=tmp_path / "run")
    assert [path.stat().st_mtime_ns for path in written] == stamps
    for data in (first, second):
        np.testing.assert_array_equal(data.train_ids, held.train_ids)
        np.testing.assert_array_equal(data.images.labels, held.images.labels)
        for (x, y), (u, v) in zip(data.eval(resolution=9, batch_size=6), held.eval(resolution=9, batch_size=6)):
            np.testing.assert_array_equal(x, u)
            np.testing.assert_array_equal(y, v)
    with pytest.raises(InputError, match=r"holds images of compofa_breakfast/1\.0\.0; use another work directory"):
        load("compofa_breakfast_one_split", workdir=tmp_path / "run")


def refused(name: str, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        load(name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(f"Received: tfds:{name}")


def test_unknown_sets_and_sets_of_another_kind_are_refused():
    refused("compofa_brunch", "knows no set of that name")
    refused("compofa_breakfast_test_only", r"no train split, only \['test'\]")
    refused("compofa_breakfast_unlabelled", "not one of images with a class label each")


def test_an_interrupted_download_is_one_line_and_can_be_repeated(data_dir, monkeypatch):
    refused("compofa_breakfast_cut", r"could not be downloaded and prepared \(ConnectionError: Connection broken: Inc")
    assert not (data_dir / "compofa_breakfast_cut" / "1.0.0").exists()
    monkeypatch.setattr(CompofaBreakfastCut, "failure", ModuleNotFoundError("No module named 'scipy'"))
    refused("compofa_breakfast_cut", r"needs a Python package .*No module named 'scipy'\); install it")
    monkeypatch.setattr(CompofaBreakfastCut, "failure", None)
    assert load("compofa_breakfast_cut").train_size == 12


def test_no_network_is_said_at_once(monkeypatch):
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)

    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    refused("compofa_breakfast_remote", r"there is no network \(cannot find breakfast.invalid\)")
