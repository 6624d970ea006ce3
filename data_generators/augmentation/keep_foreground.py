"""AUGMENTATION.ZOOM.KEEP_FOREGROUND in NumPy: a zoom and a shift that leave the foreground of a sample in the frame.

`tensorflow_geometry` has the same as graph operations.
"""

from collections.abc import Sequence

import numpy as np

from utils.base.ignored_classes import plain


def foreground_box(mask: np.ndarray, ignore_label: int | None = None) -> np.ndarray | None:
    """(left, top, right, bottom) float64: the outermost columns and rows with foreground; None if there is none.

    Args:
        mask: class indices `(height, width)`, of which 0 is the background, or one channel for each class
            `(height, width, classes)`, in which classes may overlap. If such a stack labels every pixel, its first
            channel is the background.
        ignore_label: the value that is no class.

    >>> foreground_box(np.array([[0, 0, 0], [0, 2, 0], [0, 0, 0]])).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    labels = plain(mask)
    labelled = labels != 0
    if ignore_label is not None:
        labelled &= labels != ignore_label
    if mask.ndim == 3:
        whole = mask.shape[2] > 1 and labelled.any(axis=2).all()
        labelled = labelled[:, :, int(whole) :].any(axis=2)
    columns, rows = (np.flatnonzero(labelled.any(axis=axis)) for axis in range(2))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], float) if len(columns) else None


def keep_in_frame(
    linear: np.ndarray, zoom: float, shift: np.ndarray, box: np.ndarray, sides: Sequence[int]
) -> tuple[float, np.ndarray]:
    """Lower a zoom above 1 (not below 1), and change a shift, so that a box stays in the image.

    Args:
        linear: `(2, 2)`, what happens to the coordinates (x, y) before zooming.
        zoom: the factor.
        shift: (x, y) of the centre, in pixels.
        box: see `foreground_box`.
        sides: (width, height).

    Returns:
        (zoom, shift). A box that does not fit, as when it is turned, is put in the middle.

    >>> keep_in_frame(np.eye(2), 4.0, np.zeros(2), np.array([0, 0, 49, 10]), (99, 99))
    (2.0, array([49., 49.]))
    """
    slack = np.asarray(sides, float) - 1
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]]) - slack / 2
    reached = corners @ linear.T
    low, high = reached.min(axis=0), reached.max(axis=0)
    zoom = float(min(zoom, max((slack / np.maximum(high - low, 1e-3)).min(), 1)))
    first, last = -slack / 2 - zoom * low, slack / 2 - zoom * high
    return zoom, np.where(first <= last, np.clip(shift, first, np.maximum(first, last)), (first + last) / 2)
