"""Clean predicted labels: the largest piece, no small pieces, no holes. Of an image or, in 3-D, of a volume."""

from functools import partial

import numpy as np

from utils.base.errors import UserError


def postprocessing(cfg):
    """The function that cleans labels as PREDICT.POSTPROCESS asks, or None.

    Raises:
        UserError: the number of thresholds is not that of the foreground classes.
    """
    wanted, classes = cfg.PREDICT.POSTPROCESS, max(cfg.OUTPUT.CLASSES - 1, 1)
    if wanted.THRESHOLDS is not None and len(wanted.THRESHOLDS) != classes:
        raise UserError(
            f"PREDICT.POSTPROCESS.THRESHOLDS={list(wanted.THRESHOLDS)} needs {classes}, one per foreground class."
        )
    if not (wanted.LARGEST or wanted.MINIMUM_SIZE or wanted.FILL_HOLES):
        return None
    return partial(postprocess, largest=wanted.LARGEST, minimum_size=wanted.MINIMUM_SIZE, fill_holes=wanted.FILL_HOLES)


def postprocess(labels, largest=False, minimum_size=0, fill_holes=False):
    """Return the cleaned copy of labels; each foreground class for itself, in the order of the classes.

    Args:
        labels: uint8 `(height, width, slices)`; a single image has one slice. Pieces hang together by their edges
            (faces of voxels).
        largest: keep only the largest piece of each class.
        minimum_size: pixels or voxels; smaller pieces become background.
        fill_holes: background that a class encloses becomes that class; of a volume in each slice.
    """
    from scipy import ndimage

    cleaned = labels.copy()
    for index in np.unique(labels[labels > 0]):
        area = labels == index
        if largest or minimum_size > 1:
            pieces, count = ndimage.label(area)
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            keep = sizes >= max(minimum_size, 1)
            if largest and count:
                keep &= np.arange(len(sizes)) == sizes.argmax()
            area = keep[pieces]
            cleaned[(labels == index) & ~area] = 0
        if fill_holes:
            for position in range(labels.shape[-1]):
                holes = ndimage.binary_fill_holes(area[..., position]) & ~area[..., position]
                part = cleaned[..., position]
                part[holes & (part == 0)] = index
    return cleaned
