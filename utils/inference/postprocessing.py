"""Postprocessing of predicted labels: largest component, small components, holes; in 2-D or, of a volume, in 3-D."""

from collections.abc import Callable
from functools import partial

import numpy as np
from omegaconf import DictConfig
from scipy import ndimage

from utils.base.class_bits import pack, unpack
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.errors import UserError

Postprocess = Callable[[np.ndarray], np.ndarray]


def build_postprocessing(cfg: DictConfig) -> Postprocess | None:
    """The function labels -> labels that PREDICT.POSTPROCESS asks for, or None if it asks for nothing.

    Raises:
        UserError: the number of thresholds is not that of the foreground classes.
    """
    settings, classes = cfg.PREDICT.POSTPROCESS, number_of_classes(cfg) - 1
    if settings.THRESHOLDS is not None and len(settings.THRESHOLDS) != classes:
        raise UserError(
            f"PREDICT.POSTPROCESS.THRESHOLDS={list(settings.THRESHOLDS)} needs {classes}, one per foreground class."
        )
    if not (settings.LARGEST or settings.MINIMUM_SIZE or settings.FILL_HOLES):
        return None
    steps = partial(
        postprocess, largest=settings.LARGEST, minimum_size=settings.MINIMUM_SIZE, fill_holes=settings.FILL_HOLES
    )
    return partial(each_class, steps, classes) if is_multi_label(cfg) else steps


def each_class(steps: Postprocess, classes: int, labels: np.ndarray) -> np.ndarray:
    """Apply steps to the mask of each overlapping class; labels are those of `utils.base.class_bits`."""
    return pack(np.stack([steps(mask) for mask in np.moveaxis(unpack(labels, classes), -1, 0)], axis=-1))


def postprocess(
    labels: np.ndarray, largest: bool = False, minimum_size: int = 0, fill_holes: bool = False
) -> np.ndarray:
    """Return a postprocessed copy of the labels; each foreground class on its own, in the order of the classes.

    Args:
        labels: uint8 `(height, width, slices)`; a single image has one slice. Pixels of a component share an edge,
            voxels a face.
        largest: keep only the largest component of each class.
        minimum_size: pixels or voxels; smaller components become background.
        fill_holes: background that a class encloses becomes that class; in a volume, slice by slice.

    >>> labels = np.array([[1, 1, 0, 1]], np.uint8)[..., None]
    >>> postprocess(labels, largest=True)[..., 0].tolist()
    [[1, 1, 0, 0]]
    """
    processed = labels.copy()
    for index in np.unique(labels[labels > 0]):
        area = labels == index
        if largest or minimum_size > 1:
            components, count = ndimage.label(area)
            sizes = np.bincount(components.ravel())
            sizes[0] = 0
            keep = sizes >= max(minimum_size, 1)
            if largest and count:
                keep &= np.arange(len(sizes)) == sizes.argmax()
            area = keep[components]
            processed[(labels == index) & ~area] = 0
        if fill_holes:
            for position in range(labels.shape[-1]):
                holes = ndimage.binary_fill_holes(area[..., position]) & ~area[..., position]
                part = processed[..., position]
                part[holes & (part == 0)] = index
    return processed
