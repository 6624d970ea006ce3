"""What is wrong with a picture is one line that names it, found before training; what only looks odd is read right."""

import struct

import cv2
import numpy as np
import pytest
from helpers import huge_png
from PIL import Image

from data_generators import build_dataset
from data_generators.files.tfrecord import encode_example, write_records
from data_generators.reading.samples import ReadSettings
from data_preparation.common.pair_check import read_image_and_properties
from data_preparation.verify_data import verify_data
from utils.base.errors import UserError
from utils.config import load_config

RNG = np.random.default_rng(0)
COLOUR, LABELS = RNG.integers(0, 256, (24, 32, 3), np.uint8), RNG.integers(0, 2, (24, 32), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two good pairs in training and in validation."""
    for split in ("train", "val"):
        for kind, pixels in (("images", COLOUR), ("mask", LABELS)):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
            for number in range(2):
                cv2.imwrite(str(tmp_path / "data" / split / kind / f"{number}.png"), pixels)
    return tmp_path


def config(folder, *overrides):
    return load_config(
        [f"WORK_DIR={folder}", "INPUT.HEIGHT=24", "INPUT.WIDTH=32", "loss=dice", "VERBOSE=0", *overrides]
    )


def problems(folder, *overrides):
    """The lines on single problems."""
    with pytest.raises(UserError) as error:
        verify_data(config(folder, *overrides))
    return [line for line in str(error.value).splitlines() if line.startswith("  ")]


def shard(folder, name, *examples):
    with open(folder / name, "wb") as file:
        write_records(file, [encode_example(example) for example in examples])
    return f"DATASET.TRAIN.IMAGES_PATH={name}"


def example(folder, kept=None):
    image, mask = ((folder / f"data/train/{kind}/0.png").read_bytes() for kind in ("images", "mask"))
    return {"name": b"0.png", "image": image[:kept], "mask": mask}


def test_a_truncated_png_inside_a_shard(folder):
    (line,) = problems(folder, shard(folder, "a-00-1.tfrec", example(folder, 300)), "DATA_GENERATOR_TYPE=TFRECORD")
    assert "a-00-1.tfrec/0.png: the file is truncated (300 bytes)" in line


def test_a_shard_with_a_wrong_count(folder):
    (line,) = problems(folder, shard(folder, "a-00-2.tfrec", example(folder)), "DATA_GENERATOR_TYPE=TFRECORD")
    assert "a-00-2.tfrec: holds 1 records, its name says 2" in line


def test_a_shard_without_records(folder):
    (line,) = problems(folder, shard(folder, "a-00-0.tfrec"), "DATA_GENERATOR_TYPE=TFRECORD")
    assert "DATASET.TRAIN.IMAGES_PATH=a-00-0.tfrec: the shards hold no records, such as" in line
    # One among others does no harm.
    shard(folder, "a-01-1.tfrec", example(folder))
    options = ["DATASET.TRAIN.IMAGES_PATH=a-*.tfrec", "DATA_GENERATOR_TYPE=TFRECORD"]
    assert verify_data(config(folder, *options))["train"]["pairs"] == 1


def test_an_empty_folder(folder):
    (folder / "empty").mkdir()
    (line,) = problems(folder, "DATASET.TRAIN.IMAGES_PATH=empty")
    assert "DATASET.TRAIN.IMAGES_PATH" in line and "empty holds no pictures" in line


def test_a_header_of_30000_x_30000(folder):
    path = huge_png(folder / "data/train/images/1.png")
    path.write_bytes(path.read_bytes().replace(struct.pack(">II", 40000, 40000), struct.pack(">II", 30000, 30000)))
    (line,) = problems(folder)
    assert "1.png: promises 30000x30000 pixels, more than 400,000,000, and is not read" in line


def first_of(folder, *overrides):
    verify_data(config(folder, *overrides))
    image, mask = next(iter(build_dataset(config(folder, "HYPER_PARAMETERS.BATCH_SIZE=1", *overrides), "val")))
    return image[0], mask[0, :, :, 0]


def notes(folder, capsys):
    """What is said about the first image of validation, which is like no other."""
    capsys.readouterr()
    verify_data(config(folder))
    start = f"Note: 1 of the images of val, such as {folder / 'data/val/images/0'}"
    lines = [line for line in capsys.readouterr().err.splitlines() if "trained on are too good" not in line]
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start).split(", ", 1)[1] for line in lines]


def test_16_bit_colour(folder, capsys):
    expected, _ = first_of(folder)
    cv2.imwrite(str(folder / "data/val/images/0.png"), COLOUR.astype(np.uint16) * 257)
    np.testing.assert_allclose(first_of(folder)[0], expected, atol=1e-6)
    assert notes(folder, capsys) == [
        "have 16 bits per channel, stored or by PREPROCESS_DATA.VALUE_RANGE: 65535 becomes 1."
    ]


def test_a_palette_png(folder, capsys):
    for kind, indices in (("images", LABELS + 1), ("mask", LABELS)):
        picture = Image.fromarray(indices)
        picture.putpalette([0, 0, 0, 200, 0, 0, 0, 100, 0])
        picture.save(folder / f"data/val/{kind}/0.png")
    image, mask = first_of(folder)
    np.testing.assert_array_equal(mask, LABELS)  # its indices
    np.testing.assert_allclose(image * 255, np.where(LABELS[:, :, None], [0, 100, 0], [200, 0, 0]), atol=1e-4)
    assert notes(folder, capsys) == ["have a palette: the colours are used, not the indices."]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_an_alpha_channel(folder, depth, capsys):
    """Dropped for 1 and 3 channels, and said where it is not the same everywhere; grey keeps its values."""
    scale, path = np.iinfo(depth).max // 255, folder / "data/val/images/0.png"
    opaque = np.full((24, 32), 255, np.uint8)
    expected, _ = first_of(folder)
    for alpha in (opaque, opaque // 2, COLOUR[:, :, 0]):
        cv2.imwrite(str(path), np.dstack([COLOUR, alpha]).astype(depth) * depth(scale))
        np.testing.assert_allclose(first_of(folder)[0], expected, atol=1e-6)
        found = [note for note in notes(folder, capsys) if "16 bits" not in note]
        assert found == ([] if alpha is opaque else ["have an alpha channel, which is dropped."])
    settings = ReadSettings(height=24, width=32, channels=4, resize=False, divide_mask_by=1)
    pixels, properties, _ = read_image_and_properties(path, settings)
    np.testing.assert_array_equal(pixels[:, :, 3], COLOUR[:, :, 0].astype(depth) * scale)
    assert "alpha" not in properties
    assert first_of(folder, "INPUT.CHANNELS=1")[0].shape == (24, 32, 1)


def test_a_grey_png_with_alpha(folder, capsys):
    grey = COLOUR[:, :, 0]
    Image.fromarray(np.dstack([grey, 255 - grey]), "LA").save(folder / "data/val/images/0.png")
    for channels in (1, 3):
        image, _ = first_of(folder, f"INPUT.CHANNELS={channels}")
        np.testing.assert_allclose(image * 255, np.dstack([grey] * channels), atol=1e-4)
    assert notes(folder, capsys) == ["have an alpha channel, which is dropped."]
    with pytest.raises(UserError, match=r"0\.png: has 4 channels, INPUT.CHANNELS=2"):
        first_of(folder, "INPUT.CHANNELS=2")


def test_a_jpeg_mask_is_warned_about(folder, capsys):
    path = folder / "data/val/mask/0.png"
    path.unlink()
    cv2.imwrite(str(path.with_suffix(".jpg")), np.zeros((24, 32), np.uint8))
    verify_data(config(folder))
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "JPEG" in line)
    assert "0.jpg" in line and "Save masks as PNG" in line


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_an_exif_rotation_turns_neither_image_nor_mask(folder, ending, capsys):
    expected = first_of(folder)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = folder / "data/val/images/0.png"
    path.unlink()
    Image.fromarray(COLOUR[:, :, ::-1]).save(path.with_suffix(ending), exif=exif)
    for part, before in zip(first_of(folder), expected, strict=True):
        np.testing.assert_array_equal(part, before)
    (note,) = notes(folder, capsys)
    assert "EXIF rotation for display: pixels are used as stored" in note


def test_a_mask_drawn_on_the_turned_picture(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(folder / "data/train/images/0.png", exif=exif)
    cv2.imwrite(str(folder / "data/train/mask/0.png"), np.rot90(LABELS))
    cv2.imwrite(str(folder / "data/train/mask/1.png"), LABELS[1:])  # of another size for another reason
    with pytest.raises(UserError) as error:
        verify_data(config(folder))
    text = str(error.value)
    assert "0.png: is 32x24, its image" in text and "1.png: is 23x32, its image" in text
    (hint,) = [line for line in text.splitlines() if "EXIF" in line]
    assert "drawn on the image as it is displayed" in hint and "Save the image upright" in hint
    cv2.imwrite(str(folder / "data/train/mask/0.png"), LABELS)
    with pytest.raises(UserError) as error:
        verify_data(config(folder))
    assert "EXIF" not in str(error.value)


def test_a_jpeg_file_that_asks_to_be_turned(folder, capsys):
    exif = Image.Exif()
    exif[0x0112] = 1  # upright
    path = folder / "data/val/images/0.png"
    path.unlink()
    Image.fromarray(COLOUR).save(path.with_suffix(".jpg"), exif=exif)
    assert notes(folder, capsys) == []
    exif[0x0112] = 3
    Image.fromarray(COLOUR).save(path.with_suffix(".jpg"), exif=exif)
    assert len(notes(folder, capsys)) == 1
