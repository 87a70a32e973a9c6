"""The data card: binding by class name, data that moved, data that is another one."""

from __future__ import annotations

import dataclasses
import os

import pytest
from folder_cases import classes, fill
from pictures import SETTINGS, all_labels, load_folder

from compofa_tf.data.card import KINDS_ON_DISK, DataCard, load_card, located, require_same_classes
from compofa_tf.data.sources import SOURCES
from compofa_tf.data.survey import Survey
from compofa_tf.errors import InputError


@pytest.fixture
def flowers(tmp_path):
    classes(tmp_path / "flowers", 8)
    return tmp_path / "flowers"


def card_of(root) -> DataCard:
    return Survey.of(f"folder:{root}", SETTINGS).card()


def test_a_card_says_what_the_set_was(flowers, tmp_path):
    card = card_of(flowers)
    assert card.classes == ("daisy", "rose", "tulip")
    assert card.counts == {"train": [6, 6, 6], "val": [2, 2, 2], "test": [0, 0, 0]}
    assert card.relative_to == os.getcwd()
    card.save(tmp_path / "data.json")
    assert load_card(tmp_path / "data.json") == card
    assert load_card(tmp_path / "none.json") is None


def test_the_same_set_elsewhere_is_the_same(flowers):
    card = card_of(flowers)
    moved = flowers.rename(flowers.parent / "moved")
    assert card.differences(card_of(moved)) == []


def test_what_differs_is_said(flowers):
    card = card_of(flowers)
    fill(flowers / "rose", 1, 4, first=50)
    assert card.differences(card_of(flowers)) == [
        "train pictures, before and now: rose 6 and 9",
        "val pictures, before and now: rose 2 and 3",
    ]
    for path in sorted((flowers / "rose").iterdir())[:4]:
        path.unlink()
    assert card.differences(card_of(flowers)) == ["names or sizes of pictures changed"]
    (flowers / "tulip").rename(flowers / "tulips")
    assert card.differences(card_of(flowers)) == ["classes that are gone: tulip", "classes that are new: tulips"]


def test_a_training_refuses_other_classes_and_takes_another_order():
    require_same_classes(("a", "b"), ("b", "a"), where="runs/x")
    with pytest.raises(
        InputError, match=r"run in runs/x began with \(classes that are gone: b; classes that are new: c\)"
    ):
        require_same_classes(("a", "b"), ("a", "c"), where="runs/x")


def test_labels_count_in_the_classes_of_the_network(flowers):
    said = []
    data = load_folder(flowers)
    assert data.bound_to(("daisy", "rose", "tulip"), log=said.append) is data and said == []
    bound = data.bound_to(("tulip", "daisy", "rose"), log=said.append)
    assert said == [] and bound.labels == ("tulip", "daisy", "rose")
    found, before = (all_labels(one.eval(resolution=8, batch_size=4)) for one in (bound, data))
    assert [bound.labels[i] for i in found] == [data.labels[i] for i in before]


def test_missing_classes_are_named_and_new_ones_left_out(flowers):
    said = []
    bound = load_folder(flowers).bound_to(("rose", "peony", "daisy"), log=said.append)
    assert said == [
        "Left out, for the network does not know them: tulip.",
        "Without any picture here, so that nothing is said of them: peony.",
    ]
    assert (bound.classes, bound.train_size, bound.val_size) == (3, 12, 4)
    assert set(all_labels(bound.eval(resolution=8, batch_size=4))) == {0, 2}
    with pytest.raises(InputError, match=r"none of the classes of the network \(iris\).*daisy, rose, tulip"):
        load_folder(flowers).bound_to(("iris",))


def test_a_relative_path_counts_from_where_it_was_given(flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert located("folder:flowers", None) == "folder:flowers"
    assert located("folder:flowers", "/elsewhere") == "folder:flowers"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert located("folder:flowers", str(tmp_path)) == f"folder:{flowers}"
    assert located(f"folder:{flowers}", "/elsewhere") == f"folder:{flowers}"
    assert {kind for kind, row in SOURCES.items() if row.form.endswith((":PATH", ":FILE"))} == set(KINDS_ON_DISK)
    for source in ("digits", "tfds:cifar10", "nonsense"):
        assert located(source, str(tmp_path)) == source


def test_a_card_at_another_place_is_of_the_same_data(flowers):
    card = card_of(flowers)
    assert dataclasses.replace(card.at("folder:x"), source=card.source) == card
