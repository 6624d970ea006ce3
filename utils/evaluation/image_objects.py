"""The objects of images that are scored: true ones from label images, predicted ones as PREDICT.INSTANCES says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data_generators.reading.headers import picture_size
from data_generators.reading.masks import resize_mask
from data_generators.reading.objects import read_objects
from utils.base.errors import UserError
from utils.inference.class_indices import center_crop
from utils.inference.instances import Instances

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from utils.evaluation.split_data import SplitData


class ImageObjects:
    """Label images of the images of a split; none without a metric of objects.

    Args:
        cfg: checked config; PREDICT.INSTANCES and PREPROCESS_DATA are read.
        data: the images, and the label images of their true objects.
        needed: whether a metric takes them.
    """

    def __init__(self, cfg: DictConfig, data: SplitData, needed: bool) -> None:
        self.instances = Instances.from_config(cfg) if needed else None
        self.files, self.found = (data.objects, data.found) if needed else ((), ())
        self.pairs, self.turned = data.pairs, cfg.PREPROCESS_DATA.EXIF == "apply"

    @property
    def needs_probability(self) -> bool:
        """Whether predicted objects are more than a mask says."""
        return self.instances is not None and self.instances.needs_probability

    def true(self, number: int, size: tuple[int, int], centre: tuple[int, int]) -> np.ndarray | None:
        """The label image of an image of the split, or None.

        Args:
            number: of the image.
            size: (height, width) of its mask, as it was read.
            centre: of the part that is scored, see `center_crop`.

        Raises:
            UserError: it cannot be read, or is not of the size of the mask file.
        """
        if not self.files:
            return None
        file, mask = self.files[number], self.pairs[number].mask
        own = picture_size(file)
        expected = own if mask is None else picture_size(mask)
        if own != expected:
            raise UserError(f"{file}: is {own[0]}x{own[1]}, the mask {mask} {expected[0]}x{expected[1]}.")
        return center_crop(resize_mask(read_objects(file, self.turned), *size), centre)

    def predicted(self, number: int, labels: np.ndarray, probability: np.ndarray | None) -> np.ndarray | None:
        """The label image of a predicted mask, see `Instances`, or None: its connected pieces.

        With EVALUATION.OBJECTS the label image `number`, without what postprocessing removed.
        """
        if self.found:
            return np.where(labels > 0, read_objects(self.found[number], self.turned), 0)
        return None if self.instances is None else self.instances(labels, probability)
