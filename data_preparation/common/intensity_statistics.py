"""Statistics of the intensities of a training set, for PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=dataset."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_generators.reading.masks import is_foreground
from utils.base.errors import UserError
from utils.base.ignored_classes import plain
from utils.config.class_names import has_background


class ForegroundHistogram:
    """Counts the values of the foreground of images, of each channel; threads may share one.

    Counts are exact, so that the statistics do not depend on the order of the images.

    Args:
        channels: of the images.
        ignore_label: DATASET.IGNORE_LABEL.
        background: whether class 0 is the background. If not, all pixels with a label count.

    >>> histogram = ForegroundHistogram(1, None, background=True)
    >>> histogram.add(np.array([[[0], [51], [153]]], np.uint8), np.array([[0, 1, 1]], np.uint8))
    >>> histogram.statistics((0, 100))
    {'LOW': [0.2], 'HIGH': [0.6], 'MEAN': [0.4], 'STD': [0.2]}
    """

    def __init__(self, channels: int, ignore_label: int | None, background: bool) -> None:
        self.ignore_label, self.background = ignore_label, background
        self.counts = np.zeros((channels, 65536), np.int64)
        self.lock = threading.Lock()

    def add(self, image: np.ndarray, mask: np.ndarray) -> None:
        """Count a pair: image uint8 or uint16 `(height, width, channels)`, mask `(height, width)` of class indices."""
        if self.background:
            chosen = is_foreground(mask, self.ignore_label)
        else:
            chosen = plain(mask) != (-1 if self.ignore_label is None else self.ignore_label)
        step = 257 if image.dtype == np.uint8 else 1  # v / 255 is 257 v / 65535
        size = 65535 // step + 1
        found = [np.bincount(values, minlength=size) for values in image[chosen].T]
        with self.lock:
            self.counts[:, ::step] += found

    def statistics(self, percentiles: Sequence[float]) -> dict[str, list[float]] | None:
        """`{"LOW", "HIGH", "MEAN", "STD"}` of each channel in [0, 1]; None if there is no foreground.

        Args:
            percentiles: (low, high) in 0 to 100; between neighbouring values as those of `numpy.percentile`.
        """
        number = int(self.counts[0].sum())
        if number == 0:
            return None
        values = np.arange(65536) / 65535
        low, high = (percentile(self.counts, share) / 65535 for share in percentiles)
        mean = self.counts @ values / number
        variance = [counts @ (values - center) ** 2 / number for counts, center in zip(self.counts, mean, strict=True)]
        found = {"LOW": low, "HIGH": high, "MEAN": mean, "STD": np.sqrt(variance)}
        return {name: [float(f"{number:.7g}") for number in numbers] for name, numbers in found.items()}


def percentile(counts: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """The percentile of each row of `(channels, values)`, which counts how often each value occurs; of equally many.

    Args:
        counts: integers.
        share: in 0 to 100, or several `(shares,)`: then `(channels, shares)` is returned.

    >>> percentile(np.array([[1, 0, 1]]), 25).tolist()
    [0.5]
    """
    rank = share / 100 * (counts[0].sum() - 1)
    below, above = (
        np.array([np.searchsorted(np.cumsum(row), place, side="right") for row in counts])
        for place in (np.floor(rank), np.ceil(rank))
    )
    return below + (above - below) * (rank - np.floor(rank))


def histogram_for(cfg: DictConfig, split: str, details: bool) -> ForegroundHistogram | None:
    """What `verify_data` counts a split with: the training split, if its report or its training asks for it."""
    group = cfg.PREPROCESS_DATA
    asked = group.IMAGE_PREPROCESSING_TYPE == "dataset" and group.STATISTICS.MEAN is None
    if split != "train" or not (details or asked):
        return None
    return ForegroundHistogram(cfg.INPUT.CHANNELS, cfg.DATASET.IGNORE_LABEL, has_background(cfg))


def intensity_statistics(cfg: DictConfig, histogram: ForegroundHistogram | None) -> dict[str, Any]:
    """The entry of `verify_data` about a split: empty, or `{"intensity_statistics": as `STATISTICS` of the config}`."""
    found = histogram and histogram.statistics(cfg.PREPROCESS_DATA.PERCENTILES)
    return {"intensity_statistics": found} if found else {}


def with_statistics(cfg: DictConfig, found: Mapping[str, Mapping[str, Any]]) -> DictConfig:
    """A copy of the config with the statistics of the training set, if it needs them; otherwise `cfg` itself.

    Args:
        cfg: config of a training.
        found: of `verify_data`.

    Raises:
        UserError: no mask of the training set has foreground.
    """
    group = cfg.PREPROCESS_DATA
    if group.IMAGE_PREPROCESSING_TYPE != "dataset" or group.STATISTICS.MEAN is not None:
        return cfg
    statistics = found["train"].get("intensity_statistics")
    if statistics is None:
        raise UserError(
            "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=dataset measures the foreground of the training set, and no mask "
            "of it has any. Use zscore, or check DATASET.TRAIN.MASK_PATH."
        )
    filled = cfg.copy()
    filled.PREPROCESS_DATA.STATISTICS = statistics
    return filled
