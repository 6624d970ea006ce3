"""What the values of truth and prediction mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from omegaconf import DictConfig

from utils.base.class_bits import NO_CLASS
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.ignored_classes import plain
from utils.config.class_names import has_background
from utils.config.label_sets import label_sets_of, labels_of_bits

MOST_CONTOURS = 3  # classes that are drawn; more are told apart as tinted areas only


@dataclass(frozen=True)
class MaskMeaning:
    """What the values of masks mean.

    Attributes:
        class_names: the first that of class 0.
        ignore_label: pixels of the truth with this value are not scored.
        multi_label: whether classes overlap, so that values are those of `utils.base.class_bits`.
        has_background: whether class 0 is the background, so that errors are missed or excess.
    """

    class_names: Sequence[str]
    ignore_label: int | None = None
    multi_label: bool = False
    has_background: bool = True

    @classmethod
    def from_config(cls, cfg: DictConfig, class_names: Sequence[str]) -> Self:
        """That of a model for masks."""
        return cls(class_names, cfg.DATASET.IGNORE_LABEL, is_multi_label(cfg), has_background(cfg))

    @property
    def draws_contours(self) -> bool:
        """Whether contours of truth and prediction fit one panel."""
        return len(self.class_names) - self.first_class <= MOST_CONTOURS

    @property
    def first_class(self) -> int:
        """The first class that has a colour: 1, or 0 where that is a class and no background."""
        return 1 if self.has_background or self.multi_label else 0

    def without_void(self, truth: np.ndarray) -> np.ndarray:
        """The truth with a value that is not drawn where pixels are not scored."""
        return np.where(self.is_void(truth), 0 if self.first_class else NO_CLASS, plain(truth)).astype(np.uint8)

    def is_void(self, truth: np.ndarray) -> np.ndarray:
        """Which pixels are not scored: bool, of the shape of the truth."""
        return np.zeros(truth.shape, bool) if self.ignore_label is None else plain(truth) == self.ignore_label


def stored_values(cfg: DictConfig) -> list[int] | None:
    """The value of each class in the masks of the data set; None if it is the class index.

    With DATASET.LABEL_SETS that of each combination of classes, in the order of `utils.base.class_bits`.

    >>> from utils.config import load_config
    >>> stored_values(load_config(["DATASET.LABEL_VALUES=[0,255]"])), stored_values(load_config())
    ([0, 255], None)
    """
    sets = label_sets_of(cfg)
    if sets is not None:
        return labels_of_bits(sets)
    if cfg.DATASET.LABEL_VALUES is not None:
        return list(cfg.DATASET.LABEL_VALUES)
    divide = cfg.PREPROCESS_DATA.NORMALIZE_MASK
    return [index * divide.NORMALIZE_VALUE for index in range(number_of_classes(cfg))] if divide.VALUE else None
