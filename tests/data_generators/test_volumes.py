"""Which images are slices of one volume, what is missing, and the spacing of slices as the network sees them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_generators.files.pairing import Pair
from data_generators.files.volume_slices import VolumeSlice, find_slices, find_spacing, find_volumes
from utils.base.errors import UserError
from utils.config import load_config


def pairs(*names, folder="/data/val/images"):
    return [Pair(Path(folder) / f"{name}.png", None) for name in names]


def test_names_of_the_preparation_are_volumes():
    cfg = load_config()
    assert find_slices(cfg, pairs("image_3_0", "image_3_1", "image_12_4")) == [
        VolumeSlice("3", 0),
        VolumeSlice("3", 1),
        VolumeSlice("12", 4),
    ]


@pytest.mark.parametrize(
    "names", [("0016E5_07959", "0016E5_07969"), ("a", "b"), ("image_3_0", "other"), ("image_1", "image_3")]
)
def test_other_names_are_images(names):
    assert find_slices(load_config(), pairs(*names)) is None


def test_volumes_on_request():
    wanted, unwanted = (load_config([f"EVALUATION.VOLUMES={value}"]) for value in (True, False))
    assert find_slices(wanted, pairs("TCGA_CS_1", "TCGA_CS_2")) == [
        VolumeSlice("TCGA_CS", 1),
        VolumeSlice("TCGA_CS", 2),
    ]
    assert find_slices(unwanted, pairs("image_3_0", "image_3_2")) is None
    with pytest.raises(UserError, match=r"EVALUATION.VOLUMES=True: .*b.png"):
        find_slices(wanted, pairs("a_1", "b"))


def test_one_name_in_two_folders_is_two_volumes():
    found = find_slices(load_config(), pairs("image_3_0", folder="/a/images") + pairs("image_3_0", folder="/b/images"))
    assert found == [VolumeSlice("a/3", 0), VolumeSlice("b/3", 0)]


def test_a_missing_slice_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"volume 3 in .*: slice 2 missing of 4"):
        find_slices(load_config(), pairs("image_3_0", "image_3_1", "image_3_3"))
    with pytest.raises(UserError, match="slice 1 is there twice"):
        find_slices(load_config(), pairs("image_3_1", "image_3_1"))
    # the first and the last slice are missed where the preparation noted how many there are
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest/volume-3.json").write_text('{"slices": 4}')
    with pytest.raises(UserError, match="slice 0, 3 missing of 4"):
        find_slices(load_config(), pairs("image_3_1", "image_3_2", folder=tmp_path / "images"))


@pytest.fixture
def prepared(tmp_path):
    """A slice of 20x40 pixels of spacing 0.5 x 0.8 mm, 3 mm apart."""
    for folder in ("images", "manifest"):
        (tmp_path / folder).mkdir()
    (tmp_path / "manifest/volume-3.json").write_text(json.dumps({"slices": 1, "spacing_mm": [0.5, 0.8, 3.0]}))
    cv2.imwrite(str(tmp_path / "images/image_3_0.png"), np.zeros((20, 40), np.uint8))
    return tmp_path / "images/image_3_0.png"


def test_spacing_of_the_preparation(prepared):
    assert find_spacing(load_config(), prepared) == (3, 0.5, 0.8)


def test_resizing_changes_the_spacing_in_plane(prepared):
    resize = ["PREPROCESS_DATA.RESIZE.VALUE=True", "INPUT.HEIGHT=80", "INPUT.WIDTH=80"]
    assert find_spacing(load_config(resize), prepared) == pytest.approx((3, 0.125, 0.4))
    typed = [*resize, "EVALUATION.SPACING_MM=[2,1,1]"]
    assert find_spacing(load_config(typed), prepared) == pytest.approx((2, 0.25, 0.5))


def test_spacing_that_nobody_knows(prepared):
    manifest = prepared.parent.parent / "manifest/volume-3.json"
    surface = load_config(["EVALUATION.SURFACE=True"])
    found = [Pair(prepared, None)]
    assert find_volumes(surface, found) == ([VolumeSlice("3", 0)], {"3": (3, 0.5, 0.8)})
    for text, words in (
        ('{"slices": 1}', "EVALUATION.SPACING_MM"),
        ('{"spacing_mm": [1, 0, 1]}', "volume-3.json: spacing_mm"),
        ('{"spacing_mm": [1, 1]}', "volume-3.json: spacing_mm"),
    ):
        manifest.write_text(text)
        with pytest.raises(UserError, match=words):
            find_volumes(surface, found)
    manifest.unlink()
    assert find_volumes(load_config(), found)[1] == {"3": None}
    with pytest.raises(UserError, match=r"volume 3 .*volume-3.json"):
        find_volumes(surface, found)
    with pytest.raises(UserError, match="needs volumes"):
        find_volumes(surface, pairs("a"))


def test_spacing_of_prepared_scans(phantom):
    """The phantom: 410 mm over the pixels of a side, 160 mm over the slices."""
    image = phantom / "data/val/images/image_0_3.png"
    slices = len(list(image.parent.iterdir()))
    assert find_spacing(load_config(), image) == pytest.approx((160 / slices, 410 / 48, 410 / 48), rel=1e-4)


@pytest.mark.parametrize(
    "override, words",
    [
        ("EVALUATION.SPLITS=[val,dev]", "EVALUATION.SPLITS=dev"),
        ("EVALUATION.SPLITS=[]", "EVALUATION.SPLITS"),
        ("EVALUATION.SPLITS=[val,val]", "EVALUATION.SPLITS"),
        ("EVALUATION.SPACING_MM=[1,2]", "EVALUATION.SPACING_MM"),
        ("EVALUATION.SPACING_MM=[1,2,0]", "EVALUATION.SPACING_MM"),
        ("EVALUATION.BOOTSTRAP=-1", "EVALUATION.BOOTSTRAP"),
        ("EVALUATION.VOLUMES=2", "EVALUATION.VOLUMES"),
    ],
)
def test_settings_that_make_no_sense(override, words):
    with pytest.raises(UserError, match=words):
        load_config([override])
