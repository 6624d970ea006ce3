"""Scores of objects: those that label images number, else the connected pieces of a class in truth and prediction.

AP as the 2018 Data Science Bowl defines it: TP / (TP + FP + FN) of an image at each IoU threshold (Caicedo et al. 2019,
"Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods 16,
https://doi.org/10.1038/s41592-019-0612-7). Panoptic quality of one class (Kirillov et al. 2019, "Panoptic
segmentation", https://arxiv.org/abs/1801.00868): PQ = SQ x RQ, where SQ is the mean IoU of the matches and RQ their F1.
Aggregated Jaccard index: Kumar et al. 2017, "A dataset and a technique for generalized nuclear segmentation for
computational pathology", IEEE TMI 36, https://doi.org/10.1109/TMI.2017.2677499, algorithm 1.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from losses.whole_images import ClassMaps, Part, WholeImageMetric, parts_by_score
from losses.whole_images.sizes import FoundBySize
from utils.base.pieces import find_pieces, overlaps

PERCENT = np.arange(50, 100, 5)  # IoU thresholds


def matched_objects(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, int, int, float]:
    """Count the objects that are found.

    A true and a predicted object match where their IoU is above the threshold; from 0.5 on none has two partners.

    Args:
        truth, predicted: int `(height, width)`, number of the object from 1, 0 where there is none.

    Returns:
        Matches at each threshold of PERCENT, int `(10,)`, the numbers of true and of predicted objects, and the sum of
        the IoU of the matches at 0.5.

    >>> matches, true, found, quality = matched_objects(np.array([[1, 1, 1, 0, 2]]), np.array([[0, 1, 1, 0, 0]]))
    >>> matches[:5].tolist(), true, found, round(quality, 3)
    ([1, 1, 1, 1, 0], 2, 1, 0.667)
    """
    _, _, common, union = pairs_of_objects(truth, predicted)
    # Whole numbers, so that 0.55 is 0.55.
    matches = (100 * common[:, np.newaxis] > PERCENT * union[:, np.newaxis]).sum(0)
    iou = common / union
    return matches, int(truth.max(initial=0)), int(predicted.max(initial=0)), float(iou[iou > 0.5].sum())


def pairs_of_objects(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each true and predicted object that share pixels their numbers, and the pixels of both and of either: four
    int64 `(pairs,)`."""
    first, second, common = overlaps(truth, predicted)
    sizes, found_sizes = np.bincount(truth.ravel()), np.bincount(predicted.ravel())
    union = sizes[first] + found_sizes[second] - common
    both = (first > 0) & (second > 0)
    return first[both], second[both], common[both], union[both]


def aggregated_jaccard(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int]:
    """Numerator and denominator of the aggregated Jaccard index, in pixels.

    Each true object is joined with the predicted one of the largest IoU, if any shares a pixel with it: their common
    pixels are added above, those of either below. A predicted object may be joined several times; the pixels of those
    that never are, are added below.

    Args:
        truth, predicted: as for `matched_objects`.

    >>> aggregated_jaccard(np.array([[1, 1, 1, 0, 2, 0]]), np.array([[0, 1, 1, 0, 0, 2]]))
    (2, 5)
    """
    first, second, common, union = pairs_of_objects(truth, predicted)
    sizes, found_sizes = np.bincount(truth.ravel()), np.bincount(predicted.ravel())
    # By true object, the largest IoU first, of equal ones the lower number.
    order = np.lexsort((second, -common / union, first))
    joined, position = np.unique(first[order], return_index=True)
    best = order[position]
    left, free = np.ones(len(sizes), bool), np.ones(len(found_sizes), bool)
    left[joined], free[second[best]] = False, False
    left[0] = free[0] = False
    below = union[best].sum() + sizes[left].sum() + found_sizes[free].sum()
    return int(common[best].sum()), int(below)


def found_objects(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of each true object, int64 `(objects,)`, and whether a predicted one has an IoU above 0.5 with it.

    >>> [part.tolist() for part in found_objects(np.array([[1, 1, 1, 0, 2]]), np.array([[0, 1, 1, 0, 0]]))]
    [[3, 1], [True, False]]
    """
    sizes = np.bincount(truth.ravel())
    found = np.zeros(len(sizes), bool)
    number, _, common, union = pairs_of_objects(truth, predicted)
    found[number[2 * common > union]] = True
    return sizes[1:], found[1:]


class ObjectScores(WholeImageMetric):
    """Parts of each image.

    Of images, left out where truth and prediction have no object: object_ap50, object_ap75: TP / (TP + FP + FN) at IoU
    0.5 and 0.75; object_ap: the mean of that over IoU 0.5, 0.55 ... 0.95; object_aji: of `aggregated_jaccard`.

    So that a set has those of all its objects: object_f1 (RQ), object_f1_75: 2 TP and 2 TP + FP + FN at IoU 0.5 and
    0.75; object_pq: the IoU of the matches at 0.5 and (2 TP + FP + FN) / 2; object_sq: that IoU and TP.

    With edges also the scores of `FoundBySize`, in pixels.
    """

    by_size: ClassVar[bool] = True
    of_objects: ClassVar[bool] = True

    def __init__(self, edges: Sequence[float] = ()) -> None:
        self.images: list[dict[str, Part]] = []
        self.by_sizes = FoundBySize("object", edges)

    def add(self, maps: ClassMaps) -> None:
        objects = find_pieces(maps.truth) if maps.objects is None else maps.objects
        findings = find_pieces(maps.predicted) if maps.found is None else maps.found
        matches, true, found, quality = matched_objects(objects, findings)
        ap = matches / np.maximum(true + found - matches, 1)
        defined = float(true + found > 0)
        above, below = aggregated_jaccard(objects, findings)
        strict = int(np.flatnonzero(PERCENT == 75)[0])
        self.images.append(
            {
                "object_ap50": (float(ap[0]), defined),
                "object_ap75": (float(ap[strict]), defined),
                "object_ap": (float(ap.mean()), defined),
                "object_aji": (above / max(below, 1), defined),
                "object_f1": (2.0 * matches[0], float(true + found)),
                "object_f1_75": (2.0 * matches[strict], float(true + found)),
                "object_pq": (quality, (true + found) / 2),
                "object_sq": (quality, float(matches[0])),
                **(self.by_sizes.parts(*found_objects(objects, findings)) if self.by_sizes.edges else {}),
            }
        )

    def results(self) -> dict[str, list[Part] | float]:
        return {**parts_by_score(self.images), **self.by_sizes.results()}
