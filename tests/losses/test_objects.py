"""Object scores by hand: perfect, one merge, one split, empty, and IoU at the thresholds themselves."""

import numpy as np
import pytest

from losses.whole_images import ClassMaps
from losses.whole_images.objects import ObjectScores, aggregated_jaccard, matched_objects

NAMES = (
    "object_ap50",
    "object_ap75",
    "object_ap",
    "object_aji",
    "object_f1",
    "object_f1_75",
    "object_pq",
    "object_sq",
)
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


def test_worst():
    """As many objects as there are, of the same size, in the wrong places, and such that overlap too little."""
    truth, found = np.array([[1, 1, 0, 0, 1, 1, 0, 0]]), np.array([[0, 0, 1, 1, 0, 0, 1, 1]])
    assert scores((truth, found)) == dict.fromkeys(NAMES[:-1], 0)
    overlapping = np.array([[0, 1, 1, 0, 0, 1, 1, 0]])  # IoU 1/3 each
    assert scores((truth, overlapping))["object_pq"] == scores((truth, overlapping))["object_f1"] == 0


def test_one_merge():
    """One predicted object of 7 pixels has an IoU of 3/7 with each."""
    expected = {**dict.fromkeys(NAMES[:-1], 0), "object_aji": pytest.approx((3 + 3) / (7 + 7))}
    assert scores((TWO, np.ones_like(TWO))) == expected  # no match has a quality


def test_one_split():
    """Pieces of 5 and 3 of an object of 9: IoU 5/9 is above 0.5 and 0.55, a second prediction is wrong."""
    truth, predicted = np.ones((1, 9)), np.ones((1, 9))
    predicted[0, 5] = 0
    found = scores((truth, predicted))
    expected = {"object_ap50": 1 / 2, "object_ap": 2 * (1 / 2) / 10, "object_f1": 2 / 3}
    expected |= {"object_ap75": 0, "object_f1_75": 0, "object_aji": 5 / (9 + 3)}
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


def test_numbered_objects_count_rather_than_pieces():
    """Two true objects that touch; found are the first, and a piece of the second."""
    truth, found = np.int32([[1, 1, 1, 2, 2, 2, 2]]), np.int32([[1, 1, 1, 0, 2, 2, 2]])
    metric = ObjectScores()
    metric.add(ClassMaps(truth > 0, found > 0, (found > 0).astype(np.float32), truth >= 0, None, truth, found))
    image = {name: parts[0] for name, parts in metric.results().items()}
    assert image["object_ap50"] == (1.0, 1.0)
    assert image["object_ap75"] == (1 / 3, 1.0)  # an IoU of 3/4 is not above 0.75
    assert image["object_f1_75"] == (2.0, 4.0) and image["object_pq"] == (1.75, 2.0)
    assert image["object_aji"] == ((3 + 3) / (3 + 4), 1.0)


def test_aggregated_jaccard_joins_the_best_and_counts_what_is_left():
    """Kumar et al. 2017, algorithm 1, by hand: the first object has two candidates, the second none."""
    truth = np.array([[1, 1, 1, 0, 2, 2, 0, 0]])
    found = np.array([[0, 2, 2, 2, 0, 0, 7, 7]])  # the best of 1; one that is wrong
    found[0, 0] = 5  # and one that is not the best
    assert aggregated_jaccard(truth, found) == (2, 4 + 2 + 1 + 2)
    swapped = np.array([[3, 3, 3, 3, 3, 3, 0, 0]])  # joined with both: Kumar et al. let it be used again
    assert aggregated_jaccard(truth, swapped) == (3 + 2, 6 + 6)
    assert aggregated_jaccard(truth, np.zeros_like(truth)) == (0, 5)
