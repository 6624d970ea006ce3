"""Scores of cases and sets, worked out by hand; what is absent is counted, never averaged in silence."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from utils.evaluation.case_scores import (
    ScoredCase,
    bootstrap_interval,
    case_columns,
    find_regions,
    join_volumes,
    mean_dice,
    score_region,
    score_set,
)
from utils.evaluation.postprocessing import largest_component


def two_classes(background, false, missed, common):
    """Confusion matrix of background and one class."""
    return np.array([[background, false], [missed, common]])


# Four volumes: found (Dice 2*6/(8+10) = 2/3), missed, false positive, absent.
CASES = [
    ScoredCase("a", two_classes(86, 4, 2, 6), "a", images=4, voxel_ml=0.5),
    ScoredCase("b", two_classes(95, 0, 5, 0), "b", images=4, voxel_ml=0.5),
    ScoredCase("c", two_classes(97, 3, 0, 0), "c", images=4, voxel_ml=0.5),
    ScoredCase("d", two_classes(100, 0, 0, 0), "d", images=4, voxel_ml=0.5),
]
ONE = find_regions(2)


def values(summary, region="class1"):
    return {name: entry["value"] for name, entry in summary[region].items() if name != "states"}


def test_the_four_states_of_a_class():
    assert [score_region(case.confusion, [1])["state"] for case in CASES] == [
        "found",
        "missed",
        "false_positive",
        "absent",
    ]
    assert [score_region(case.confusion, [1])["dice"] for case in CASES] == [pytest.approx(2 / 3), 0, 0, None]
    assert [score_region(case.confusion, [1])["iou"] for case in CASES] == [0.5, 0, 0, None]
    assert mean_dice(CASES[3], ONE) is None


def test_a_set_by_hand():
    summary = score_set(CASES, ONE, 0, 5)
    assert summary["class1"]["states"] == {"found": 1, "missed": 1, "false_positive": 1, "absent": 1}
    found = values(summary)
    # common 6, true 8 + 5, predicted 10 + 3
    assert found["dice"] == pytest.approx(12 / 26) and found["iou"] == pytest.approx(6 / 20)
    assert found["sensitivity"] == pytest.approx(6 / 13) and found["precision"] == pytest.approx(6 / 13)
    assert found["dice_per_case"] == pytest.approx((2 / 3 + 0 + 0) / 3)  # absent in both: left out
    assert found["dice_per_case_lits"] == pytest.approx((2 / 3 + 0 + 0 + 1) / 4)
    assert found["iou_per_case"] == pytest.approx(0.5 / 3)
    # with truth: a 10 of 8, b 0 of 5
    assert found["volume_error"] == pytest.approx((0.25 - 1) / 2)
    assert found["volume_error_abs"] == pytest.approx((0.25 + 1) / 2)
    assert found["volume_error_ml"] == pytest.approx((2 - 5 + 3 + 0) * 0.5 / 4)
    counts = {name: entry["cases"] for name, entry in summary["class1"].items() if name != "states"}
    assert counts["dice_per_case"] == 3 and counts["dice_per_case_lits"] == 4 and counts["volume_error"] == 2
    assert "hd95_mm" not in found


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        (two_classes(90, 0, 0, 10), 0),
        (two_classes(85, 5, 5, 5), 0),  # as large, elsewhere: a volume says nothing of the place
        (two_classes(80, 10, 0, 10), 1),
        (two_classes(90, 0, 10, 0), 1),
        (two_classes(80, 20, 0, 0), None),
        (two_classes(100, 0, 0, 0), None),
    ],
)
def test_the_absolute_volume_difference_perfect_worst_and_empty(confusion, expected):
    found = score_set([ScoredCase("x", confusion, "x")], ONE, 0, 0)["class1"]
    assert found.get("volume_error_abs", {}).get("value") == expected


def test_a_score_that_nothing_defines_is_left_out():
    found = score_set(CASES[3:], ONE, 100, 5)["class1"]
    assert set(found) == {"states", "dice_per_case_lits", "volume_error_ml"}
    assert found["dice_per_case_lits"] == {"value": 1, "low": None, "high": None, "cases": 1}


def test_several_classes_and_all_together():
    confusion = np.array([[50, 1, 0], [2, 20, 3], [0, 4, 20]])
    regions = find_regions(3)
    assert regions == {"class1": [1], "class2": [2], "foreground": [1, 2]}
    found = values(score_set([ScoredCase("x", confusion)], regions, 0, 0), "foreground")
    # the liver of LiTS: a tumour taken for liver is still liver
    assert found["dice"] == pytest.approx(2 * 47 / (49 + 48))
    assert "volume_error" not in found  # an image has no volume
    assert values(score_set([ScoredCase("x", confusion)], regions, 0, 0), "class2")["dice"] == pytest.approx(40 / 47)
    assert mean_dice(ScoredCase("x", confusion), regions) == pytest.approx((40 / 50 + 40 / 47) / 2)
    assert find_regions(1) == find_regions(2) == {"class1": [1]}
    assert find_regions(2, background=False) == {"class0": [0], "class1": [1]}


def test_slices_are_summed_to_volumes():
    slices = [
        ScoredCase(f"image_{v}_{s}.png", two_classes(9, s, 1, 2), v, s, voxel_ml=1.0) for v in "ab" for s in range(3)
    ]
    volumes = join_volumes(slices)
    assert [volume.name for volume in volumes] == ["a", "b"] and volumes[0].images == 3
    np.testing.assert_array_equal(volumes[1].confusion, two_classes(27, 3, 3, 6))
    np.testing.assert_array_equal(slices[0].confusion, two_classes(9, 0, 1, 2))
    assert case_columns(volumes[0], ONE)["volume_error_ml_class1"] == 0
    assert case_columns(slices[1], ONE) | {} == {
        "image": "image_a_1.png",
        "volume": "a",
        "slice": 1,
        "true_class1": 3,
        "predicted_class1": 3,
        "common_class1": 2,
        "state_class1": "found",
        "dice_class1": pytest.approx(2 / 3),
        "iou_class1": 0.5,
    }
    assert case_columns(CASES[3], ONE)["dice_class1"] == ""


def test_surface_scores_of_volumes():
    cases = [ScoredCase(name, CASES[0].confusion, name, surface={"class1": score}) for name, score in SURFACES.items()]
    found = score_set(cases, ONE, 0, 0)["class1"]
    assert found["hd95_mm"] == {"value": 3, "low": None, "high": None, "cases": 2}
    assert found["surface_dice"]["value"] == pytest.approx(1.5 / 3) and found["surface_dice"]["cases"] == 3
    assert case_columns(cases[2], ONE)["hd95_mm_class1"] == ""


SURFACES = {
    "a": {"hd95_mm": 2.0, "assd_mm": 1.0, "surface_dice": 0.9},
    "b": {"hd95_mm": 4.0, "assd_mm": 1.0, "surface_dice": 0.6},
    "missed": {"surface_dice": 0.0},
    "absent": None,
}


def test_intervals_agree_with_scipy():
    random = np.random.default_rng(0)
    top, bottom = random.random(40), random.random(40) + 1
    table = np.stack([np.stack([top, np.ones(40)], 1), np.stack([top, bottom], 1)], axis=1)
    low, high = bootstrap_interval(table, 4000, 1)
    assert bootstrap_interval(table, 4000, 1) == (low, high) != bootstrap_interval(table, 4000, 2)
    options = {"method": "percentile", "n_resamples": 4000, "rng": 3, "paired": True, "vectorized": False}
    for number, ratio in enumerate((lambda a, b: a.mean(), lambda a, b: a.sum() / b.sum())):
        expected = bootstrap((top, bottom), ratio, **options).confidence_interval
        assert (low[number], high[number]) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_intervals_need_two_cases_and_may_be_switched_off():
    table = np.ones((1, 2, 2))
    assert bootstrap_interval(table, 100, 0) == ([None, None], [None, None])
    assert bootstrap_interval(np.ones((5, 1, 2)), 0, 0) == ([None], [None])
    assert bootstrap_interval(np.ones((5, 1, 2)), 10, 0) == ([1.0], [1.0])


def test_a_resample_without_the_class_does_not_spoil_the_interval():
    found = score_set(CASES, ONE, 200, 0)["class1"]
    assert all(
        math.isfinite(entry[end]) for name, entry in found.items() if name != "states" for end in ("low", "high")
    )
    assert found["dice_per_case"]["low"] <= found["dice_per_case"]["value"] <= found["dice_per_case"]["high"]


def test_the_largest_component_in_3d():
    labels = np.zeros((3, 4, 6), np.uint8)
    labels[:, 0, 0] = 1  # 3 voxels over three slices
    labels[1, 2:4, 3] = 2  # 4 voxels of two classes that touch
    labels[1, 2:4, 4] = 1
    labels[0, 3, 5] = 1  # touches by an edge only
    kept = largest_component(labels)
    assert kept.sum() == 2 * 2 + 2 and kept[1, 2, 3] == 2 and kept[1, 2, 4] == 1 and kept[0].sum() == 0
    # slice by slice another piece is the largest of the first slice
    assert largest_component(labels[:1]).sum() == 1
    np.testing.assert_array_equal(largest_component(np.zeros((2, 3, 3), np.uint8)), 0)
