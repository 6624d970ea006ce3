"""Centreline Dice, boundary IoU and lesions: by hand, perfect, worst, empty, and against independent code."""

import itertools

import cv2
import numpy as np
import pytest
from skimage.measure import label
from skimage.morphology import skeletonize

from losses.whole_images import ClassMaps
from losses.whole_images.boundary import BoundaryScores, boundary, boundary_width
from losses.whole_images.centreline import CentrelineScores
from losses.whole_images.lesions import LesionScores, match_lesions


def scores(metric, *images):
    """Set scores of images or volumes `(truth, predicted)`; a score that none defines is missing."""
    for truth, predicted in images:
        truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
        metric.add(ClassMaps(truth, predicted, predicted.astype(np.float32), np.ones_like(truth)))
    sums = {name: np.sum(parts, axis=0) for name, parts in metric.results().items()}
    return {name: float(top / bottom) for name, (top, bottom) in sums.items() if bottom}


def counts(truth, predicted):
    """Matches by threshold, and the numbers of true and of predicted lesions."""
    found, sizes, findings = match_lesions(truth, predicted)
    return {name: int(of_lesions.sum()) for name, of_lesions in found.items()}, len(sizes), findings


def blobs(seed, size):
    """Smooth random pieces."""
    noise = np.random.default_rng(seed).random(size).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2) > 0.5


TUBE = np.zeros((9, 12), bool)
TUBE[4, 1:11] = True
NOTHING = np.zeros_like(TUBE)


def test_half_a_line_by_hand():
    half = TUBE.copy()
    half[:, 6:] = False
    found = scores(CentrelineScores(), (TUBE, half))
    assert found == pytest.approx({"cldice": 2 * 0.5 / 1.5, "cldice_precision": 1, "cldice_sensitivity": 0.5})


@pytest.mark.parametrize("shape", [TUBE, np.stack([NOTHING, TUBE, NOTHING])])
def test_centreline_perfect_worst_and_empty(shape):
    none = np.zeros_like(shape)
    assert set(scores(CentrelineScores(), (shape, shape)).values()) == {1}
    assert scores(CentrelineScores(), (shape, np.roll(shape, 2, axis=-2)))["cldice"] == 0
    assert scores(CentrelineScores(), (none, none)) == {}
    assert scores(CentrelineScores(), (shape, none)) == {"cldice": 0, "cldice_sensitivity": 0}
    assert scores(CentrelineScores(), (none, shape)) == {"cldice": 0, "cldice_precision": 0}


@pytest.mark.parametrize("size", [(40, 50), (12, 30, 20)])
def test_centreline_dice_is_that_of_its_authors(size):
    """`clDice` of github.com/jocpae/clDice, cldice_metric/cldice.py."""
    truth, predicted = blobs(1, size), blobs(1, size) ^ (np.random.default_rng(2).random(size) < 0.02)

    def covered(mask, line):
        return np.sum(mask * line) / np.sum(line)

    precision, sensitivity = covered(truth, skeletonize(predicted) > 0), covered(predicted, skeletonize(truth) > 0)
    expected = 2 * precision * sensitivity / (precision + sensitivity)
    assert 0 < expected < 1
    assert scores(CentrelineScores(), (truth, predicted))["cldice"] == pytest.approx(expected)


def test_boundary_by_hand():
    """Squares of side 6, one a column further: 20 border pixels each, 5 shared at the top and 5 at the bottom."""
    truth = np.zeros((10, 10), bool)
    truth[2:8, 1:7] = True
    assert boundary(truth, 1).sum() == 20 and boundary(truth, 3).sum() == 36
    moved = np.roll(truth, 1, axis=1)
    assert scores(BoundaryScores(), (truth, moved)) == {"boundary_iou": pytest.approx(10 / 30)}
    assert scores(BoundaryScores(), (truth, truth)) == {"boundary_iou": 1}
    assert scores(BoundaryScores(), (truth, ~truth & False), (~truth & False, truth)) == {"boundary_iou": 0}
    assert scores(BoundaryScores(), (NOTHING, NOTHING)) == {}
    assert scores(BoundaryScores(), (NOTHING, NOTHING), (truth, truth)) == {"boundary_iou": 1}  # left out


