"""Centreline Dice of tubes: vessels, roads, nerves.

clDice of Shit et al. 2021, "clDice - a novel topology-preserving loss function for tubular structure segmentation",
https://arxiv.org/abs/2003.07311, of masks.
"""

from typing import ClassVar

import numpy as np
from skimage.morphology import skeletonize

from losses.whole_images import ClassMaps, Part, WholeImageMetric, parts_by_score


def centreline_counts(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int, int]:
    """Count skeletons inside masks.

    Args:
        truth, predicted: bool `(row, column)` or `(slice, row, column)`.

    Returns:
        Pixels of the predicted skeleton inside the truth and in all, of the true skeleton inside the prediction and in
        all.

    >>> line = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    >>> centreline_counts(line, line & [True, True, False, False])
    (2, 2, 2, 4)
    """
    predicted_line, true_line = (skeletonize(mask) > 0 for mask in (predicted, truth))
    return (
        int((predicted_line & truth).sum()),
        int(predicted_line.sum()),
        int((true_line & predicted).sum()),
        int(true_line.sum()),
    )


class CentrelineScores(WholeImageMetric):
    """Parts of each case.

    cldice_precision: the share of the predicted skeleton inside the truth; cldice_sensitivity: the share of the true
    skeleton inside the prediction; cldice: their harmonic mean, left out where both masks are empty, 0 where one is or
    no skeleton lies inside the other mask.
    """

    of_volumes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.cases: list[dict[str, Part]] = []

    def add(self, maps: ClassMaps) -> None:
        correct, found, covered, true = centreline_counts(maps.truth, maps.predicted)
        precision, sensitivity = correct / max(found, 1), covered / max(true, 1)
        both = precision + sensitivity
        self.cases.append(
            {
                "cldice": (2 * precision * sensitivity / both if both else 0.0, float(true + found > 0)),
                "cldice_precision": (precision, float(found > 0)),
                "cldice_sensitivity": (sensitivity, float(true > 0)),
            }
        )

    def results(self) -> dict[str, list[Part] | float]:
        return parts_by_score(self.cases)
