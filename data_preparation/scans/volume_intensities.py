"""Statistics of the stored values of a volume, for PREPROCESS_DATA.SCOPE=volume."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from data_generators.reading.volume_scale import QUANTILES
from data_preparation.common.intensity_statistics import percentile


class VolumeCounts:
    """Counts the values of the slices of a sequence, as they are stored; exact, whatever the order of the slices.

    Args:
        depth: bits of a value, 8 or 16.

    >>> counts = VolumeCounts(8)
    >>> counts.add(np.array([[0, 0, 2, 4]], np.uint8))
    >>> found = counts.measured()
    >>> found["all"]["mean"], found["foreground"]["mean"], found["foreground"]["std"], found["all"]["quantiles"][-1]
    (1.5, 3.0, 1.0, 4.0)
    """

    def __init__(self, depth: int) -> None:
        self.counts = np.zeros(2**depth, np.int64)

    def add(self, pixels: np.ndarray) -> None:
        """Count a slice, uint8 or uint16 `(height, width)`."""
        self.counts += np.bincount(pixels.ravel(), minlength=len(self.counts))

    def measured(self) -> dict[str, Any]:
        """`{"highest": 255 or 65535, "all": statistics, "foreground": statistics}`, the latter of values above 0.

        Statistics are mean, std, and quantiles: the percentiles 0, 0.1, ..., 100 as `numpy.percentile` finds them.
        """
        foreground = self.counts.copy()
        foreground[0] = 0
        highest = len(self.counts) - 1
        return {"highest": highest, "all": statistics(self.counts), "foreground": statistics(foreground)}


def measured(slices: Iterable[np.ndarray], depth: int) -> dict[str, Any]:
    """`VolumeCounts.measured` of all slices of a sequence, each uint8 or uint16 `(height, width)`."""
    counts = VolumeCounts(depth)
    for pixels in slices:
        counts.add(pixels)
    return counts.measured()


def statistics(counts: np.ndarray) -> dict[str, Any]:
    """Mean, std and quantiles of `(values,)`, which counts how often each value occurs; 0 if none does."""
    number = int(counts.sum())
    if number == 0:
        return {"mean": 0.0, "std": 0.0, "quantiles": [0.0] * QUANTILES}
    values = np.arange(len(counts), dtype=float)
    mean = float(counts @ values / number)
    deviation = float(np.sqrt(counts @ (values - mean) ** 2 / number))
    quantiles = percentile(counts[None], np.linspace(0, 100, QUANTILES))[0]
    return {"mean": mean, "std": deviation, "quantiles": [float(f"{value:.7g}") for value in quantiles]}
