"""TIFF files of every form hold the values that were written; no format is read in part without an error."""

import io
import itertools
import random
from collections import Counter

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from data_generators.reading.decoding import read_image
from data_generators.reading.headers import read_whole_and_header
from data_generators.reading.masks import read_mask, read_values
from utils.base.errors import UserError

RNG = np.random.default_rng(0)
SMOOTH = cv2.normalize(
    cv2.GaussianBlur(RNG.integers(0, 256, (100, 128, 3), np.uint8), (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX
)


def write(path, pixels, *, planar=None, **options):
    """Write `(height, width, bands)` as TIFF."""
    bands = pixels.shape[2]
    stored = pixels[:, :, 0] if bands == 1 else np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
    planarconfig = None if bands == 1 else planar or "contig"
    options = {"photometric": "minisblack", "metadata": None} | options
    tifffile.imwrite(path, np.ascontiguousarray(stored), planarconfig=planarconfig, **options)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_the_grid_of_tiff(tmp_path, dtype, bands):
    kinds = (["contig", "separate"][: 1 + (bands > 1)], ["minisblack", "rgb"][: 1 + (bands > 2)])
    compressions = [(None, None), *itertools.product(["lzw", "deflate", "zstd"], [None, True]), ("packbits", None)]
    pixels = RNG.integers(0, 200, (21, 37, bands)).astype(dtype)
    value_range = None if dtype.startswith("u") else (0, 65535)
    for planar, photometric, (compression, predictor), tile, order in itertools.product(
        *kinds, compressions, [None, (16, 16)], "<>"
    ):
        options = {"compression": compression, "predictor": predictor, "byteorder": order, "photometric": photometric}
        options |= {"tile": tile} if tile else {"rowsperstrip": 4}
        path = write(tmp_path / "a.tif", pixels, planar=planar, **options)
        np.testing.assert_array_equal(read_image(path, bands, value_range), pixels, str((planar, options)))
        header = read_whole_and_header(path)[1]
        assert (header.height, header.width, header.has_palette) == (21, 37, False)


def test_bigtiff(tmp_path):
    pixels = RNG.integers(0, 255, (5, 6, 3), np.uint8)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.tif", pixels, bigtiff=True), 3), pixels)


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_a_fourth_band_changes_no_other(tmp_path, extra):
    pixels = RNG.integers(0, 255, (5, 6, 4), np.uint8)
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[extra])
    np.testing.assert_array_equal(read_image(path, 4), pixels)
    np.testing.assert_array_equal(read_image(path, 3), pixels[:, :, :3])


def test_bands_that_are_no_colours_are_not_dropped(tmp_path):
    pixels = RNG.integers(0, 255, (5, 6, 4), np.uint8)
    with pytest.raises(UserError, match=r"a\.tif: has 4 bands that are no colours, INPUT\.CHANNELS=3"):
        read_image(write(tmp_path / "a.tif", pixels), 3)
    with pytest.raises(UserError, match=r"a\.tif: has 2 channels, INPUT\.CHANNELS=3"):
        read_image(write(tmp_path / "a.tif", pixels[:, :, :2]), 3)


def test_palette_and_inverted_images(tmp_path):
    indices = RNG.integers(0, 3, (5, 6, 1)).astype(np.uint8)
    table = np.zeros((3, 256), np.uint16)
    table[:, :3] = [[0, 200 << 8, 0], [0, 0, 100 << 8], [0, 7 << 8, 0]]
    path = write(tmp_path / "a.tif", indices, photometric="palette", colormap=table)
    np.testing.assert_array_equal(read_image(path, 3), (table >> 8).T[indices[:, :, 0]])
    np.testing.assert_array_equal(read_values(path), indices[:, :, 0])
    inverted = write(tmp_path / "b.tif", indices, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(inverted, 1), 255 - indices)


def test_a_value_range(tmp_path):
    path = write(tmp_path / "a.tif", np.array([[[-2000], [-1000], [0], [3000]]], np.int16))
    assert read_image(path, 1, (-1000, 1000)).ravel().tolist() == [0, 0, 32768, 65535]
    eight = tmp_path / "b.png"
    cv2.imwrite(str(eight), np.array([[0, 100, 200]], np.uint8))
    assert read_image(eight, 1, (0, 200)).ravel().tolist() == [0, 32768, 65535]
    with pytest.raises(UserError, match=r"a\.tif: holds int16 values.*PREPROCESS_DATA\.VALUE_RANGE"):
        read_image(path, 1)
    with pytest.raises(UserError, match=r"c\.tif: holds values that are not finite"):
        read_image(write(tmp_path / "c.tif", np.full((2, 2, 1), np.nan, np.float32)), 1, (0, 1))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int16", "float32"])
def test_a_value_range_is_that_of_the_values_stored_where_0_is_white(tmp_path, dtype):
    pixels = np.array([[[0], [1000], [4000]]], dtype)
    path = write(tmp_path / "a.tif", pixels, photometric="miniswhite")
    assert read_image(path, 1, (0, 4000)).ravel().tolist() == [65535, 49151, 0]


def test_a_palette_of_8_bits_in_a_tiff_file(tmp_path):
    table = np.zeros((3, 256), np.uint16)
    table[:, 1] = [10, 200, 255]
    path = write(tmp_path / "a.tif", np.array([[[0], [1]]], np.uint8), photometric="palette", colormap=table)
    assert read_image(path, 3).tolist() == [[[0, 0, 0], [10, 200, 255]]]


def test_transparent_pixels_of_a_gif_keep_their_value(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "a.gif", transparency=3)
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif", 1)[:, :, 0], grey)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.gif"), grey)
    assert read_image(tmp_path / "a.gif", 4)[:, :, 3].min() == 0


