"""Boundary weights, the weight map of the U-Net paper: pixels between objects that nearly touch count more."""

from typing import Any

import cv2
import numpy as np

from utils.base.ignored_classes import plain

REACH = 6  # sigmas; beyond, w0 exp(-18) is 1.5e-8 of w0 and taken as 0
LONGEST = 500  # pixels up to which the square of a distance is right by less than a quarter


def boundary_weights(mask: np.ndarray, w0: float, sigma: float, ignore_label: int | None = None) -> np.ndarray:
    """`w0 * exp(-(d1 + d2)^2 / (2 sigma^2))` at the background pixels of a mask, 0 on its objects.

    Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, equation 2 without the class weight, which the loss adds;
    d1 and d2 are the distances in pixels to the nearest and the second nearest object. Objects are the 4-connected
    components of the pixels above 0 that are not ignored. With fewer than two objects the map is 0.

    Args:
        mask: uint8 `(height, width, 1)` class indices.
        w0: the largest weight.
        sigma: pixels.
        ignore_label: value of pixels that belong to no object and get no weight, or None.

    Returns:
        float32 `(height, width, 1)`.

    Example:
        >>> mask = np.array([[1, 0, 0, 2]], np.uint8)[:, :, np.newaxis]
        >>> boundary_weights(mask, w0=10, sigma=5)[0, :, 0].astype(int).tolist()
        [0, 8, 8, 0]
    """
    labels = plain(mask[:, :, 0])
    objects = (labels > 0) & (labels != (0 if ignore_label is None else ignore_label))
    count, components, boxes, _ = cv2.connectedComponentsWithStats(objects.astype(np.uint8), connectivity=4)
    reach = int(np.ceil(REACH * sigma))
    # Squares of the distances: whole numbers, which do not depend on how OpenCV rounds.
    nearest, second = (np.full(labels.shape, np.inf, np.float32) for _ in range(2))
    for index, (left, top, width, height, _) in enumerate(boxes[1:count], start=1):
        # Only the reach of an object matters. Distances are exact there, because the window holds all of the object.
        window = (
            slice(max(top - reach, 0), top + height + reach),
            slice(max(left - reach, 0), left + width + reach),
        )
        square = squared_distance((components[window] != index).view(np.uint8))
        first_there, second_there = nearest[window], second[window]
        np.minimum(second_there, np.maximum(first_there, square), out=second_there)
        np.minimum(first_there, square, out=first_there)
    weights = w0 * np.exp(-((np.sqrt(nearest) + np.sqrt(second)) ** 2) / (2 * sigma**2))
    return np.where(labels == 0, weights, 0).astype(np.float32)[:, :, np.newaxis]


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
