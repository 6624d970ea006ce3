"""Paint the regions of objects into one mask: crowds below, then from large to small, so that small ones show."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_preparation.common.coco_segmentations import Region


class Painted(NamedTuple):
    """A region with its value. rank: of two regions the one with the higher rank is on top, of equal ones the later."""

    region: Region
    label: int
    rank: tuple[float, ...]


def rank_by_size(is_crowd: bool, pixels: float) -> tuple[float, ...]:
    """The rank of an object: crowds lie below all others, large ones below small ones."""
    return (not is_crowd, -pixels)


def paint(
    regions: Sequence[Painted],
    height: int,
    width: int,
    multi_label: bool = False,
    ignored: int = -1,
    dtype: type[np.integer] = np.uint8,
) -> np.ndarray:
    """A mask: `(height, width)`, 0 where there is no region.

    Args:
        regions: in any order.
        height, width: of the mask.
        multi_label: whether labels are bits that add up; what an object covers is then no longer `ignored`.
        ignored: value of regions without a class; -1: there are none.
        dtype: of the mask.

    >>> square = Region(0, 0, np.ones((2, 2), np.uint8))
    >>> paint([Painted(square, 7, (1, -4)), Painted(Region(0, 0, np.ones((2, 3), np.uint8)), 5, (1, -6))], 2, 4)
    array([[7, 7, 5, 0],
           [7, 7, 5, 0]], dtype=uint8)
    """
    mask = np.zeros((height, width), dtype)
    for (top, left, pixels), label, _ in sorted(regions, key=lambda painted: painted.rank):
        part = mask[top : top + pixels.shape[0], left : left + pixels.shape[1]]
        below = np.where(part == ignored, 0, part) if multi_label else 0
        np.copyto(part, below | dtype(label), where=pixels.view(bool))
    return mask
