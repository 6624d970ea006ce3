"""Objects of a class: its connected pieces in an image."""

import cv2
import numpy as np

CONNECTIVITY = 8  # pixels of a piece share an edge or a corner


def find_pieces(area: np.ndarray, connectivity: int = CONNECTIVITY) -> np.ndarray:
    """Number the connected pieces of an area.

    Args:
        area: bool `(height, width)`.
        connectivity: 8, or 4 where pixels of a piece must share an edge.

    Returns:
        int32 `(height, width)`: 0 outside the area, else the number of the piece, from 1.

    >>> find_pieces(np.array([[1, 0], [0, 1]], bool)).tolist()
    [[1, 0], [0, 1]]
    >>> find_pieces(np.array([[1, 0], [0, 1]], bool), connectivity=4).tolist()
    [[1, 0], [0, 2]]
    """
    return cv2.connectedComponents(np.ascontiguousarray(area, np.uint8), connectivity=connectivity)[1]


def overlaps(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of pieces that share pixels: int64 arrays `(pairs,)` of the number in either image and the pixels.

    Number 0, outside the pieces, counts like the others.

    >>> [part.tolist() for part in overlaps(np.array([1, 1, 2]), np.array([0, 1, 1]))]
    [[1, 1, 2], [0, 1, 1], [1, 1, 1]]
    """
    step = int(second.max(initial=0)) + 1
    pairs, pixels = np.unique(first.astype(np.int64) * step + second, return_counts=True)
    return pairs // step, pairs % step, pixels
