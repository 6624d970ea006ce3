"""Objects of a class: its connected pieces in an image, or those that a label image numbers."""

from collections.abc import Sequence

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


def renumber(objects: np.ndarray) -> np.ndarray:
    """The numbers of a label image without gaps: int32, 0 stays 0.

    >>> renumber(np.array([[0, 7, 3, 7]])).tolist()
    [[0, 2, 1, 2]]
    """
    numbers, places = np.unique(np.append(objects.ravel(), 0), return_inverse=True)
    return (places[:-1] - int(np.searchsorted(numbers, 0))).astype(np.int32).reshape(objects.shape)


def objects_by_class(objects: np.ndarray, labels: np.ndarray, classes: Sequence[int]) -> dict[int, np.ndarray]:
    """Divide a label image by the classes of its objects: that of most pixels of an object, of equal ones the first.

    Pixels of other classes, such as those of a border between objects, do not count, and an object without pixels of
    `classes` is left out. Where there is one class, all objects have it.

    Args:
        objects: int `(height, width)`, numbers of objects, 0 where there is none.
        labels: uint8 `(height, width)` class indices.
        classes: that objects may have.

    Returns:
        `{class: int32 (height, width)}`, numbers without gaps.

    >>> found = objects_by_class(np.array([[5, 5, 5, 8]]), np.array([[1, 0, 0, 2]], np.uint8), [1, 2])
    >>> {index: numbers.tolist() for index, numbers in found.items()}
    {1: [[1, 1, 1, 0]], 2: [[0, 0, 0, 1]]}
    """
    objects = renumber(objects)
    if len(classes) == 1:
        return {classes[0]: objects}
    number, label, pixels = overlaps(objects, labels)
    counted = np.isin(label, classes)
    number, label, pixels = number[counted], label[counted], pixels[counted]
    order = np.lexsort((-label, pixels))
    class_of = np.full(int(objects.max(initial=0)) + 1, -1)
    class_of[number[order]] = label[order]  # the last one stays, that of most pixels
    class_of[0] = -1
    return {index: renumber(np.where(class_of[objects] == index, objects, 0)) for index in classes}
