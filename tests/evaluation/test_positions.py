"""Slices by their position in the volume, by hand. No TensorFlow."""

import numpy as np
import pytest

from utils.evaluation.case_scores import ScoredCase, find_regions
from utils.evaluation.positions import fifths_of_slices, score_positions


def slice_of(volume, number, common=0, false=0, missed=0):
    return ScoredCase(f"{volume}_{number}", np.array([[10, false], [missed, common]]), volume, number)


@pytest.mark.parametrize(
    "count, fifths",
    [(1, [2]), (2, [1, 3]), (4, [0, 1, 3, 4]), (5, [0, 1, 2, 3, 4]), (10, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])],
)
def test_the_middle_of_a_slice_decides(count, fifths):
    slices = [slice_of("a", number) for number in range(count)]
    assert fifths_of_slices(slices) == fifths
    assert fifths_of_slices(slices[::-1]) == fifths[::-1]  # their numbers count, not the order in which they come


def test_volumes_are_divided_by_themselves():
    """Five slices of a, two of b with numbers far apart, mixed."""
    a = [slice_of("a", 0, 1), slice_of("a", 1, 1, 1, 1), slice_of("a", 2), slice_of("a", 3, 0, 0, 2), slice_of("a", 4)]
    b = [slice_of("b", 40, 1), slice_of("b", 900, 2)]
    found = score_positions([a[0], b[1], *a[1:], b[0]], find_regions(2))
    assert [entry["slices"] for entry in found] == [1, 2, 1, 2, 1]
    assert [(entry["from"], entry["to"]) for entry in found][:2] == [(0, 0.2), (0.2, 0.4)]
    means = [entry["regions"]["class1"] for entry in found]
    assert [entry["dice"] for entry in means] == [1, 0.75, None, 0.5, None]  # (1/2 + 1) / 2, nothing there, (0 + 1) / 2
    assert [entry["slices"] for entry in means] == [1, 2, 0, 2, 0]


def test_of_several_classes_each_has_a_mean():
    confusion = np.array([[5, 0, 0], [0, 2, 1], [0, 0, 0]])
    (found, *_) = score_positions([ScoredCase("", confusion, "a", n) for n in range(5)], find_regions(3))
    assert found["regions"]["class1"]["dice"] == pytest.approx(4 / 5)
    assert found["regions"]["class2"]["dice"] == 0 and found["regions"]["foreground"]["dice"] == 1
