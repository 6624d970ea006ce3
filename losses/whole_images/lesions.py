"""Detection of lesions, or of any separate pieces, case by case.

A lesion is a connected component. A true and a predicted one match where their IoU is above a threshold; each has one
partner at most, and as many as possible are matched (Maier-Hein et al. 2024, "Metrics reloaded",
https://doi.org/10.1038/s41592-023-02151-z: localization by mask IoU, matching by assignment). Among such matchings that
with the largest sum of IoU is taken, which decides only which lesions are found, not how many.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.ndimage import generate_binary_structure, label
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from losses.whole_images import ClassMaps, Part, WholeImageMetric, parts_by_score
from losses.whole_images.sizes import FoundBySize
from utils.base.pieces import overlaps

# Name of a threshold -> percent of IoU that a match must exceed.
THRESHOLDS = {"any": 0, "10": 10, "50": 50}


BY_SIZE = "10"  # the threshold at which lesions are found, size by size


def match_lesions(truth: np.ndarray, predicted: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """Find the lesions that are found.

    Args:
        truth, predicted: bool `(row, column)` or `(slice, row, column)`. Pixels and voxels of a lesion share a face, an
            edge or a corner.

    Returns:
        Whether each true lesion has a partner by name of the threshold, bool `(lesions,)`, the pixels or voxels of each
        true lesion, int64 `(lesions,)`, and the number of predicted lesions.

    Example, the first of two lesions found with an IoU of 1/3:
        >>> found, sizes, _ = match_lesions(np.array([[1, 1, 1, 0, 1]], bool), np.array([[1, 0, 0, 0, 0]], bool))
        >>> found["10"].tolist(), found["50"].tolist(), sizes.tolist()
        ([True, False], [False, False], [3, 1])
    """
    joined = generate_binary_structure(truth.ndim, truth.ndim)
    (true, _), (found, findings) = (label(mask, joined) for mask in (truth, predicted))
    first, second, common = overlaps(true.ravel(), found.ravel())
    sizes, found_sizes = np.bincount(true.ravel()), np.bincount(found.ravel())
    both = (first > 0) & (second > 0)
    first, second, common = first[both], second[both], common[both]
    union = sizes[first] + found_sizes[second] - common
    matches = {}
    for name, percent in THRESHOLDS.items():
        near = 100 * common > percent * union  # whole numbers, so that 0.1 is 0.1
        matches[name] = np.zeros(len(sizes), bool)
        matches[name][matched(first[near], second[near], common[near] / union[near])] = True
    return {name: found[1:] for name, found in matches.items()}, sizes[1:], findings


def matched(first: np.ndarray, second: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Those of `first` with a partner: most pairs of which no two share an end, and then the largest sum of IoU.

    Args:
        first, second: int `(pairs,)`, the ends of each pair; iou: `(pairs,)`, in (0, 1].

    Two lesions of one finding, the second with the larger IoU:
        >>> matched(np.array([1, 2]), np.array([1, 1]), np.array([0.2, 0.6])).tolist()
        [2]
    """
    names, rows, choices = np.unique(first, return_inverse=True, return_counts=True)
    _, columns, rivals = np.unique(second, return_inverse=True, return_counts=True)
    certain = (choices[rows] == 1) & (rivals[columns] == 1)
    if certain.all():
        return names
    names, rows = np.unique(first[~certain], return_inverse=True)
    _, columns = np.unique(second[~certain], return_inverse=True)
    count, findings = len(names), int(columns.max()) + 1
    # A full matching of least cost exists where each row may also take a column of its own, dearer than all others.
    alone = np.arange(count)
    costs = np.concatenate([2 - iou[~certain], np.full(count, 2.0 * count + 2)])
    places = np.concatenate([rows, alone]), np.concatenate([columns, findings + alone])
    _, partners = min_weight_full_bipartite_matching(csr_array((costs, places), (count, findings + count)))
    return np.union1d(first[certain], names[partners < findings])


class LesionScores(WholeImageMetric):
    """Parts of each case, at each of THRESHOLDS.

    lesion_f1_<threshold>: 2 TP / (2 TP + FP + FN), left out without any lesion; lesion_sensitivity_<threshold>:
    TP / (TP + FN), left out without a true lesion; lesion_false_positives_<threshold>: FP, of every case. With edges
    also those of `FoundBySize` at BY_SIZE, in ml where the volume of a voxel is known.
    """

    of_volumes: ClassVar[bool] = True
    by_size: ClassVar[bool] = True

    def __init__(self, edges: Sequence[float] = ()) -> None:
        self.cases: list[dict[str, Part]] = []
        self.by_sizes = FoundBySize("lesion", edges)

    def add(self, maps: ClassMaps) -> None:
        matches, sizes, found = match_lesions(maps.truth, maps.predicted)
        parts: dict[str, Part] = self.by_sizes.parts(sizes, matches[BY_SIZE], maps.voxel_ml)
        true = len(sizes)
        for name, of_lesions in matches.items():
            hits = int(of_lesions.sum())
            parts[f"lesion_f1_{name}"] = (2 * hits / max(true + found, 1), float(true + found > 0))
            parts[f"lesion_sensitivity_{name}"] = (hits / max(true, 1), float(true > 0))
            parts[f"lesion_false_positives_{name}"] = (float(found - hits), 1.0)
        self.cases.append(parts)

    def results(self) -> dict[str, list[Part] | float]:
        return {**parts_by_score(self.cases), **self.by_sizes.results()}
