"""Objects and lesions by size, by hand: pixels, ml, edges themselves, and lesions that share a prediction."""

import itertools

import numpy as np
import pytest

from losses.whole_images import ClassMaps
from losses.whole_images.lesions import LesionScores, match_lesions, matched
from losses.whole_images.objects import ObjectScores
from losses.whole_images.sizes import SizeBins

# Objects of 1, 3, 5 and 3 pixels; found are the first, the third (4 of 5), and the last with 1 of 3.
TRUTH = np.array([[1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1]], bool)
FOUND = np.array([[1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1]], bool)


def parts(metric, truth, predicted, voxel_ml=None):
    metric.add(ClassMaps(truth, predicted, predicted.astype(np.float32), np.ones_like(truth), voxel_ml))
    found = metric.results()
    return {name.split("_size_")[1]: value for name, value in found.items() if "_size_" in name and "sens" in name}, {
        name.split("_size_")[1]: value for name, value in found.items() if "_count_size_" in name
    }


def test_objects_are_found_above_half_and_lesions_above_a_tenth():
    """An object as large as an edge, of 3 pixels, is in the range that begins there."""
    shares, counts = parts(ObjectScores([3, 5]), TRUTH, FOUND)
    assert shares == {"0_3": [(1, 1)], "3_5": [(0, 2)], "5_inf": [(1, 1)]}
    assert counts == {"0_3": 1, "3_5": 2, "5_inf": 1}
    shares, counts = parts(LesionScores([3, 5]), TRUTH, FOUND)
    assert shares["3_5"] == [(1, 2)] and counts["3_5"] == 2


def test_sizes_of_volumes_are_in_ml():
    shares, counts = parts(LesionScores([0.9]), TRUTH[None], FOUND[None], voxel_ml=0.3)
    assert shares == {"0_0.9_ml": [(1, 1)], "0.9_inf_ml": [(2, 3)]} and counts == {"0_0.9_ml": 1, "0.9_inf_ml": 3}


def test_images_are_counted_together_and_empty_ranges_are_zero():
    metric = ObjectScores([100])
    parts(metric, TRUTH, FOUND)
    shares, counts = parts(metric, TRUTH, np.zeros_like(TRUTH))
    assert shares == {"0_100": [(2, 4), (0, 4)], "100_inf": [(0, 0), (0, 0)]}
    assert counts == {"0_100": 8, "100_inf": 0}


def test_without_edges_there_is_nothing_by_size():
    for metric in (ObjectScores(), LesionScores()):
        assert parts(metric, TRUTH, FOUND) == ({}, {})
    assert SizeBins([]).names == []


def test_of_two_lesions_under_one_prediction_the_better_fit_is_found():
    truth = np.array([[1, 1, 0, 1, 1, 1]], bool)
    found, sizes, findings = match_lesions(truth, np.ones_like(truth))
    assert found["10"].tolist() == [False, True] and sizes.tolist() == [2, 3] and findings == 1


@pytest.mark.parametrize("seed", range(5))
def test_matching_against_every_assignment(seed):
    """Most pairs first, then the largest sum of IoU, by trying all."""
    random = np.random.default_rng(seed)
    iou = random.random((4, 4)) * (random.random((4, 4)) < 0.5)
    first, second = np.nonzero(iou)
    rows = matched(first, second, iou[first, second])
    best = max(
        (sum(iou[row, column] > 0 for row, column in enumerate(order)), iou[range(4), order].sum(), order)
        for order in itertools.permutations(range(4))
    )
    assert rows.tolist() == [row for row in range(4) if iou[row, best[2][row]] > 0]
    assert matched(first[:0], second[:0], iou[first, second][:0]).tolist() == []
