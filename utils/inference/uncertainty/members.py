"""The members of the prediction of one image, added up one after the other: memory holds one of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from omegaconf import DictConfig

from models.model_types import model_settings
from utils.base.classes import is_multi_label
from utils.base.errors import UserError
from utils.checkpoints import weights_path
from utils.checkpoints.temperature import uses_sigmoids
from utils.inference.class_indices import STRIP_VALUES, class_indices
from utils.inference.sliding_window import zeros
from utils.inference.test_time_augmentation import TRANSFORMS
from utils.inference.uncertainty.measures import MEASURES, Measure

FULL = 65535  # in maps that are written: the most there can be


@dataclass(frozen=True)
class MemberSettings:
    """How members become a map.

    Attributes:
        measure: a name of `MEASURES`.
        count: of the members.
        sigmoids: whether the probabilities are of sigmoids, each for itself, else of softmax.
        multi_label, thresholds: of masks, see `utils.inference.class_indices.class_indices`.
    """

    measure: str
    count: int = 1
    sigmoids: bool = False
    multi_label: bool = False
    thresholds: Sequence[float] | None = None

    @classmethod
    def from_configs(cls, configs: Sequence[DictConfig]) -> Self | None:
        """That of PREDICT of restored configs, one per network; None without PREDICT.UNCERTAINTY.

        Raises:
            UserError: the measure needs more members than there are; samples of dropout, and no network has any.
        """
        cfg = configs[0]
        predict = cfg.PREDICT
        if predict.UNCERTAINTY is None:
            return None
        count = count_members(configs)
        fewest = MEASURES[predict.UNCERTAINTY].members
        if count < fewest:
            raise UserError(
                f"PREDICT.UNCERTAINTY={predict.UNCERTAINTY} is how far several predictions of an image lie apart, and "
                "one network gives one: set PREDICT.TTA, PREDICT.ENSEMBLE or PREDICT.MC_SAMPLES, or take entropy."
            )
        for member in configs if predict.MC_SAMPLES else ():
            if not may_drop(member):
                raise UserError(
                    f"PREDICT.MC_SAMPLES={predict.MC_SAMPLES} samples dropout, and {weights_path(member)} was trained "
                    "without: train with MODEL.DECODER.DROPOUT=0.2, or use PREDICT.TTA or PREDICT.ENSEMBLE."
                )
        thresholds = predict.POSTPROCESS.THRESHOLDS
        chosen = None if thresholds is None else list(thresholds)
        return cls(predict.UNCERTAINTY, count, uses_sigmoids(cfg), is_multi_label(cfg), chosen)


def count_members(configs: Sequence[DictConfig]) -> int:
    """How many predictions of an image there are: networks times transforms times samples of dropout."""
    predict = configs[0].PREDICT
    return len(configs) * len(TRANSFORMS[predict.TTA]) * (predict.MC_SAMPLES or 1)


def may_drop(cfg: DictConfig) -> bool:
    """Whether the network of a config may have dropout: known for certain once it is built."""
    settings, _ = model_settings(cfg)
    return settings.DECODER.DROPOUT > 0 or settings.CGM or settings.BACKBONE.TYPE.startswith("efficientnet")


class Members:
    """The members of the prediction of an image, added one by one.

    Args:
        settings: how they become a map.
        restore: brings the probabilities of a member to the grid of the mask.

    Attributes:
        labels: uint8 `(members, height, width)`, the mask of each member so far.
    """

    def __init__(
        self, settings: MemberSettings, restore: Callable[[np.ndarray], np.ndarray] = lambda array: array
    ) -> None:
        self.settings, self.restore = settings, restore
        self.added = 0

    def add(self, probability: np.ndarray) -> None:
        """Add a member: float32 probabilities `(height, width, classes)`, before `restore`."""
        probability = self.restore(probability)
        settings = self.settings
        if self.added == 0:
            size = probability.shape[:2]
            self.total = zeros(probability.shape)
            self.of_members = zeros(size) if self.measure.of_member else None
            self.labels = zeros((settings.count, *size), np.uint8)
        for rows in strips(probability):
            part = probability[rows]
            self.total[rows] += part
            if self.of_members is not None:
                assert self.measure.of_member is not None
                self.of_members[rows] += self.measure.of_member(part, settings.sigmoids)
            self.labels[self.added, rows] = class_indices(part, settings.thresholds, settings.multi_label)
        self.added += 1

    @property
    def measure(self) -> Measure:
        """What the map holds."""
        return MEASURES[self.settings.measure]

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """When all are added: the mean probabilities and the map.

        Returns:
            float32 `(height, width, classes)`, on the grid of the mask; uint16 `(height, width)`, in which 65535 is the
            most there can be.
        """
        mean, count = self.total, np.float32(self.added)
        unsure = np.empty(mean.shape[:2], np.uint16)
        for rows in strips(mean):
            mean[rows] /= count
            of_members = None if self.of_members is None else self.of_members[rows] / count
            shares = self.measure.finish(mean[rows], of_members, self.settings.sigmoids)
            unsure[rows] = np.round(np.minimum(shares, 1) * FULL)
        return mean, unsure


def strips(array: np.ndarray) -> list[slice]:
    """Rows of `(height, width, ...)` at a time, so that what is computed of them stays small."""
    rows = max(1, STRIP_VALUES // max(array[0].size, 1))
    return [slice(top, top + rows) for top in range(0, len(array), rows)]
