"""``csv:FILE``: columns found by name, whatever is wrong named with its line."""

from __future__ import annotations

import pytest
from folder_cases import fill
from pictures import SETTINGS

from compofa_tf.data.survey import Survey
from compofa_tf.data.tables import list_csv
from compofa_tf.errors import InputError
from compofa_tf.recipes.settings import DataSettings


@pytest.fixture
def pictures(tmp_path):
    """Six pictures of two classes in one folder."""
    fill(tmp_path / "all", 0, 3)
    fill(tmp_path / "all", 1, 3, first=10)
    return tmp_path


def table(folder, text, **options):
    path = folder / "labels.csv"
    path.write_text(text, **{"encoding": "utf-8", **options})
    return path


ROWS = [f"all/p{i:03}.jpg" for i in (0, 1, 2, 10, 11, 12)]


def test_file_and_label_are_enough(pictures):
    path = table(pictures, "file,label\n" + "".join(f"{row},{'ab'[i // 3]}\n" for i, row in enumerate(ROWS)))
    survey = Survey.of(f"csv:{path}", DataSettings(val_fraction=0.34))
    assert survey.listing.classes == ("a", "b") and survey.listing.name == "labels"
    assert survey.counts.tolist() == [[2, 2], [1, 1], [0, 0]]
    assert survey.listing.reading == "a table with the columns file, label"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_split_and_group_may_be_there_under_other_names_in_any_order(pictures, delimiter):
    roles = ("Train", "training", "VALID", "train", "validation", "test")
    rows = [("Set", "CLASS", "extra", "Image", "group")]
    rows += [(roles[i], f"class {i // 3}", "x", f'"{row}"', f"g{i % 2}") for i, row in enumerate(ROWS)]
    listing = list_csv(table(pictures, "\ufeff" + "\n".join(delimiter.join(row) for row in rows)))
    assert listing.roles.tolist() == [0, 0, 1, 0, 1, 2] and listing.has_val
    assert listing.groups == ["g0", "g1"] * 3
    assert listing.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_missing_pictures_are_counted_and_named(pictures):
    text = "file,label\n" + "".join(f"{row},{'ab'[i // 3]}\n" for i, row in enumerate(ROWS)) + "all/gone.jpg,a\n"
    source = f"csv:{table(pictures, text)}"
    assert Survey.of(source, SETTINGS).unusable == (("all/gone.jpg", "the file is empty or may not be read"),)
    with pytest.raises(InputError, match=r"1 of 7 images \(14\.3%\).*all/gone\.jpg"):
        Survey.of(source, DataSettings(max_bad_share=0.1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("file,label\n", "has no rows"),
        ("file,price\nall/p000.jpg,3\n", "needs a column label; it has file, price"),
        ("name;label\nx;3\n", "needs a column file; it has name, label"),
        ("file,label\nall/p000.jpg,\n", "has no label in line 2"),
        ("file,label\nall/p000.jpg,a\n,b\n", "has no file in line 3"),
        ("file,label\nall/p000.jpg,a\nall/p000.jpg,b\n", "stands in lines 2 and 3"),
        ("file,label,split\nall/p000.jpg,a,trian\n", "'trian' in line 2 is no split"),
        ("file,label\nall/p000.jpg,a\nall/p001.jpg,a\n", "one class only, 'a'"),
        ("file,label\nx/1.jpg,a\nx/2.jpg,b\n", "None of the pictures exists; .*relative to its own folder"),
    ],
)
def test_tables_that_are_none_are_refused(pictures, text, message):
    with pytest.raises(InputError, match=message) as caught:
        list_csv(table(pictures, text))
    assert str(caught.value).endswith("labels.csv") and "\n" not in str(caught.value)


def test_files_that_are_no_text_or_not_there(pictures):
    (pictures / "latin.csv").write_bytes("file,label\nx.jpg,caf\xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match="cannot be read as UTF-8"):
        list_csv(pictures / "latin.csv")
    with pytest.raises(InputError, match="does not exist"):
        list_csv(pictures / "gone.csv")
    with pytest.raises(InputError, match=r"for that table write csv:\S+latin\.csv"):
        Survey.of(str(pictures / "latin.csv"), SETTINGS)
