"""Boundary IoU: the IoU of the pixels near the outlines, which large objects do not drown in their inside.

Cheng et al. 2021, "Boundary IoU: improving object-centric image segmentation evaluation",
https://arxiv.org/abs/2103.16562.
"""

import numpy as np
from scipy.ndimage import distance_transform_cdt

from losses.whole_images import ClassMaps, Part, WholeImageMetric, parts_by_score

SHARE_OF_DIAGONAL = 0.02  # of the image, the width that counts as boundary, as in the paper


def boundary_width(height: int, width: int) -> int:
    """Pixels inwards from an outline that are its boundary, at least 1.

    >>> boundary_width(300, 400), boundary_width(8, 8)
    (10, 1)
    """
    return max(1, round(SHARE_OF_DIAGONAL * float(np.hypot(height, width))))


def boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a bool `(row, column)` mask that are within `width` pixels of its outline.

    Steps go along rows, columns and diagonals. Beyond the image is outside.

    >>> boundary(np.ones((3, 4), bool), 1).astype(int).tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    inwards = distance_transform_cdt(np.pad(mask, 1), metric="chessboard")[1:-1, 1:-1]
    return mask & (inwards <= width)


class BoundaryScores(WholeImageMetric):
    """boundary_iou of each image: left out where both masks are empty, 0 where one is."""

    def __init__(self) -> None:
        self.images: list[dict[str, Part]] = []

    def add(self, maps: ClassMaps) -> None:
        width = boundary_width(*maps.truth.shape)
        truth, predicted = boundary(maps.truth, width), boundary(maps.predicted, width)
        union = int((truth | predicted).sum())
        iou = int((truth & predicted).sum()) / max(union, 1)
        self.images.append({"boundary_iou": (iou, float(union > 0))})

    def results(self) -> dict[str, list[Part] | float]:
        return parts_by_score(self.images)
