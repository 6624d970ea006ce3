"""Distances between the surface of a true and of a predicted shape, in millimetres.

The surface of a shape is its border voxels: those with at least one face neighbour outside the shape or the volume. A
distance runs from the centre of a border voxel to the centre of the nearest border voxel of the other shape. These are
the definitions of MedPy 0.5 (https://loli.github.io/medpy). Surfaces made of area-weighted elements (Nikolov et al.
2018) give slightly other values.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

LEAF = 8  # points of a leaf of the tree


def surface_scores(
    truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], tolerance: float | Sequence[float]
) -> dict[str, float]:
    """How far two surfaces lie apart.

    Args:
        truth, prediction: bool `(slice, row, column)`, none of them empty.
        spacing: mm between voxel centres along slice, row and column.
        tolerance: mm, at least 0, or several.

    Returns:
        dict of floats: `hd_mm`, the largest distance (Hausdorff); `hd95_mm`, the 95th percentile of the distances of
        both directions together; `assd_mm`, their mean (Heimann et al. 2009, https://doi.org/10.1109/TMI.2009.2013851;
        MedPy before 0.5, of the LiTS challenge, takes the mean of the means of either direction); `surface_dice` in
        [0, 1], the share of the voxels of both surfaces that are no further than `tolerance` from the other one
        (Nikolov et al. 2018, https://arxiv.org/abs/1809.04430), also called normalised surface
        distance (NSD). Of several tolerances the first is that of `surface_dice`, the others have names such as
        `surface_dice_1mm`.

    Raises:
        ValueError: a shape is empty, so that no distance is defined.
    """
    to_prediction, to_truth = surface_distances(truth, prediction, spacing)
    both = np.concatenate([to_prediction, to_truth])
    return {
        "hd_mm": float(both.max()),
        "hd95_mm": float(np.percentile(both, 95)),
        "assd_mm": float(both.mean()),
        # A voxel at the tolerance itself is within it, whatever the last bit of a square root.
        **{name: float((both <= limit + 1e-9).mean()) for name, limit in surface_dice_names(tolerance).items()},
    }


def surface_dice_names(tolerance: float | Sequence[float]) -> dict[str, float]:
    """`{score: tolerance in mm}` of the surface Dice.

    >>> surface_dice_names([2, 1, 0.5])
    {'surface_dice': 2, 'surface_dice_1mm': 1, 'surface_dice_0.5mm': 0.5}
    """
    first, *others = [tolerance] if isinstance(tolerance, int | float) else tolerance
    return {"surface_dice": first, **{f"surface_dice_{other:g}mm": other for other in others}}


def surface_distances(
    truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each border voxel of `truth` to the surface of `prediction`, and back: two float64 `(voxels,)`."""
    if not truth.any() or not prediction.any():
        raise ValueError("Surface distances need two shapes that are not empty.")
    # A tree of the border voxels is several times faster than a map of the distance of every voxel.
    points = [np.argwhere(border(shape)) * np.asarray(spacing, np.float64) for shape in (truth, prediction)]
    trees = [cKDTree(found, leafsize=LEAF, balanced_tree=False) for found in points]
    return trees[1].query(points[0])[0], trees[0].query(points[1])[0]


def border(shape: np.ndarray) -> np.ndarray:
    """The voxels of a bool array that have a face neighbour outside the shape or the array."""
    if not shape.any():
        return np.zeros_like(shape)
    box = bounding_box(shape)
    inner = np.pad(shape[box], 1)
    whole = inner.copy()
    for axis in range(shape.ndim):
        for step in (slice(None, -2), slice(2, None)):
            whole[middle(shape.ndim)] &= inner[middle(shape.ndim, axis, step)]
    found = np.zeros_like(shape)
    found[box] = (inner & ~whole)[middle(shape.ndim)]
    return found


def middle(axes: int, axis: int | None = None, part: slice = slice(1, -1)) -> tuple[slice, ...]:
    """An index that leaves out the first and last element along each axis but one, of which it takes `part`."""
    return tuple(part if other == axis else slice(1, -1) for other in range(axes))


def bounding_box(shape: np.ndarray) -> tuple[slice, ...]:
    """Slices along each axis that hold all of a bool array's true elements."""
    axes = range(shape.ndim)
    where = [np.flatnonzero(shape.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(slice(found[0], found[-1] + 1) for found in where)
