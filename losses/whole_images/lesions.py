"""Detection of lesions, or of any separate pieces, case by case.

A lesion is a connected component. A true and a predicted one match where their IoU is above a threshold; each has one
partner at most, and as many as possible are matched (Maier-Hein et al. 2024, "Metrics reloaded",
https://doi.org/10.1038/s41592-023-02151-z: localization by mask IoU, matching by assignment).
"""

from typing import ClassVar

import numpy as np
from scipy.ndimage import generate_binary_structure, label
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from losses.whole_images import ClassMaps, Part, WholeImageMetric, parts_by_score
from utils.base.pieces import overlaps

# Name of a threshold -> percent of IoU that a match must exceed.
THRESHOLDS = {"any": 0, "10": 10, "50": 50}


def match_lesions(truth: np.ndarray, predicted: np.ndarray) -> tuple[dict[str, int], int, int]:
    """Count the lesions that are found.

    Args:
        truth, predicted: bool `(row, column)` or `(slice, row, column)`. Pixels and voxels of a lesion share a face, an
            edge or a corner.

    Returns:
        Matches by name of the threshold, and the numbers of true and of predicted lesions.

    Example, the first of two lesions found with an IoU of 1/3:
        >>> match_lesions(np.array([[1, 1, 1, 0, 1]], bool), np.array([[1, 0, 0, 0, 0]], bool))
        ({'any': 1, '10': 1, '50': 0}, 2, 1)
    """
    joined = generate_binary_structure(truth.ndim, truth.ndim)
    (true, lesions), (found, findings) = (label(mask, joined) for mask in (truth, predicted))
    first, second, common = overlaps(true.ravel(), found.ravel())
    sizes, found_sizes = np.bincount(true.ravel()), np.bincount(found.ravel())
    both = (first > 0) & (second > 0)
    first, second, common = first[both], second[both], common[both]
    union = sizes[first] + found_sizes[second] - common
    matches = {}
    for name, percent in THRESHOLDS.items():
        near = 100 * common > percent * union  # whole numbers, so that 0.1 is 0.1
        pairs = csr_array((np.ones(near.sum(), bool), (first[near] - 1, second[near] - 1)), (lesions, findings))
        matches[name] = int((maximum_bipartite_matching(pairs) >= 0).sum()) if near.any() else 0
    return matches, lesions, findings


class LesionScores(WholeImageMetric):
    """Parts of each case, at each of THRESHOLDS.

    lesion_f1_<threshold>: 2 TP / (2 TP + FP + FN), left out without any lesion; lesion_sensitivity_<threshold>:
    TP / (TP + FN), left out without a true lesion; lesion_false_positives_<threshold>: FP, of every case.
    """

    of_volumes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.cases: list[dict[str, Part]] = []

    def add(self, maps: ClassMaps) -> None:
        matches, true, found = match_lesions(maps.truth, maps.predicted)
        parts: dict[str, Part] = {}
        for name, matched in matches.items():
            parts[f"lesion_f1_{name}"] = (2 * matched / max(true + found, 1), float(true + found > 0))
            parts[f"lesion_sensitivity_{name}"] = (matched / max(true, 1), float(true > 0))
            parts[f"lesion_false_positives_{name}"] = (float(found - matched), 1.0)
        self.cases.append(parts)

    def results(self) -> dict[str, list[Part] | float]:
        return parts_by_score(self.cases)
