"""Test-time augmentation: mean over flips and quarter turns of the image."""

from collections.abc import Callable, Sequence

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
Transform = tuple[Function, Function]  # (transform, its inverse) of images `(batch, height, width, channels)`


def turn(quarters: int, mirror: bool) -> Transform:
    """Mirror left to right if asked to, then turn by quarters of a circle."""

    def transform(images: np.ndarray) -> np.ndarray:
        return np.rot90(images[:, :, ::-1] if mirror else images, quarters, axes=(1, 2))

    def inverse(images: np.ndarray) -> np.ndarray:
        images = np.rot90(images, -quarters, axes=(1, 2))
        return images[:, :, ::-1] if mirror else images

    return transform, inverse


# PREDICT.TTA -> the transforms whose predictions are averaged
TRANSFORMS = {
    "none": [turn(0, False)],
    "flips": [turn(quarters, mirror) for quarters in (0, 2) for mirror in (False, True)],
    "dihedral": [turn(quarters, mirror) for quarters in range(4) for mirror in (False, True)],
}


def mean_over_transforms(
    predictors: Sequence[Function], images: np.ndarray, transforms: Sequence[Transform]
) -> np.ndarray:
    """The mean probabilities of several networks over several transforms of the images.

    Args:
        predictors: functions, images `(batch, height, width, channels)` -> probabilities `(batch, ..., classes)`.
        images: float32.
        transforms: a row of TRANSFORMS.

    Returns:
        float32 `(batch, ..., classes)`, in the orientation of `images`.

    >>> images = np.random.default_rng(0).random((1, 4, 4, 2), np.float32)
    >>> mean = mean_over_transforms([lambda batch: batch], images, TRANSFORMS["dihedral"])
    >>> bool(np.allclose(mean, images))
    True
    """
    total: np.ndarray | int = 0
    for transform, inverse in transforms:
        transformed = np.ascontiguousarray(transform(images))
        for predictor in predictors:
            probability = predictor(transformed)
            total = total + (inverse(probability) if len(transforms) > 1 else probability)
    count = len(transforms) * len(predictors)
    return np.asarray(total / np.float32(count) if count > 1 else total)
