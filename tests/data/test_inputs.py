"""One picture as a network sees it: the same by Pillow as by the pipeline of evaluations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pictures import BAD, SETTINGS, encoded, picture
from PIL import Image

from compofa_tf.data import load
from compofa_tf.data.inputs import described, eval_geometry, input_of
from compofa_tf.errors import InputError


@pytest.mark.parametrize("resolution", [16, 56])
@pytest.mark.parametrize("normalization", ["symmetric", "imagenet"])
def test_pillow_and_the_pipeline_give_the_same_input(tmp_path, resolution, normalization):
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = {
        "wide.png": encoded(picture(90, 70), "PNG"),
        "tall.jpg": encoded(picture(66, 120, seed=1), quality=95),
        "small.png": encoded(picture(40, 30, seed=2), "PNG"),
        "turned.jpg": encoded(picture(100, 80, seed=3), quality=95, exif=exif),
        "palette.gif": encoded(picture(70, 70, seed=4).quantize(64), "GIF"),
    }
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for name, content in contents.items():
        (tmp_path / "a" / name).write_bytes(content)
        (tmp_path / "b" / name).write_bytes(encoded(picture(9, 9, seed=len(content)), "PNG"))
    settings = dataclasses.replace(SETTINGS, normalization=normalization, val_fraction=0.5)
    data = load(f"folder:{tmp_path}", settings)
    ids = np.flatnonzero(data.images.labels == 0)
    data = dataclasses.replace(data, val_ids=ids)
    ((images, _),) = data.eval(resolution=resolution, batch_size=len(ids)).as_numpy_iterator()
    for i, image in zip(ids, images):
        name = data.images.names[i].partition("/")[2]
        found = input_of(contents[name], resolution=resolution, normalization=data.normalization)
        # Pillow rounds to whole levels after each direction; decoders of JPEG differ by some levels.
        assert np.abs(found - image).max() < (12 if name.endswith("jpg") else 3) / 255 / min(data.normalization.std)
        assert np.abs(found - image).mean() < 2 / 255 / min(data.normalization.std)


@pytest.mark.parametrize(("resolution", "small", "large"), [(28, 28, 32), (128, 128, 147), (224, 224, 256)])
def test_the_rule_is_written_down_as_it_is_applied(resolution, small, large):
    found = described(resolution, upright=True)
    assert list(found["shorter_side"].values()) == [small, large]
    for side, target in ((64, small), (65, large)):
        scales, _ = eval_geometry(np.asarray([side]), np.asarray([2 * side]), resolution)
        assert round(float(scales[0, 0]) * side) == target
    assert f"central {resolution} x {resolution} px" in found["crop"]
    assert "EXIF ignored" in described(resolution, upright=False)["orientation"]


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_says_why(name):
    from compofa_tf.normalization import Normalization

    with pytest.raises(InputError):
        input_of(BAD[name], resolution=8, normalization=Normalization.named("symmetric"))
