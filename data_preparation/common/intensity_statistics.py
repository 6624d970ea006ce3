"""Statistics of the intensities of a training set, for IMAGE_PREPROCESSING_TYPE=dataset and SCOPE=dataset."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_generators.reading.masks import is_foreground
from utils.base.errors import UserError
from utils.base.ignored_classes import plain
from utils.base.percentiles import percentile
from utils.config.class_names import has_background
from utils.config.intensities import MASK, measured_pixels, statistics_needed


class IntensityHistogram:
    """Counts the values of chosen pixels of images, of each channel; threads may share one.

    Counts are exact, so that the statistics do not depend on the order of the images.

    Args:
        channels: of the images.
        pixels: PREPROCESS_DATA.FOREGROUND: False: all pixels, True: values above 0, "mask": the foreground of masks.
        ignore_label: DATASET.IGNORE_LABEL; such pixels are no foreground of a mask.
        background: whether class 0 is the background. If not, the foreground of a mask is all that has a label.

    >>> histogram = IntensityHistogram(1, "mask", None, background=True)
    >>> histogram.add(np.array([[[0], [51], [153]]], np.uint8), np.array([[0, 1, 1]], np.uint8))
    >>> histogram.statistics((0, 100))
    {'LOW': [0.2], 'HIGH': [0.6], 'MEAN': [0.4], 'STD': [0.2]}
    """

    def __init__(self, channels: int, pixels: bool | str, ignore_label: int | None, background: bool) -> None:
        self.pixels, self.ignore_label, self.background = pixels, ignore_label, background
        self.counts = np.zeros((channels, 65536), np.int64)
        self.lock = threading.Lock()

    def add(self, image: np.ndarray, mask: np.ndarray | None) -> None:
        """Count an image, uint8 or uint16 `(height, width, channels)`; mask `(height, width)` of class indices."""
        if self.pixels == MASK:
            if mask is None:
                return
            image = image[self.foreground(mask)]
        step = 257 if image.dtype == np.uint8 else 1  # v / 255 is 257 v / 65535
        size = 65535 // step + 1
        found = [np.bincount(image[..., channel].ravel(), minlength=size) for channel in range(len(self.counts))]
        with self.lock:
            self.counts[:, ::step] += found

    def foreground(self, mask: np.ndarray) -> np.ndarray:
        if self.background:
            return is_foreground(mask, self.ignore_label)
        return plain(mask) != (-1 if self.ignore_label is None else self.ignore_label)

    def statistics(self, percentiles: Sequence[float]) -> dict[str, list[float]] | None:
        """`{"LOW", "HIGH", "MEAN", "STD"}` of each channel in [0, 1]; None if a channel has no such pixels.

        Args:
            percentiles: (low, high) in 0 to 100; between neighbouring values as those of `numpy.percentile`.
        """
        kept = self.counts.copy()
        if self.pixels is True:
            kept[:, 0] = 0
        numbers = kept.sum(axis=1)
        if not numbers.all():
            return None
        values = np.arange(65536) / 65535
        low, high = (percentile(kept, share) / 65535 for share in percentiles)
        mean = kept @ values / numbers
        variance = [counts @ (values - center) ** 2 for counts, center in zip(kept, mean, strict=True)] / numbers
        found = {"LOW": low, "HIGH": high, "MEAN": mean, "STD": np.sqrt(variance)}
        return {name: [float(f"{number:.7g}") for number in row] for name, row in found.items()}


def asks_for_statistics(cfg: DictConfig) -> bool:
    """Whether training has to measure its images: it needs statistics, and none are typed."""
    group = cfg.PREPROCESS_DATA
    return any(group.STATISTICS[name] is None for name in statistics_needed(group))


def histogram_for(cfg: DictConfig, split: str, details: bool) -> IntensityHistogram | None:
    """What `verify_data` counts a split with: the training split, if its report or its training asks for it."""
    if split != "train" or not (details or asks_for_statistics(cfg)):
        return None
    pixels = measured_pixels(cfg.PREPROCESS_DATA)
    return IntensityHistogram(cfg.INPUT.CHANNELS, pixels, cfg.DATASET.IGNORE_LABEL, has_background(cfg))


def intensity_statistics(cfg: DictConfig, histogram: IntensityHistogram | None) -> dict[str, Any]:
    """The entry of `verify_data` about a split: empty, or `{"intensity_statistics": as `STATISTICS` of the config}`."""
    found = histogram and histogram.statistics(cfg.PREPROCESS_DATA.PERCENTILES)
    return {"intensity_statistics": found} if found else {}


def with_statistics(cfg: DictConfig, found: Mapping[str, Mapping[str, Any]]) -> DictConfig:
    """A copy of the config with the statistics of the training set, if it needs them; otherwise `cfg` itself.

    Args:
        cfg: config of a training.
        found: of `verify_data`.

    Raises:
        UserError: the training set has no pixels that are to be measured.
    """
    if not asks_for_statistics(cfg):
        return cfg
    group = cfg.PREPROCESS_DATA
    statistics = found["train"].get("intensity_statistics")
    if statistics is None:
        measured, check = "foreground", "no mask of it has any. Use zscore, or check DATASET.TRAIN.MASK_PATH."
        if measured_pixels(group) != MASK:
            measured, check = "values above 0", "a channel has none. Check DATASET.TRAIN.IMAGES_PATH."
        raise UserError(
            f"PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE={group.IMAGE_PREPROCESSING_TYPE} measures the {measured} of the "
            f"training set, and {check}"
        )
    filled = cfg.copy()
    for name in statistics_needed(group):
        filled.PREPROCESS_DATA.STATISTICS[name] = statistics[name]
    return filled
