"""One picture: what is found out about it by its content alone, and the form in which TensorFlow reads it."""

from __future__ import annotations

import dataclasses
import io
import warnings

import numpy as np
import pytest
from pictures import BAD, encoded, noise, picture
from PIL import Image

from compofa_tf.data import images, pictures
from compofa_tf.data.pictures import examine, prepare


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def turned(tag: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = tag
    return encoded(picture(30, 20), kind, exif=exif)


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_has_a_reason(name):
    found = examine(BAD[name])
    assert found.reason and not found.format and "\n" not in found.reason
    assert not found.direct


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"plain text", "no picture of a known format"),
        (BAD["truncated.jpg"], "cut off"),
        (BAD["truncated.png"], "cut off"),
        (BAD["heic.jpg"], "HEIC"),
        (BAD["numbers.tif"], "floating-point"),
    ],
)
def test_reasons_say_what_is_wrong(content, reason):
    assert reason in examine(content).reason


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_used_and_one_without_its_last_lines_is_not(progressive):
    whole = encoded(noise(size=(96, 64)), quality=92, progressive=progressive)
    assert examine(whole).direct and examine(whole + bytes(300)).direct
    for content in (whole[:-2], whole[:-1], whole + b"SEFT trailer of a phone"):
        found = examine(content)
        assert (found.reason, found.width, found.height, found.direct) == ("", 64, 96, False)
        made = prepare(content, side=96, upright=True)
        np.testing.assert_array_equal(images.decode(made).numpy(), images.decode(whole).numpy())
    for cut in (200, len(whole) // 2):
        assert examine(whole[:-cut]).reason == "the file is cut off"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_orientation_is_applied_once_and_only_where_it_is_wanted(kind, tag):
    content = turned(tag, kind)
    found = examine(content)
    expected = (20, 30) if tag > 4 else (30, 20)
    if kind == "TIFF":  # Pillow turns these while it reads
        assert (found.orientation, found.width, found.height) == (1, *expected)
    else:
        assert (found.orientation, found.width, found.height) == (tag, 30, 20)
    assert found.upright_size(upright=True) == expected
    assert opened(prepare(content, side=100, upright=True)).size == expected
    if kind == "JPEG":
        assert prepare(content, side=100, upright=False) == content + b"\xff\xd9"
        assert found.used_as_it_is(side=100, upright=False)
        assert found.used_as_it_is(side=100, upright=True) is (tag == 1)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP", "PPM", "JPEG2000"])
def test_forms_without_loss_keep_every_pixel(kind):
    image = picture(31, 20) if kind != "GIF" else picture(31, 20).quantize(64)
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    made = prepare(encoded(image, kind, **options), side=100, upright=True)
    assert opened(made).format == "PNG"
    np.testing.assert_array_equal(images.decode(made).numpy(), np.asarray(image.convert("RGB")))


def test_sixteen_bits_become_their_high_byte():
    wide = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    made = prepare(encoded(Image.fromarray(wide), "TIFF"), side=100, upright=True)
    np.testing.assert_array_equal(images.decode(made).numpy()[..., 0], wide >> 8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_twelve_bits_in_sixteen_are_no_dark_picture(kind):
    wide = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    content = encoded(Image.fromarray(wide), kind)
    assert not examine(content).direct
    made = prepare(content, side=100, upright=True)
    np.testing.assert_array_equal(images.decode(made).numpy()[..., 0], wide >> 4)
    np.testing.assert_array_equal(np.asarray(pictures.opened(content, upright=True))[..., 0], wide >> 4)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P"])
def test_large_pictures_become_smaller_and_look_the_same(mode):
    image = picture(1600, 1200)
    kind = "PNG" if mode in ("RGBA", "P") else "JPEG"
    content = encoded(image.convert(mode), kind)
    assert not examine(content).used_as_it_is(side=100, upright=True)
    made = opened(prepare(content, side=100, upright=True))
    assert (made.format, made.mode, made.size) == ("JPEG", "RGB", (133, 100))
    expected = opened(content).convert("RGB").resize((133, 100), Image.Resampling.BOX)
    assert np.abs(np.asarray(made).astype(int) - np.asarray(expected)).mean() < 2.5


def test_what_is_a_little_too_large_stays_as_it_is():
    found = dataclasses.replace(examine(encoded(noise())), width=150, height=400)
    assert found.used_as_it_is(side=100, upright=True)
    assert not dataclasses.replace(found, width=151).used_as_it_is(side=100, upright=True)


def test_a_panorama_and_a_picture_of_one_pixel():
    strip = Image.new("RGB", (5000, 120), (10, 200, 30))
    made = opened(prepare(encoded(strip), side=32, upright=True))
    assert made.size == (1333, 32)
    assert examine(encoded(Image.new("RGB", (1, 1)), "PNG")).direct


def test_pictures_above_the_limit_are_refused_by_their_size_and_no_limit_of_pillow_changes(monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PIXELS", 1_000_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    content = encoded(Image.new("RGB", (2000, 600)), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pictures.large_allowed():
            assert examine(content).reason == "2000 x 600 pixels are more than 1 megapixels; scale it down"
            assert "1 megapixels" in examine(encoded(Image.new("RGB", (2000, 1600)), "PNG")).reason
            assert examine(encoded(Image.new("RGB", (900, 900)), "PNG")).direct
    assert Image.MAX_IMAGE_PIXELS == 500


def test_content_decides_whether_two_pictures_are_the_same():
    one, other = encoded(noise(1), "PNG"), encoded(noise(2), "PNG")
    assert examine(one).digest == examine(one).digest != examine(other).digest
    assert examine(one).size == len(one)
