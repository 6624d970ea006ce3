"""Pixels of overlapping classes that are ignored for some classes alone (DATASET.CLASS_MASKS with IGNORE_LABEL).

Such a mask is uint16. Its low byte is an ordinary mask: bits of `utils.base.class_bits`, or DATASET.IGNORE_LABEL where
all classes are ignored. Bit 8 + c - 1 says that nothing is known of class c, whose bit is then 0. Masks of uint8 have
no such pixels, and every function here leaves them as they are.
"""

from collections.abc import Sequence

import numpy as np

from utils.base.class_bits import in_region, pack

OF_CLASSES = 256  # the value of the lowest bit that says that a class is ignored


def with_ignored(labels: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Ordinary bits `(...)` and a map per class of what is ignored `(..., classes)` -> uint16 `(...)`.

    >>> with_ignored(np.uint8([1, 0]), np.array([[False, True], [False, False]])).tolist()
    [513, 0]
    """
    return labels + np.uint16(OF_CLASSES) * pack(ignored)


def plain(labels: np.ndarray) -> np.ndarray:
    """The ordinary mask, uint8: a class that is ignored is absent.

    >>> plain(np.uint16([513, 255])).tolist()
    [1, 255]
    """
    return labels.astype(np.uint8, copy=False)


def known_only(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction, uint8, both without the classes of which the truth knows nothing at a pixel.

    >>> [labels.tolist() for labels in known_only(np.uint16([513]), np.uint8([3]))]
    [[1], [1]]
    """
    if truth.dtype != np.uint16:
        return truth, predicted
    return plain(truth), predicted & ~plain(truth // OF_CLASSES)


def is_known(truth: np.ndarray, region: Sequence[int], ignore_label: int | None, multi_label: bool) -> np.ndarray:
    """Where the truth says whether one of some classes is there: bool, of its shape.

    A class that is there decides, whatever is ignored beside it.

    >>> is_known(np.uint16([513, 512, 0, 255]), [1, 2], 255, multi_label=True).tolist()
    [True, False, True, False]
    """
    known = np.ones(truth.shape, bool) if ignore_label is None else plain(truth) != ignore_label
    if not multi_label or truth.dtype != np.uint16:
        return known
    return known & (in_region(truth, region, True) | ~in_region(truth // OF_CLASSES, region, True))
