"""Test-time augmentation: mean over flips and quarter turns of the image."""

import numpy as np


def _turned(quarters, mirror):
    """`(change, undo)` of images `(batch, height, width, channels)`: mirrored left to right perhaps, then turned."""

    def change(images):
        return np.rot90(images[:, :, ::-1] if mirror else images, quarters, axes=(1, 2))

    def undo(images):
        images = np.rot90(images, -quarters, axes=(1, 2))
        return images[:, :, ::-1] if mirror else images

    return change, undo


# PREDICT.TTA -> what an image is seen as: the ways to turn and mirror it, and back
TRANSFORMS = {
    "none": [_turned(0, False)],
    "flips": [_turned(quarters, mirror) for quarters in (0, 2) for mirror in (False, True)],
    "dihedral": [_turned(quarters, mirror) for quarters in range(4) for mirror in (False, True)],
}


def mean_over_transforms(predictors, images, transforms):
    """The mean probabilities of several networks, each of which sees the images in several ways.

    Args:
        predictors: functions, images `(batch, height, width, channels)` -> probabilities `(batch, ..., classes)`.
        images: float32.
        transforms: a row of TRANSFORMS.

    Returns:
        float32 `(batch, ..., classes)`, as the images lie.
    """
    total = 0
    for change, undo in transforms:
        seen = np.ascontiguousarray(change(images))
        for predictor in predictors:
            found = predictor(seen)
            total = total + (undo(found) if len(transforms) > 1 else found)
    count = len(transforms) * len(predictors)
    return total / np.float32(count) if count > 1 else total
