"""Scores that need whole images: pieces, borders, curves. One object measures one class of a set, with NumPy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

Part = tuple[float, float]  # numerator and denominator of an image: a score of a set is sum / sum over its images


class ClassMaps(NamedTuple):
    """One class in one image, all `(height, width)`; for metrics of volumes in one case, also `(slice, row, column)`.

    truth, predicted: bool, where the class is, no ignored pixel among them; probability: float32 of the class; valid:
    bool, false where a pixel is ignored; voxel_ml: volume of a voxel, None if it is unknown, or in an image.
    objects, found: int32, the true and the predicted objects of the class, numbered from 1 without gaps, 0 where there
    is none; None: they are the connected pieces of `truth` and `predicted`.
    """

    truth: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    valid: np.ndarray
    voxel_ml: float | None = None
    objects: np.ndarray | None = None
    found: np.ndarray | None = None


class WholeImageMetric(ABC):
    """A row of `losses.IMAGE_METRICS`, for one class.

    Attributes:
        needs_probabilities: whether masks alone do not have the score.
        of_volumes: whether it takes whole volumes where cases are volumes, of which it has masks alone.
        by_size: whether it takes the edges of EVALUATION.SIZE_BINS, none if that is null.
        of_objects: whether it takes label images of objects, where there are some.
    """

    needs_probabilities: ClassVar[bool] = False
    of_volumes: ClassVar[bool] = False
    by_size: ClassVar[bool] = False
    of_objects: ClassVar[bool] = False

    @abstractmethod
    def add(self, maps: ClassMaps) -> None:
        """Take the next image."""

    @abstractmethod
    def results(self) -> dict[str, list[Part] | float]:
        """`{score: the part of each image added, in order, or a number of the whole set}`.

        The names are those of `utils.evaluation.score_table.SCORES`.
        """


def parts_by_score(images: Sequence[dict[str, Part]]) -> dict[str, list[Part] | float]:
    """`{score: the part of each image}` of a dict for each image, all with the same scores.

    >>> parts_by_score([{"a": (1, 2)}, {"a": (0, 0)}])
    {'a': [(1, 2), (0, 0)]}
    """
    return {name: [image[name] for image in images] for name in images[0]} if images else {}
