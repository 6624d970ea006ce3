"""Scores that are a bad fit for the validation masks. No TensorFlow."""

import numpy as np
import pytest

from losses.bad_fit import empty_share, explain_empty_masks, explain_tiny_classes, find_bad_monitors
from utils.config import load_config

# Foreground: 4 % of all pixels, in one mask of three.
MOSTLY_EMPTY = np.array([[100, 0], [100, 0], [88, 12]])
LARGE = np.array([[50, 50], [60, 40], [100, 0]])
CHECKPOINT, STOPPING = "CALLBACKS.MODEL_CHECKPOINT.MONITOR", "CALLBACKS.EARLY_STOPPING.MONITOR"


@pytest.mark.parametrize(
    "counts, overrides, words",
    [
        (MOSTLY_EMPTY, [], []),  # dice, of all pixels
        (MOSTLY_EMPTY, [f"{CHECKPOINT}=val_loss"], []),
        (LARGE, [f"{CHECKPOINT}=dice_coef"], []),
        (LARGE, [f"{CHECKPOINT}=iou_all_classes"], []),
        (MOSTLY_EMPTY, [f"{CHECKPOINT}=val_dice_coef"], [f"{CHECKPOINT}=val_dice_coef counts masks without"]),
        (
            MOSTLY_EMPTY,
            [f"{CHECKPOINT}=iou_all_classes"],
            ["foreground is 4.0% of the validation pixels: a network that finds nothing has 0.48."],
        ),
        (MOSTLY_EMPTY, [f"{STOPPING}=dice_coef"], [f"{STOPPING}=dice_coef counts masks without"]),
        (MOSTLY_EMPTY, [f"{CHECKPOINT}=dice_coef", f"{STOPPING}=dice_coef"], [CHECKPOINT, STOPPING]),
        (MOSTLY_EMPTY, [f"{CHECKPOINT}=dice_coef", "OUTPUT.CLASS_NAMES=[sky,road]"], []),  # no background
        (MOSTLY_EMPTY[:0], [f"{CHECKPOINT}=dice_coef"], []),
        (MOSTLY_EMPTY, ["MODEL.TYPE=classifier", f"{CHECKPOINT}=accuracy"], []),
    ],
)
def test_monitors(counts, overrides, words):
    found = find_bad_monitors(load_config(["OUTPUT.CLASSES=2", *overrides]), counts)
    assert len(found) == len(words) and all(word in line for word, line in zip(words, found, strict=True)), found
    assert all(line.endswith("Set it to dice.") and "\n" not in line for line in found)


def test_the_edges_themselves_are_no_bad_fit():
    """Exactly 5 % of the pixels, exactly half of the masks."""
    counts = np.array([[100, 0], [90, 10]])
    for name in ("dice_coef", "iou_all_classes"):
        assert find_bad_monitors(load_config(["OUTPUT.CLASSES=2", f"{CHECKPOINT}={name}"]), counts) == []


def test_what_an_evaluation_says():
    assert empty_share(MOSTLY_EMPTY, 1) == pytest.approx(2 / 3) and empty_share(MOSTLY_EMPTY, 0) == 0
    (tiny,) = explain_tiny_classes(MOSTLY_EMPTY, ["background", "spot"], 1, "volume")
    assert tiny.startswith("spot has 12 pixels in the median volume")
    (empty,) = explain_empty_masks(MOSTLY_EMPTY, 1, "volume", "one")
    assert empty.startswith("67% of the volumes have no foreground") and "dice, of all pixels" in empty
    assert explain_empty_masks(MOSTLY_EMPTY, 1, "image", "skip") == explain_empty_masks(LARGE, 1, "image", "one") == []
