"""Objects of a predicted mask: connected pieces, or pieces divided by watershed where objects touch.

The watershed floods the hills of a landscape, the distance to the outline or the probability, from the tops that rise
above the valley to the next hill by a depth or more (h-maxima: Soille 2003, "Morphological Image Analysis", chapter 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from omegaconf import DictConfig

from data_generators.reading.boundary_weights import squared_distance
from utils.base.classes import number_of_classes
from utils.base.pieces import find_pieces, objects_by_class
from utils.config.class_names import has_background

STEPS = 1000  # of a landscape per pixel of distance, or in all of probability: whole numbers compare exactly
DEPTHS = {"distance": 1.0, "probability": 0.1}  # of the valley between two objects


@dataclass(frozen=True)
class Instances:
    """How a mask is divided into objects.

    Attributes:
        method: "pieces", "distance" or "probability".
        depth: of a watershed: pixels of distance, or probability.
        border: the class that is the border between objects, or None.
        classes: that objects may have.
        first: the class of channel 0 of probabilities.
    """

    method: str
    depth: float = 0
    border: int | None = None
    classes: Sequence[int] = (1,)
    first: int = 0

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Self | None:
        """What PREDICT.INSTANCES asks for, None if METHOD is null."""
        settings = cfg.PREDICT.INSTANCES
        if settings.METHOD is None:
            return None
        depth = DEPTHS.get(settings.METHOD, 0.0) if settings.DEPTH is None else settings.DEPTH
        classes = object_classes(cfg)
        return cls(settings.METHOD, depth, settings.BORDER, classes, number_of_classes(cfg) - cfg.OUTPUT.CLASSES)

    @property
    def needs_probability(self) -> bool:
        """Whether a mask alone is not enough."""
        return self.method == "probability"

    def __call__(self, labels: np.ndarray, probability: np.ndarray | None = None) -> np.ndarray:
        """The label image of a mask: int32 `(height, width)`, objects from 1 on, class after class.

        Args:
            labels: uint8 `(height, width)` class indices.
            probability: float `(height, width, channels)`, for the method "probability".
        """
        objects = np.zeros(labels.shape, np.int32)
        for index in self.classes:
            area = labels == index
            if self.method == "pieces" or not area.any():
                found = find_pieces(area)
            elif self.method == "distance":
                found = divide(area, distance_inside(area), self.depth)
            else:
                assert probability is not None
                found = divide(area, probability[..., index - self.first], self.depth)
            objects += np.where(area, found + objects.max(), 0).astype(np.int32)
        return objects if self.border is None else grow_into(objects, labels == self.border)

    def by_class(self, objects: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
        """`{class: its objects}` of a label image, see `utils.base.pieces.objects_by_class`."""
        return objects_by_class(objects, labels, self.classes)


def object_classes(cfg: DictConfig) -> list[int]:
    """The classes that objects may have: all but the background and PREDICT.INSTANCES.BORDER."""
    first = 1 if has_background(cfg) else 0
    return [index for index in range(first, number_of_classes(cfg)) if index != cfg.PREDICT.INSTANCES.BORDER]


def distance_inside(area: np.ndarray) -> np.ndarray:
    """Distance in pixels of each pixel of an area to the nearest outside, which is also beyond the image.

    >>> distance_inside(np.ones((3, 3), bool)).tolist()
    [[1.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 1.0]]
    """
    return np.sqrt(squared_distance(np.pad(area, 1).view(np.uint8))[1:-1, 1:-1])


def divide(area: np.ndarray, height: np.ndarray, depth: float) -> np.ndarray:
    """Number the objects of an area, divided along the valleys of a landscape.

    Args:
        area: bool `(height, width)`.
        height: of the landscape, float, at least 0.
        depth: how far the pass to the next hill lies below a top, at least; of hills that are closer the higher counts.

    Returns:
        int32 `(height, width)`, from 1 on, 0 outside the area; every connected piece has one object or more.

    >>> hills = np.array([[3, 2, 1, 2, 3, 0, 1]])
    >>> divide(hills > 0, hills, depth=1.5).tolist(), divide(hills > 0, hills, depth=2.5).tolist()
    ([[1, 1, 1, 2, 2, 0, 3]], [[1, 1, 1, 1, 1, 0, 2]])
    """
    from skimage.morphology import local_maxima, reconstruction  # takes long to load, and few commands divide objects
    from skimage.segmentation import watershed

    step = max(round(depth * STEPS), 1)
    hills = np.where(area, np.rint(height * np.float64(STEPS)), 0).astype(np.int64)
    cut = reconstruction(np.maximum(hills - step, 0), hills)
    tops = local_maxima(cut, connectivity=2) & (cut > 0)
    pieces = find_pieces(area)
    topped = np.unique(pieces[tops])
    markers = find_pieces(area & (tops | ~np.isin(pieces, topped)))
    return watershed(-hills, markers, mask=area, connectivity=2).astype(np.int32)


def grow_into(objects: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Give the pixels of a border to the nearest of the objects that it touches; `objects` int32, `border` bool.

    >>> grow_into(np.array([[1, 0, 0, 2, 0, 0]]), np.array([[0, 1, 1, 0, 0, 1]], bool)).tolist()
    [[1, 1, 2, 2, 0, 0]]
    """
    from skimage.segmentation import watershed  # as in `divide`

    flat = np.zeros(objects.shape, np.uint8)
    return watershed(flat, objects, mask=border | (objects > 0), connectivity=2).astype(np.int32)
