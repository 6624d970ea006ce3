"""Pictures of every kind become the arrays that loaders expect, and unfit ones an error with the file's name."""

import struct

import cv2
import numpy as np
import pytest
from helpers import huge_png
from PIL import Image

from data_generators.files.pairing import Pair
from data_generators.loaders.batches import read_batch
from data_generators.reading.decoding import read_image, resize_image, to_unit_range
from data_generators.reading.headers import picture_size
from data_generators.reading.masks import read_mask, resize_mask
from data_generators.reading.readers import PairReader
from data_generators.reading.samples import ReadSettings
from utils.base.errors import UserError
from utils.config import load_config

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 16, 3), np.uint8)  # RGB
GREY = RNG.integers(0, 256, (12, 16), np.uint8)


def read_pair(pair, settings):
    """Image and mask of a pair as a batch holds them; None for a mask that is not there."""
    reader = PairReader(settings=settings, with_mask=pair.mask is not None)
    image, *mask = read_batch(reader, [pair], np.zeros((1, 3), np.int64))
    return image[0], mask[0][0] if mask else None


def save(path, pixels):
    """Write RGB or grey pixels with OpenCV."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    assert cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[:, :, order[pixels.shape[2]]])
    return path


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_lossless_colours_come_in_rgb_order(tmp_path, ending):
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a.{ending}", COLOUR), 3), COLOUR)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"comment": b"\xff\xc0" * 9}, {"exif": b"Exif\0\0" * 9}]
)
def test_size_of_a_jpeg(tmp_path, options):
    path = tmp_path / "a.jpg"
    for mode in ("L", "RGB", "CMYK"):
        Image.new(mode, (37, 21)).save(path, **options)
        assert picture_size(path) == (21, 37)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(UserError, match="is not a picture that can be read"):
        picture_size(path)


def test_jpeg_is_close(tmp_path):
    smooth = cv2.resize(COLOUR[:2, :2], (32, 32))
    image = read_image(save(tmp_path / "a.jpg", smooth), 3)
    assert np.abs(image.astype(int) - smooth).mean() < 6


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_is_kept(tmp_path, ending):
    image = read_image(save(tmp_path / f"a.{ending}", COLOUR.astype(np.uint16) * 257), 3)
    assert image.dtype == np.uint16
    np.testing.assert_allclose(to_unit_range(image), COLOUR / 255, atol=1e-6)


def test_channels_are_brought_to_what_is_asked(tmp_path):
    grey, colour = save(tmp_path / "g.png", GREY), save(tmp_path / "c.png", COLOUR)
    alpha = save(tmp_path / "a.png", np.dstack([COLOUR, GREY]))
    assert read_image(grey, 1).shape == (12, 16, 1)
    np.testing.assert_array_equal(read_image(grey, 3), np.dstack([GREY] * 3))
    np.testing.assert_array_equal(read_image(colour, 1)[:, :, 0], cv2.cvtColor(COLOUR, cv2.COLOR_RGB2GRAY))
    np.testing.assert_array_equal(read_image(alpha, 3), COLOUR)
    np.testing.assert_array_equal(read_image(alpha, 4), np.dstack([COLOUR, GREY]))


def test_other_channel_counts_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"c\.png: has 3 channels, INPUT\.CHANNELS=5"):
        read_image(save(tmp_path / "c.png", COLOUR), 5)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_an_exif_rotation_is_ignored(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(COLOUR).save(tmp_path / f"a.{ending}", exif=exif)
    found = read_image(tmp_path / f"a.{ending}", 3)
    assert found.shape == (12, 16, 3)
    assert ending == "jpg" or np.array_equal(found, COLOUR)


def test_palette_images_are_decoded_as_colours(tmp_path):
    save_palette(tmp_path / "p.png", GREY % 3)
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 100, 0]], np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png", 3), colours[GREY % 3])


def save_palette(path, indices):
    picture = Image.fromarray(indices)
    picture.putpalette([0, 0, 0, 200, 0, 0, 0, 100, 0])
    picture.save(path)
    return path


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_palette_masks_give_their_indices(tmp_path, ending):
    mask = read_mask(save_palette(tmp_path / f"m.{ending}", GREY % 3))
    np.testing.assert_array_equal(mask, GREY % 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_masks_of_8_and_16_bit(tmp_path, dtype):
    mask = read_mask(save(tmp_path / "m.png", (GREY % 5).astype(dtype)))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, GREY % 5)


def test_grey_masks_stored_as_colour(tmp_path):
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", np.dstack([GREY] * 3))), GREY)


def test_colour_masks_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"m\.png: is a colour picture.*class index"):
        read_mask(save(tmp_path / "m.png", COLOUR))


def test_mask_values_above_255_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"m\.png: holds the value 700"):
        read_mask(save(tmp_path / "m.png", np.full((4, 4), 700, np.uint16)))


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ([0, 1], r"holds 1, which is no multiple of 255, .*If all masks hold class indices.*others hold 0 and 255"),
        ([0, 100, 200], r"holds 100, 200, no multiples of 255, .*DATASET\.LABEL_VALUES=\[0,100,200\]; else"),
        ([3, 255], r"holds 3, .*DATASET\.LABEL_VALUES=\[0,3,255\]"),
        (range(0, 256, 5), r"holds 5, 10, 15, 20, 25, \.\.\., .*without loss"),
    ],
)
def test_values_that_dividing_would_drop_are_refused(tmp_path, values, advice):
    path = save(tmp_path / "m.png", np.array([values], np.uint8))
    with pytest.raises(UserError, match=rf"m\.png: {advice}"):
        read_mask(path, 255)


def test_dividing_counts_the_multiples(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 100, 200]], np.uint8))
    assert read_mask(path, 100).tolist() == [[0, 1, 2]]


def test_dividing_leaves_the_ignored_value(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 128, 255]], np.uint8))
    assert read_mask(path, 255, 128).tolist() == [[0, 128, 1]]
    with pytest.raises(UserError, match="holds 128, which"):
        read_mask(path, 255, 7)
    assert read_mask(path, 1, 128).tolist() == [[0, 128, 255]]


def test_a_16_bit_mask_can_be_divided_into_range(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 65535]], np.uint16))
    assert read_mask(path, 65535).tolist() == [[0, 1]]


def test_float_pictures_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "f.tif"), GREY.astype(np.float32))
    with pytest.raises(UserError, match=r"f\.tif: holds float32 values; pictures of 8 or 16 bit .*VALUE_RANGE"):
        read_image(tmp_path / "f.tif", 1)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_truncated_files_are_found(tmp_path, ending, kept):
    path = save(tmp_path / f"a.{ending}", cv2.resize(COLOUR, (160, 120)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(UserError, match=rf"a\.{ending}: "):
        read_image(path, 3)


def test_a_damaged_png_is_found(tmp_path):
    path = save(tmp_path / "a.png", cv2.resize(COLOUR, (160, 120)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.png: cannot be decoded"):
        read_image(path, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"hello", "is not a picture"), (b"II*\0\xff\xff\xff\xff", "is not a picture")],
)
def test_files_that_are_no_pictures(tmp_path, content, message):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.png: .*{message}"):
        read_image(path, 3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: cannot be read: No such file"):
        read_image(tmp_path / "gone.png", 3)


def test_huge_pictures_are_refused_by_their_header(tmp_path):
    path = huge_png(tmp_path / "huge.png")
    for read in (picture_size, read_mask, lambda path: read_image(path, 3)):
        with pytest.raises(UserError, match=r"huge\.png: promises 40000x40000 pixels, more than 400,000,000"):
            read(path)


@pytest.mark.parametrize("ending", ["bmp", "tif"])
def test_huge_headers_of_other_formats(tmp_path, ending):
    path = save(tmp_path / f"a.{ending}", GREY)
    data = bytearray(path.read_bytes())
    if ending == "bmp":
        data[18:26] = struct.pack("<ii", 50000, 50000)
    else:
        for tag in (256, 257):
            at = bytes(data).find(struct.pack("<H", tag) + b"\x03\0\x01\0\0\0")
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 50000)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"promises .*pixels"):
        picture_size(path)


def test_resizing_keeps_type_channels_and_labels():
    image = resize_image(GREY[:, :, np.newaxis], 6, 8)
    assert (image.shape, image.dtype) == ((6, 8, 1), np.uint8)
    np.testing.assert_array_equal(image[0, 0, 0], np.rint(GREY[:2, :2].mean()))
    step = np.zeros((8, 8), np.uint16)
    step[:, 4:] = 65535
    grown = resize_image(step, 32, 32)  # cubic overshoots at the edge; the type's range clips it
    assert (grown[:, 0] == 0).all()
    assert (grown[:, -1] == 65535).all()
    mask = resize_mask((GREY % 3) * 100, 31, 7)
    assert set(np.unique(mask)) <= {0, 100, 200}


def test_a_pair_is_read_as_the_config_says(tmp_path):
    pair = Pair(save(tmp_path / "i.png", COLOUR), save(tmp_path / "m.png", (GREY > 99).astype(np.uint8) * 255))
    cfg = load_config(["INPUT.HEIGHT=24", "INPUT.WIDTH=32", "INPUT.CHANNELS=1"])
    cfg.PREPROCESS_DATA.RESIZE.VALUE = cfg.PREPROCESS_DATA.NORMALIZE_MASK.VALUE = True
    image, mask = read_pair(pair, ReadSettings.from_config(cfg))
    assert (image.shape, image.dtype) == ((24, 32, 1), np.float32)
    assert image.min() >= 0
    assert image.max() <= 1
    assert (mask.shape, mask.dtype) == ((24, 32, 1), np.uint8)
    np.testing.assert_array_equal(mask[::2, ::2, 0], GREY > 99)


def test_a_pair_without_mask(tmp_path):
    settings = ReadSettings(height=12, width=16, channels=3, resize=False, divide_mask_by=1)
    image, mask = read_pair(Pair(save(tmp_path / "i.png", COLOUR), None), settings)
    np.testing.assert_array_equal(image, COLOUR.astype(np.float32) / np.float32(255))
    assert image.dtype == np.float32
    assert mask is None


def test_sizes_that_do_not_fit(tmp_path):
    pair = Pair(save(tmp_path / "i.png", COLOUR), save(tmp_path / "m.png", GREY[:6]))
    settings = ReadSettings(height=12, width=16, channels=3, resize=False, divide_mask_by=1)
    with pytest.raises(UserError, match=r"m\.png: is 6x16, its image .*i\.png 12x16"):
        read_pair(pair, settings)
    settings = ReadSettings(height=320, width=320, channels=3, resize=False, divide_mask_by=1)
    with pytest.raises(UserError, match=r"i\.png: is 12x16.*INPUT is 320x320.*PREPROCESS_DATA\.RESIZE\.VALUE=True"):
        read_pair(pair._replace(mask=None), settings)


def test_label_values_are_the_classes_in_their_order(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 128, 255, 7]], np.uint8))
    assert read_mask(path, ignore_label=7, label_values=(0, 128, 255)).tolist() == [[0, 1, 2, 7]]
    assert read_mask(path, ignore_label=7, label_values=(255, 0, 128)).tolist() == [[1, 2, 0, 7]]
    with pytest.raises(UserError, match=r"m\.png: holds the value 7; .*\[0, 128, 255\]"):
        read_mask(path, label_values=(0, 128, 255))
    deep = save(tmp_path / "d.png", np.array([[500, 65535]], np.uint16))
    assert read_mask(deep, label_values=(500, 65535)).tolist() == [[0, 1]]


def test_label_values_of_the_config(tmp_path):
    pair = Pair(save(tmp_path / "i.png", COLOUR), save(tmp_path / "m.png", np.where(GREY > 99, 3, 1).astype(np.uint8)))
    cfg = load_config(["INPUT.HEIGHT=12", "INPUT.WIDTH=16", "DATASET.LABEL_VALUES=[1,3]"])
    _, mask = read_pair(pair, ReadSettings.from_config(cfg))
    np.testing.assert_array_equal(mask[:, :, 0], GREY > 99)
