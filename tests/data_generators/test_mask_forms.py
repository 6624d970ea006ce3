"""Masks that can be meant in two ways: one reading by default, which is said, and the other by a key; EXIF likewise."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from data_generators.reading.decoding import read_image
from data_generators.reading.mask_values import FORMS, read_values_and_form
from data_generators.reading.masks import read_mask
from data_generators.reading.samples import ReadSettings
from data_preparation.verify_data import verify_data
from utils.base.errors import UserError
from utils.config import load_config

OBJECT = np.zeros((12, 16), bool)
OBJECT[2:8, 3:9] = True


def indexed(path):
    picture = Image.fromarray((~OBJECT).astype(np.uint8), mode="P")  # 0 where the object is, and 0 is white
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(path)
    return path


def transparent(path, grey=None):
    grey = np.zeros(OBJECT.shape, np.uint8) if grey is None else grey
    Image.fromarray(np.dstack([grey, grey, grey, OBJECT * np.uint8(255)])).save(path)
    return path


def boolean(path):
    tifffile.imwrite(path, OBJECT)  # one bit, and MINISWHITE
    return path


@pytest.mark.parametrize("ending", ["png", "bmp"])
def test_white_as_colour_0_of_a_palette(tmp_path, ending):
    path = indexed(tmp_path / f"m.{ending}")
    np.testing.assert_array_equal(read_mask(path), ~OBJECT)
    np.testing.assert_array_equal(read_mask(path, 255, form="shown"), OBJECT)
    assert read_values_and_form(path)[1] == "white index"
    assert read_values_and_form(path, "shown")[1] is None


def test_booleans_of_tifffile(tmp_path):
    path = boolean(tmp_path / "m.tif")
    np.testing.assert_array_equal(read_mask(path, 255), OBJECT)
    np.testing.assert_array_equal(read_mask(path, 255, form="shown"), ~OBJECT)
    assert read_values_and_form(path)[1] == "white is 0"


def test_a_shape_in_the_alpha_channel(tmp_path):
    path = transparent(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(path, 255, form="alpha"), OBJECT)
    with pytest.raises(UserError, match=r"m\.png: has one colour everywhere.*PREPROCESS_DATA\.MASK_FORM=alpha"):
        read_mask(path)
    other = transparent(tmp_path / "o.png", OBJECT.astype(np.uint8))
    np.testing.assert_array_equal(read_mask(other), OBJECT)
    assert read_values_and_form(other)[1] == "alpha"
    with pytest.raises(UserError, match=r"m\.tif: has no alpha channel"):
        read_mask(boolean(tmp_path / "m.tif"), form="alpha")


def test_bands_of_a_mask_that_differ_are_refused(tmp_path):
    shape, nothing = OBJECT.astype(np.uint8), np.zeros(OBJECT.shape, np.uint8)

    def save(*bands, **options):
        tifffile.imwrite(tmp_path / "m.tif", np.dstack(bands), photometric="minisblack", **options)
        return tmp_path / "m.tif"

    for bands in ([nothing] * 3 + [shape], [nothing] * 4 + [shape], [shape, 1 - shape]):
        with pytest.raises(UserError, match=r"m\.tif: has channels that differ"):
            read_mask(save(*bands, planarconfig="contig"))
    np.testing.assert_array_equal(read_mask(save(shape, nothing + 255, extrasamples=["unassalpha"])), OBJECT)


@pytest.mark.parametrize(("make", "form"), [(indexed, "white index"), (boolean, "white is 0")])
def test_verification_says_what_was_read(tmp_path, capsys, make, form):
    for split in ("train", "val"):
        for kind in ("images", "mask"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f"data/{split}/images/m.png"), OBJECT * np.uint8(99 + len(split)))
        make(tmp_path / f"data/{split}/mask/m.{'tif' if make is boolean else 'png'}")
    overrides = [f"WORK_DIR={tmp_path}", "INPUT.HEIGHT=12", "INPUT.WIDTH=16", "loss=dice", "VERBOSE=0"]
    verify_data(load_config([*overrides, f"PREPROCESS_DATA.NORMALIZE_MASK.VALUE={make is boolean}"]))
    assert f"Note: 1 of the masks of train, such as {tmp_path}/data/train/mask/m" in (said := capsys.readouterr().err)
    assert f"{FORMS[form]}." in said
    overrides += ["PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True", "PREPROCESS_DATA.MASK_FORM=shown"]
    verify_data(load_config(overrides))
    assert "masks of" not in capsys.readouterr().err


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tif", "jpg", "webp"])
def test_exif_is_applied_as_viewers_do(tmp_path, orientation, ending):
    pixels = np.random.default_rng(0).integers(0, 3, (8, 16, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(pixels).save(path, exif=exif, lossless=True)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(read_image(path, 3, turned=True), shown)
    # Pillow turns TIFF as it opens it.
    np.testing.assert_array_equal(read_image(path, 3), pixels if ending == "tif" else np.asarray(Image.open(path)))
    if ending != "jpg":
        Image.fromarray(pixels[:, :, 0]).save(path, exif=exif, lossless=True)
        np.testing.assert_array_equal(read_mask(path, turned=True), shown[:, :, 0])


def test_the_keys_reach_the_reader():
    keys = ["VALUE_RANGE=[-5,5]", "MASK_FORM=shown", "EXIF=apply"]
    found = ReadSettings.from_config(load_config([f"PREPROCESS_DATA.{key}" for key in keys]))
    assert (found.value_range, found.mask_form, found.turned) == ((-5.0, 5.0), "shown", True)
    assert found.decoding_key != ReadSettings.from_config(load_config()).decoding_key
    with pytest.raises(UserError, match=r"PREPROCESS_DATA\.VALUE_RANGE"):
        load_config(["PREPROCESS_DATA.VALUE_RANGE=[5,-5]"])
