"""Files: whole or not at all, and JSON that says what it is."""

from __future__ import annotations

import hashlib
import json
import os
import stat

import pytest

from compofa_tf import files
from compofa_tf.errors import InputError


def test_atomic_write_replaces_the_file_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "folder" / "out.txt"
    with files.atomic_write(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".txt"
        temporary.write_text("first")
        assert not path.exists()
    with files.atomic_write(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert os.listdir(path.parent) == ["out.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_write_keeps_the_old_file_after_an_error(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("old")

    def write_half():
        with files.atomic_write(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_atomic_write_refuses_to_overwrite_when_told(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with (
        pytest.raises(InputError, match=r"out\.txt exists; pass --overwrite"),
        files.atomic_write(path, overwrite=False),
    ):
        pytest.fail("the block must not run")
    assert path.read_text() == "old"


def test_files_are_as_readable_as_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        with files.atomic_write(tmp_path / "out.txt") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == 0o640


def test_a_file_in_the_way_of_a_folder_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        files.write_json(tmp_path / "file" / "out.json", {}, kind="thing")


def test_json_round_trip_with_header(tmp_path):
    path = tmp_path / "thing.json"
    files.write_json(path, {"numbers": [1, 2.5], "name": "größer"}, kind="thing", recipe_hash="abc")
    content = files.read_json(path, kind="thing")
    assert (content["numbers"], content["name"]) == ([1, 2.5], "größer")
    assert (content["kind"], content["schema_version"], content["recipe_hash"]) == ("thing", 1, "abc")
    assert content["created"].endswith("+00:00")
    assert content["versions"] == files.versions()


def test_what_was_read_can_be_written_again_under_a_new_header(tmp_path):
    path = tmp_path / "thing.json"
    files.write_json(path, {"x": 1}, kind="thing", recipe_hash="old")
    files.write_json(path, files.read_json(path, kind="thing"), kind="other", recipe_hash="new")
    content = files.read_json(path, kind="other")
    assert (content["x"], content["recipe_hash"]) == (1, "new")


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}])
def test_what_json_cannot_hold_leaves_the_old_file(tmp_path, payload):
    path = tmp_path / "thing.json"
    files.write_json(path, {"x": 1}, kind="thing")
    with pytest.raises((ValueError, TypeError)):
        files.write_json(path, payload, kind="thing")
    assert files.read_json(path, kind="thing")["x"] == 1
    assert os.listdir(tmp_path) == ["thing.json"]


def test_every_truncation_is_an_input_error_that_names_the_file(tmp_path):
    path = tmp_path / "thing.json"
    files.write_json(path, {"x": [1, 2, {"y": "ä"}]}, kind="thing")
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"thing\.json is not readable as JSON .* truncated"):
            files.read_json(path, kind="thing")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "other", "schema_version": 1}, r"not a thing file. Received: kind='other'$"),
        ({"schema_version": 1}, r"not a thing file. Received: kind=None$"),
        ([1, 2], r"not a thing file. Received: kind=None$"),
        ({"kind": "thing", "schema_version": 2}, r"newer version of compofa_tf; .*Received: schema_version=2$"),
        ({"kind": "thing", "schema_version": "x"}, r"Received: schema_version='x'$"),
        ({"kind": "thing"}, r"Received: schema_version=None$"),
    ],
)
def test_foreign_files_are_refused(tmp_path, content, message):
    (tmp_path / "thing.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        files.read_json(tmp_path / "thing.json", kind="thing")


def test_binary_and_missing_files_are_refused(tmp_path):
    (tmp_path / "thing.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not readable as JSON"):
        files.read_json(tmp_path / "thing.json", kind="thing")
    with pytest.raises(InputError, match="does not exist; a latency table file was expected"):
        files.read_json(tmp_path / "none.json", kind="latency_table")


def test_sha256_of_a_file_longer_than_a_chunk(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "big").write_bytes(content)
    assert files.sha256(tmp_path / "big") == hashlib.sha256(content).hexdigest()


def test_versions_name_what_decides_numbers():
    found = files.versions()
    assert {"compofa_tf", "tensorflow", "keras", "numpy", "ai-edge-litert"} <= set(found)
    assert all(isinstance(version, str) and version[0].isdigit() for version in found.values())


def test_kinds_are_named_as_in_a_sentence(tmp_path):
    for kind, named in (("accuracy_table", "an accuracy table file"), ("front", "a front file")):
        with pytest.raises(InputError, match=f"{named} was expected there"):
            files.read_json(tmp_path / "none.json", kind=kind)
        files.write_json(tmp_path / "other.json", {}, kind="recipe")
        with pytest.raises(InputError, match=rf"is not {named}\. Received: kind='recipe'"):
            files.read_json(tmp_path / "other.json", kind=kind)
