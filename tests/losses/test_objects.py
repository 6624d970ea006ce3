"""Object scores by hand: perfect, one merge, one split, empty, and IoU at the thresholds themselves."""

import numpy as np
import pytest

from losses.whole_images import ClassMaps
from losses.whole_images.objects import ObjectScores, matched_objects

NAMES = ("object_ap50", "object_ap", "object_f1", "object_pq", "object_sq")
TWO = np.array([[1, 1, 1, 0, 1, 1, 1]], bool)


def scores(*images):
    """Set scores of images `(truth, predicted)`."""
    metric = ObjectScores()
    for truth, predicted in images:
        truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
        metric.add(ClassMaps(truth, predicted, predicted.astype(np.float32), np.ones_like(truth)))
    sums = {name: np.sum(parts, axis=0) for name, parts in metric.results().items()}
    return {name: float(top / bottom) for name, (top, bottom) in sums.items() if bottom}


def test_perfect():
    assert scores((TWO, TWO)) == dict.fromkeys(NAMES, 1)


def test_one_merge():
    """One predicted object of 7 pixels has an IoU of 3/7 with each."""
    assert scores((TWO, np.ones_like(TWO))) == dict.fromkeys(NAMES[:-1], 0)  # no match has a quality


def test_one_split():
    """Pieces of 5 and 3 of an object of 9: IoU 5/9 is above 0.5 and 0.55, a second prediction is wrong."""
    truth, predicted = np.ones((1, 9)), np.ones((1, 9))
    predicted[0, 5] = 0
    found = scores((truth, predicted))
    expected = {"object_ap50": 1 / 2, "object_ap": 2 * (1 / 2) / 10, "object_f1": 2 / 3}
    assert found == pytest.approx({**expected, "object_pq": (5 / 9) / (1 + 1 / 2), "object_sq": 5 / 9})
    assert found["object_pq"] == pytest.approx(found["object_sq"] * found["object_f1"])


def test_empty():
    none = np.zeros_like(TWO)
    assert scores((none, none)) == {}
    assert scores((TWO, none)) == scores((none, TWO)) == dict.fromkeys(NAMES[:-1], 0)
    assert scores((TWO, TWO), (none, none))["object_ap"] == 1  # nothing true, nothing found: left out


def test_ap_is_a_mean_over_images_and_f1_of_all_objects():
    one = np.array([[1, 1, 0, 0, 0, 0, 0]], bool)
    found = scores((TWO, TWO), (one, ~one & TWO))
    assert found["object_ap50"] == 1 / 2 and found["object_f1"] == pytest.approx(4 / (4 + 3))


def test_an_iou_at_the_threshold_does_not_match():
    truth = np.ones((1, 20), int)
    matches, true, found, quality = matched_objects(truth, np.where(np.arange(20) < 11, 1, 0)[None])  # IoU 0.55
    assert matches.tolist() == [1] + 9 * [0] and (true, found, quality) == (1, 1, 0.55)


def test_pixels_that_touch_at_a_corner_are_one_object():
    corners = np.eye(3, dtype=bool)
    assert scores((corners, corners))["object_ap50"] == 1
    assert matched_objects(corners.astype(int), corners.astype(int))[1:] == (1, 1, 1.0)
