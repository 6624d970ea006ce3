"""Data from which nothing can be learned is refused or named before the first step."""

import cv2
import numpy as np
import pytest

from data_preparation.verify_data import verify_data
from utils.base.errors import UserError
from utils.config import load_config

CLASS_0, CLASS_1, VOID = np.zeros((16, 16), np.uint8), np.ones((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)
BOTH = np.tri(16, dtype=np.uint8)


def write(folder, train, val=(BOTH, BOTH)):
    """Write a pair for each mask."""
    for split, masks in (("train", train), ("val", val)):
        for number, mask in enumerate(masks):
            for kind, pixels in (("images", 100 * BOTH + number + 50 * (split == "val")), ("mask", mask)):
                path = folder / "data" / split / kind / f"{kind.removesuffix('s')}_0_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)


def verify(folder, *overrides, **named):
    return verify_data(
        load_config([f"WORK_DIR={folder}", "VERBOSE=0", "INPUT.HEIGHT=16", "INPUT.WIDTH=16", *overrides]), **named
    )


@pytest.mark.parametrize("split", ["train", "val"])
def test_nothing_but_ignored_pixels_is_refused(split, tmp_path):
    write(tmp_path, **{"train": [BOTH, BOTH], split: [VOID, VOID]})
    with pytest.raises(UserError, match=rf"{split}: every pixel of its 2 masks.*IGNORE_LABEL=255"):
        verify(tmp_path, "DATASET.IGNORE_LABEL=255")
    verify(tmp_path, "DATASET.IGNORE_LABEL=255", need_masks=False)  # prediction needs no labels


@pytest.mark.parametrize(
    "train, overrides, words",
    [
        ([BOTH, VOID, VOID], ["DATASET.IGNORE_LABEL=255"], "2 of 3 masks of train ignored as a whole"),
        ([CLASS_0, CLASS_0], [], "the masks of train have no foreground, only 0: a network learns to find nothing"),
        ([CLASS_1, CLASS_1], [], "no pixel of class 0 (background), nothing but foreground"),
        ([CLASS_1, CLASS_1], ["OUTPUT.CLASSES=1"], "no pixel of class 0 (background), nothing but foreground"),
        ([BOTH], [], "train has one image"),
        ([BOTH, BOTH], ["OUTPUT.CLASSES=3"], "class 2 (class2) never occurs in train and cannot be learned"),
        ([BOTH, BOTH], ["OUTPUT.CLASSES=4"], "classes 2 (class2), 3 (class3) never occur in train"),
        ([BOTH, 2 * BOTH], ["OUTPUT.CLASSES=3"], "class 2 (class2) never occurs in val and has no score there"),
        ([BOTH, BOTH], ["OUTPUT.CLASSES=40"], "and 28 more never occur in train"),
    ],
)
def test_what_is_allowed_but_rarely_meant(train, overrides, words, tmp_path, capsys):
    write(tmp_path, train)
    verify(tmp_path, *overrides)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("overrides", [[], ["OUTPUT.CLASSES=1"], ["OUTPUT.CLASS_NAMES=[sky,road]"]])
def test_ordinary_data_gives_no_line(overrides, tmp_path, capsys):
    write(tmp_path, [BOTH, CLASS_0, CLASS_1])
    verify(tmp_path, *overrides)
    assert not capsys.readouterr().err


def test_a_class_of_a_classifier_that_never_occurs(tmp_path, capsys):
    for split, classes in (("train", "ab"), ("val", "a")):
        for name in classes:
            path = tmp_path / "data" / split / "images" / name / "1.png"
            path.parent.mkdir(parents=True)
            cv2.imwrite(str(path), 100 * BOTH + len(split) + ord(name))
    verify(tmp_path, "MODEL.TYPE=classifier", "OUTPUT.CLASSES=2", "OUTPUT.CLASS_NAMES=[a,b]")
    assert "class b never occurs in val and has no score there" in capsys.readouterr().err
    verify(tmp_path, "MODEL.TYPE=classifier", "OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[a,b,c]")
    assert "class c never occurs in train and cannot be learned" in capsys.readouterr().err


def test_counts_of_overlapping_classes_begin_with_all_pixels_that_count(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[0], mask[1], mask[2] = 1, 3, 255  # class 1, both, ignored
    write(tmp_path, [mask, mask], [mask])
    overrides = ["OUTPUT.CLASSES=2", "OUTPUT.MULTI_LABEL=True", "DATASET.IGNORE_LABEL=255"]
    assert verify(tmp_path, *overrides)["val"]["label_counts"].tolist() == [[15 * 16, 32, 16]]
