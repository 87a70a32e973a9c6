from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import BAD, all_labels, encoded, fill, load_folder, noise
from PIL import Image

from compofa_tf.data import checking, images, store
from compofa_tf.errors import InputError

GOOD = {
    "cmyk.jpg": encoded(noise().convert("CMYK")),
    "grey.jpg": encoded(noise().convert("L")),
    "alpha.png": encoded(noise().convert("RGBA"), "PNG"),
    "palette.png": encoded(noise().convert("P"), "PNG"),
    "bits.png": encoded(noise().convert("1"), "PNG"),
    "sixteen.png": encoded(Image.fromarray(np.arange(120, dtype=np.uint16).reshape(12, 10) * 500), "PNG"),
    "animated.png": encoded(noise(), "PNG", save_all=True, append_images=[noise(1)]),
    "gif.png": encoded(noise(), "GIF", save_all=True, append_images=[noise(1)]),
    "png.jpg": encoded(noise(), "PNG"),
    "webp.png": encoded(noise(), "WEBP", save_all=True, append_images=[noise(1)]),
    "scan.tiff": encoded(noise(), "TIFF"),
}


@pytest.mark.parametrize("cache", [True, False])
def test_unusual_images_are_read_as_rgb(root, cache):
    for name, content in GOOD.items():
        (root / "cat" / name).write_bytes(content)
    data = load_folder(root, cache=cache)
    assert data.skipped == ()
    assert data.train_size + data.val_size == 24 + len(GOOD)
    both = np.concatenate([data.train_ids, data.val_ids])
    resolutions = np.full(8, 10, np.int32)
    for x, _ in data.train(batch_size=8, steps=8, resolutions=resolutions, seed=0).as_numpy_iterator():
        assert x.shape == (8, 10, 10, 3)
        assert np.isfinite(x).all()
    assert len(both) == len(set(both))


@pytest.mark.parametrize("name", ["cmyk.jpg", "sixteen.png", "alpha.png", "gif.png", "grey.jpg"])
def test_the_decoder_agrees_with_pillow(name):
    image = Image.open(io.BytesIO(GOOD[name]))
    if image.mode.startswith("I"):
        expected = np.repeat((np.asarray(image) >> 8)[..., None], 3, axis=2)
    else:
        expected = np.asarray(image.convert("RGB"))
    # Up to 6 levels of 255 between the two JPEG decoders; the other formats are exact.
    difference = np.abs(images.decode(GOOD[name]).numpy().astype(int) - expected)
    assert difference.max() <= (6 if name.endswith("jpg") else 0)


@pytest.mark.parametrize("cache", [True, False])
def test_undecodable_images_are_counted_named_and_skipped(root, cache, tmp_path):
    for name, content in BAD.items():
        (root / "cat" / name).write_bytes(content)
    (root / "cat" / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    data = load_folder(root, cache=cache)
    assert [name for name, _ in data.skipped] == sorted(f"cat/{name}" for name in [*BAD, "dangling.jpg"])
    assert all(reason and "\n" not in reason for _, reason in data.skipped)
    assert (data.train_size, data.val_size) == (18, 6)
    resolutions = np.full(6, 9, np.int32)
    total = sum(len(y) for _, y in data.train(batch_size=6, steps=6, resolutions=resolutions, seed=0))
    assert total == 36
    assert len(all_labels(data.eval(resolution=9, batch_size=4))) == 6


def test_one_bad_image_among_many_good_batches_is_found(tmp_path):
    fill(tmp_path / "a", 70)
    fill(tmp_path / "b", 70)
    (tmp_path / "b" / "050.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    data = load_folder(tmp_path, max_bad_share=0.01)
    assert [name for name, _ in data.skipped] == ["b/050.jpg"]
    assert data.train_size + data.val_size == 139


def test_images_of_one_size_are_held_decoded_and_others_are_not(root):
    assert load_folder(root).images.pixels.shape == (24, 12, 3, 10)
    (root / "cat" / "other.png").write_bytes(encoded(noise(size=(9, 9)), "PNG"))
    mixed = load_folder(root).images
    assert mixed.pixels is None
    assert mixed.in_memory


def test_sets_above_the_memory_limit_are_read_from_disk(root, monkeypatch):
    held = load_folder(root)
    monkeypatch.setattr(store, "MEMORY_LIMIT_BYTES", 1000)
    streamed = load_folder(root)
    assert not streamed.images.in_memory
    assert streamed.images.pixels is None
    arguments = {"batch_size": 8, "steps": 2, "resolutions": np.full(2, 11, np.int32), "seed": 4}
    for (x, y), (u, v) in zip(held.train(**arguments), streamed.train(**arguments)):
        # Decoding a part of a JPEG smooths the colour at its border without knowing the neighbours.
        assert np.abs(x - u).mean() < 0.02
        np.testing.assert_array_equal(y, v)


def test_the_index_spares_the_second_scan_and_notices_changes(root, tmp_path, monkeypatch):
    (root / "cat" / "text.jpg").write_bytes(b"no picture")
    first = load_folder(root, workdir=tmp_path / "run")
    assert (tmp_path / "run" / "data_index.json").is_file()
    probed: list[int] = []
    real = checking._examined
    monkeypatch.setattr(checking, "_examined", lambda items: (probed.append(len(items)), real(items))[1])
    second = load_folder(root, workdir=tmp_path / "run")
    assert second.skipped == first.skipped
    np.testing.assert_array_equal(second.images.heights, first.images.heights)
    np.testing.assert_array_equal(second.val_ids, first.val_ids)
    (root / "cat" / "text.jpg").write_bytes(encoded(noise(5)))
    assert load_folder(root, workdir=tmp_path / "run").skipped == ()
    assert probed == [0, 1]


def test_a_damaged_index_is_made_anew(root, tmp_path):
    (tmp_path / "data_index.json").write_text('{"kind": "data_ind')
    assert load_folder(root, workdir=tmp_path).train_size == 18
    assert (tmp_path / "data_index.json").read_text().endswith("}\n")


def test_the_index_of_another_folder_is_not_believed(root, tmp_path):
    load_folder(root, workdir=tmp_path / "run")
    twin = tmp_path / "twin"
    for path in root.rglob("*.jpg"):
        target = twin / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x" * path.stat().st_size)
        os.utime(target, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    with pytest.raises(InputError, match="24 of 24 images"):
        load_folder(twin, workdir=tmp_path / "run")


def test_names_that_are_not_utf8_or_very_long_are_read(root, tmp_path):
    odd = os.fsencode(root / "cat") + b"/caf\xe9.jpg"
    try:
        Path(os.fsdecode(odd)).write_bytes(encoded(noise(3)))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    Path(os.fsdecode(os.fsencode(root / "cat") + b"/bad\xff.jpg")).write_bytes(b"no picture")
    (root / "cat" / ("x" * 251 + ".jpg")).write_bytes(encoded(noise(4)))
    os.rename(root / "ant", os.fsencode(root) + b"/\xfcber")
    for cache in (True, False):
        data = load_folder(root, cache=cache, workdir=tmp_path / "run")
        assert data.labels == ("Bee", "\\xfcber", "cat")
        assert data.train_size + data.val_size == 26
        assert [name for name, _ in data.skipped] == ["cat/bad\\xff.jpg"]
        assert len(all_labels(data.eval(resolution=8, batch_size=9))) == data.val_size
        str(data.skipped).encode("utf-8")