@pytest.mark.parametrize("seed", range(3))
def test_boundary_is_that_of_its_authors(seed):
    """`mask_to_boundary` of github.com/bowenc0221/boundary-iou-api."""
    mask = blobs(seed, (150, 210))
    width = boundary_width(*mask.shape)
    assert width == 5  # 2% of 258
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    np.testing.assert_array_equal(boundary(mask, width), mask & (eroded == 0))


def test_lesions_by_hand():
    """True: 4, 2 and 1 pixels. The first found with IoU 3/4, the second with 1/6, the third missed; one is false."""
    truth = np.array([[1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0]])
    found = np.array([[1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1]])
    assert counts(truth > 0, found > 0) == ({"any": 2, "10": 2, "50": 1}, 3, 3)
    result = scores(LesionScores(), (truth, found))
    assert result["lesion_f1_10"] == pytest.approx(4 / 6) and result["lesion_f1_50"] == pytest.approx(2 / 6)
    assert result["lesion_sensitivity_50"] == pytest.approx(1 / 3) and result["lesion_false_positives_50"] == 2


def test_lesions_perfect_worst_and_empty():
    perfect = scores(LesionScores(), (TUBE, TUBE))
    assert {name: value for name, value in perfect.items() if "positives" not in name}.keys() >= {"lesion_f1_any"}
    assert all(value == (0 if "positives" in name else 1) for name, value in perfect.items())
    missed, false = scores(LesionScores(), (TUBE, NOTHING)), scores(LesionScores(), (NOTHING, TUBE))
    assert missed["lesion_f1_any"] == missed["lesion_sensitivity_any"] == missed["lesion_false_positives_any"] == 0
    assert false["lesion_f1_any"] == 0 and false["lesion_false_positives_any"] == 1
    assert "lesion_sensitivity_any" not in false
    empty = scores(LesionScores(), (NOTHING, NOTHING))
    assert set(empty) == {f"lesion_false_positives_{name}" for name in ("any", "10", "50")} and not any(empty.values())


def test_a_prediction_over_two_lesions_finds_one():
    truth = np.array([[1, 1, 0, 1, 1]], bool)
    assert counts(truth, np.ones_like(truth))[0] == {"any": 1, "10": 1, "50": 0}


def test_slices_of_a_lesion_are_one_lesion():
    volume = np.zeros((3, 4, 4), bool)
    volume[0, 1, 1] = volume[1, 2, 2] = True  # share a corner
    assert counts(volume, volume) == ({"any": 1, "10": 1, "50": 1}, 1, 1)


@pytest.mark.parametrize("seed", range(4))
def test_lesions_against_every_assignment(seed):
    """Brute force over all pairs of components of scikit-image."""
    random = np.random.default_rng(seed)
    truth, predicted = random.random((2, 7, 8)) < 0.25
    true, found = label(truth, connectivity=2), label(predicted, connectivity=2)
    iou = np.array(
        [
            [((true == i) & (found == j)).sum() / ((true == i) | (found == j)).sum() for j in range(1, found.max() + 1)]
            for i in range(1, true.max() + 1)
        ]
    )
    if iou.shape[0] > iou.shape[1]:
        iou = iou.T
    near = iou[iou.any(1)]
    columns = np.flatnonzero(iou.any(0))
    matches, *pieces = counts(truth, predicted)
    assert pieces == [true.max(), found.max()] and matches["any"] > 0
    for name, threshold in {"any": 0, "10": 0.1, "50": 0.5}.items():
        options = [[None, *(column for column in columns if row[column] > threshold)] for row in near]
        best = 0
        for choice in itertools.product(*options):
            taken = [column for column in choice if column is not None]
            if len(taken) == len(set(taken)):
                best = max(best, len(taken))
        assert matches[name] == best