@pytest.mark.parametrize(("dtype", "value"), [("int16", -1), ("float32", 0.5), ("float32", np.nan), ("int32", 70000)])
def test_masks_of_any_type_hold_whole_numbers(tmp_path, dtype, value):
    labels = RNG.integers(0, 3, (5, 6, 1)).astype(dtype)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "a.tif", labels)), labels[:, :, 0])
    labels[0, 0] = value
    with pytest.raises(UserError, match="that are no whole numbers"):
        read_mask(write(tmp_path / "a.tif", labels))


def test_strips_that_are_not_there_are_found(tmp_path):
    path = write(tmp_path / "a.tif", SMOOTH, rowsperstrip=10)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        counts[3] = 0
        tiff.pages[0].tags[279].overwrite(counts)
    with pytest.raises(UserError, match=r"a\.tif: .*strip or tile 3 is not there"):
        read_image(path, 3)


def test_unusual_colours_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", RNG.integers(0, 255, (5, 6, 4), np.uint8), photometric="separated")
    with pytest.raises(UserError, match=r"a\.tif: is a TIFF file of a kind that is not read \(its colours are SEP"):
        read_image(path, 4)


# Damage in the middle


def encoded(kind, **options):
    buffer = io.BytesIO()
    picture = Image.fromarray(SMOOTH)
    (picture.quantize(16) if kind == "GIF" else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(planar="contig", **options):
    buffer = io.BytesIO()
    write(buffer, SMOOTH, planar=planar, photometric="rgb", **options)
    return buffer.getvalue()


TILED, STRIPS = {"tile": (32, 32)}, {"rowsperstrip": 8}
TIFF_FORMS = {
    "planar LZW": {"planar": "separate", "compression": "lzw", **STRIPS},
    "tiled LZW, predictor": {"compression": "lzw", "predictor": True, **TILED},
    "tiled Deflate, big-endian": {"compression": "deflate", "byteorder": ">", **TILED},
    "planar tiled Deflate, predictor": {"planar": "separate", "compression": "deflate", "predictor": True, **TILED},
    "Zstandard, BigTIFF": {"compression": "zstd", "bigtiff": True, **STRIPS},
    "raw, planar, big-endian": {"planar": "separate", "byteorder": ">", **STRIPS},
}

PICTURES = {
    "PNG": lambda: encoded("PNG"),
    "JPEG": lambda: encoded("JPEG", quality=90),
    "JPEG, progressive": lambda: encoded("JPEG", quality=90, progressive=True),
    "GIF": lambda: encoded("GIF"),
    "WebP": lambda: encoded("WEBP"),
    "WebP without loss": lambda: encoded("WEBP", lossless=True),
    "BMP": lambda: encoded("BMP"),
    "JPEG 2000": lambda: encoded("JPEG2000"),
    "JPEG 2000, bare": lambda: imagecodecs.jpeg2k_encode(SMOOTH, level=0, codecformat="j2k"),
} | {
    f"TIFF, {compression}": lambda compression=compression: encoded("TIFF", compression=compression)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
}
PICTURES |= {f"TIFF, {name}": lambda options=options: tiff(**options) for name, options in TIFF_FORMS.items()}
CHECKED = {"PNG", "TIFF, tiff_adobe_deflate"}  # formats with a checksum: a single changed bit is found


def damaged_in_the_middle(data, count, seed, least):
    """Yield (kind of damage, copy): bytes left out, or the file cut off and its last bytes put back.

    A JPEG that lacks less than two blocks can be a JPEG of the same number of blocks, which nothing distinguishes.
    """
    random_ = random.Random(seed)
    for _ in range(count):
        place = random_.randrange(len(data) // 3, len(data) * 8 // 10)
        yield "left out", data[:place] + data[place + random_.randrange(least, least + 500) :]
        yield "cut off", data[:place]
        yield "cut, with an end", data[:place] + data[-2:]


@pytest.mark.parametrize("kind", PICTURES)
def test_no_format_is_read_in_part(tmp_path, kind):
    whole, outcomes = PICTURES[kind](), Counter()
    path = tmp_path / "a.picture"
    path.write_bytes(whole)
    assert read_image(path, 3).shape == SMOOTH.shape
    for damage, data in damaged_in_the_middle(whole, 40, kind, least=400 if "JPEG" in kind else 1):
        path.write_bytes(data)
        try:
            read_image(path, 3)
        except UserError as error:
            assert str(error).startswith(f"{path}: ")
            outcomes["refused"] += 1
        else:
            outcomes[f"silent: {damage}"] += 1
    assert outcomes == {"refused": 120}


@pytest.mark.parametrize("kind", sorted(CHECKED))
def test_a_changed_bit_is_found_where_the_format_has_checksums(tmp_path, kind):
    whole, random_ = PICTURES[kind](), random.Random(0)
    for _ in range(40):
        data = bytearray(whole)
        data[random_.randrange(len(data) // 3, len(data) * 8 // 10)] ^= 1 << random_.randrange(8)
        (tmp_path / "a.picture").write_bytes(data)
        with pytest.raises(UserError, match="cannot be decoded"):
            read_image(tmp_path / "a.picture", 3)


@pytest.mark.parametrize("trailer", [b"\0\0\0\x18ftypmp42" + bytes(200) + b"\xff\xda" + bytes(500), b"\n", bytes(9)])
def test_what_follows_a_jpeg_is_no_damage(tmp_path, trailer):
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG", quality=90))
    plain = read_image(tmp_path / "a.jpg", 3)
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG", quality=90) + trailer)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", 3), plain)


def test_jpeg_decodes_as_opencv_does(tmp_path):
    for mode, options in itertools.product(("RGB", "L", "CMYK"), ({}, {"progressive": True}, {"subsampling": 0})):
        path = tmp_path / "a.jpg"
        Image.fromarray(SMOOTH).convert(mode).save(path, quality=90, **options)
        expected = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(read_image(path, 3), expected)
