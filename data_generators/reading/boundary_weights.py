"""Boundary weights, the weight map of the U-Net paper: pixels between objects that nearly touch count more."""

from typing import Any

import cv2
import numpy as np

from utils.base.ignored_classes import plain

REACH = 6  # sigmas; beyond, w0 exp(-18) is 1.5e-8 of w0 and taken as 0
Box = tuple[slice, slice]  # rows, columns
LONGEST = 500  # pixels up to which the square of a distance is right by less than a quarter


def boundary_weights(
    mask: np.ndarray, w0: float, sigma: float, ignore_label: int | None = None, objects: np.ndarray | None = None
) -> np.ndarray:
    """`w0 * exp(-(d1 + d2)^2 / (2 sigma^2))`: high between objects that nearly touch.

    Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, equation 2 without the class weight, which the loss adds;
    d1 and d2 are the distances in pixels to the nearest and the second nearest object. Without a label image objects
    are the 4-connected components of the pixels above 0 that are not ignored, and the map is 0 on them. With one, a
    pixel of an object has a weight too, d1 being its distance to the nearest pixel outside: objects that touch have a
    border on both sides of their seam, whatever the mask says there. With fewer than two objects the map is 0.

    Args:
        mask: uint8 `(height, width, 1)` class indices.
        w0: the largest weight.
        sigma: pixels.
        ignore_label: value of pixels that belong to no object and get no weight, or None.
        objects: whole numbers `(height, width, 1)`, that of an object at each of its pixels, else 0; or None.

    Returns:
        float32 `(height, width, 1)`.

    Example:
        >>> mask = np.array([[1, 0, 0, 2]], np.uint8)[:, :, np.newaxis]
        >>> boundary_weights(mask, w0=10, sigma=5)[0, :, 0].astype(int).tolist()
        [0, 8, 8, 0]
        >>> touching = np.array([[4, 4, 9, 9]])[:, :, np.newaxis]
        >>> weights = boundary_weights(np.ones_like(touching), w0=10, sigma=5, objects=touching)
        >>> weights[0, :, 0].astype(int).tolist()
        [7, 9, 9, 7]
    """
    labels = plain(mask[:, :, 0])
    known = labels != ignore_label if ignore_label is not None else np.ones(labels.shape, bool)
    if objects is None:
        components, boxes = pieces((labels > 0) & known)
    else:
        components, boxes = numbered(np.where(known, objects[:, :, 0], 0))
    if len(boxes) < 2:
        return np.zeros((*labels.shape, 1), np.float32)
    reach = int(np.ceil(REACH * sigma))
    # Squares of the distances: whole numbers, which do not depend on how OpenCV rounds.
    nearest, second = (np.full(labels.shape, np.inf, np.float32) for _ in range(2))
    for index, (rows, columns) in enumerate(boxes, start=1):
        # Only the reach of an object matters. Distances are exact there, because the window holds all of the object.
        window = (
            slice(max(rows.start - reach, 0), rows.stop + reach),
            slice(max(columns.start - reach, 0), columns.stop + reach),
        )
        inside = components[window] == index
        square = squared_distance((~inside).view(np.uint8))
        if objects is not None:
            square += squared_distance(inside.view(np.uint8))  # where the other one is 0
        first_there, second_there = nearest[window], second[window]
        np.minimum(second_there, np.maximum(first_there, square), out=second_there)
        np.minimum(first_there, square, out=first_there)
    weights = w0 * np.exp(-((np.sqrt(nearest) + np.sqrt(second)) ** 2) / (2 * sigma**2))
    weighted = labels == 0 if objects is None else known
    return np.where(weighted, weights, 0).astype(np.float32)[:, :, np.newaxis]


def pieces(foreground: np.ndarray) -> tuple[np.ndarray, list[Box]]:
    """The 4-connected components of a map `(height, width)`: their numbers from 1, and the box around each."""
    count, components, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=4)
    boxes = [
        (slice(top, top + height), slice(left, left + width)) for left, top, width, height, _ in stats[1:count].tolist()
    ]
    return components, boxes


def numbered(objects: np.ndarray) -> tuple[np.ndarray, list[Box]]:
    """The objects of a label image `(height, width)`: their numbers from 1 without gaps, and the box around each."""
    from scipy.ndimage import find_objects  # every command would load it, only label images need it

    values, inverse = np.unique(objects, return_inverse=True)
    numbers = inverse.reshape(objects.shape).astype(np.int32) + int(values[0] != 0)
    return numbers, find_objects(numbers)


def squared_distance(outside: np.ndarray) -> np.ndarray:
    """The square of the distance of each pixel to the nearest 0: whole numbers, float32 `(height, width)`.

    The last bit of OpenCV's distances depends on where an array lies in memory, so that two equal runs would differ.
    Their squares are whole numbers, to which its error is small up to LONGEST pixels; beyond, SciPy counts exactly.

    Args:
        outside: uint8 `(height, width)`, 0 on an object.
    """
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    if outside.shape[0] + outside.shape[1] > LONGEST and distance.max() > LONGEST:
        from scipy.ndimage import distance_transform_edt  # every command would load it, only huge masks need it

        nearest: Any = distance_transform_edt(outside, return_distances=False, return_indices=True)
        rows, columns = nearest
        row, column = np.ogrid[: outside.shape[0], : outside.shape[1]]
        return ((rows - row) ** 2 + (columns - column) ** 2).astype(np.float32)
    np.multiply(distance, distance, out=distance)
    return np.rint(distance, out=distance)
