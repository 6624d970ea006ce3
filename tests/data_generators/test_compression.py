"""Lossy masks and animations are known by their bytes, whatever their names."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from data_generators.files.tfrecord_index import ShardEntry
from data_generators.reading.compression import has_frames, is_lossy

PIXELS = np.random.default_rng(0).integers(0, 4, (32, 32), np.uint8)


def encoded(form, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert("L").save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data, lossy",
    [
        (encoded("JPEG"), True),
        (encoded("PNG"), False),
        (encoded("BMP"), False),
        (encoded("TIFF", compression="jpeg"), True),
        (encoded("TIFF", compression="tiff_lzw"), False),
        (encoded("WEBP"), True),
        (encoded("WEBP", lossless=True), False),
        (encoded("JPEG2000", irreversible=True, quality_layers=[20]), True),
        (encoded("JPEG2000", irreversible=False), False),
    ],
)
def test_lossy_compression(data, lossy, tmp_path):
    path = tmp_path / "mask.png"
    path.write_bytes(data)
    assert is_lossy(path) == lossy
    (tmp_path / "a.tfrec").write_bytes(b"before" + data)
    assert is_lossy(ShardEntry(str(tmp_path / "a.tfrec"), "mask.png", 6, len(data))) == lossy


def test_a_big_tiff_is_no_error(tmp_path):
    tifffile.imwrite(tmp_path / "mask.tif", PIXELS, bigtiff=True)
    assert not is_lossy(tmp_path / "mask.tif")


@pytest.mark.parametrize("form", ["PNG", "GIF", "WEBP"])
def test_animations(form):
    frames = [Image.fromarray(PIXELS * 80), Image.fromarray(255 - PIXELS * 80)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    assert has_frames(buffer.getvalue()) and not has_frames(encoded(form))
