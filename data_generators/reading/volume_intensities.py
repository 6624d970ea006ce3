"""Statistics of the stored values of a volume, for PREPROCESS_DATA.SCOPE=volume."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.files.volume_slices import manifest_of, read_manifest
from data_generators.reading.channels import choose_bands
from data_generators.reading.decoding import decode
from data_generators.reading.headers import read_whole
from data_generators.reading.tiff_pages import TiffPageFile, pages_of
from data_generators.reading.value_range import ValueRange
from utils.base.percentiles import percentile

INTENSITIES = "intensities"  # of a manifest: `VolumeCounts.measured` of each sequence
QUANTILES = 1001  # the lowest value, that above 0.1 % of the voxels, ..., the highest


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


def source_of(file: ImageFile) -> Path:
    """What tells the statistics of the volume of a slice: its manifest, or the TIFF stack itself."""
    return file.path if isinstance(file, TiffPageFile) else manifest_of(file)


def is_manifest(source: Path) -> bool:
    """Whether a `source_of` is a manifest."""
    return source.suffix == ".json"


def read_intensities(source: Path, value_range: ValueRange | None = None) -> list[dict[str, Any]]:
    """`VolumeCounts.measured` of each sequence of a volume, by its `source_of`; empty if a manifest does not hold them.

    Args:
        source: a manifest or a TIFF stack.
        value_range: PREPROCESS_DATA.VALUE_RANGE, of a stack.

    Raises:
        UserError: a stack cannot be read, or needs a VALUE_RANGE.
    """
    if not is_manifest(source):
        return measured_stack(source, value_range)
    found = read_manifest(source).get(INTENSITIES)
    return found if isinstance(found, list) and all(map(is_measured, found)) else []


def measured_stack(path: Path, value_range: ValueRange | None) -> list[dict[str, Any]]:
    """`VolumeCounts.measured` of each band of all pages of a TIFF file, in the order of the file.

    They are those of 16 bit, in which pages of 8 and of 16 bit can be counted together.
    """
    counts: list[VolumeCounts] = []
    for page in pages_of(path):
        pixels = decode(page, read_whole(page), value_range=value_range)
        bands = pixels.shape[2]
        counts = counts or [VolumeCounts(16) for _ in range(bands)]
        pixels = choose_bands(page, pixels, range(1, bands + 1))  # decoded colours are in another order
        if pixels.dtype == np.uint8:
            pixels = pixels * np.uint16(257)
        for band, count in enumerate(counts):
            count.add(pixels[..., band])
    return [count.measured() for count in counts]


def is_measured(value: object) -> bool:
    """Whether a value of a manifest is what the preparation writes about a sequence."""
    if not isinstance(value, dict) or value.get("highest") not in (255, 65535):
        return False
    return all(is_statistics(value.get(kind), value["highest"]) for kind in ("all", "foreground"))


def is_statistics(value: object, highest: int) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("quantiles"), list):
        return False
    numbers = [value.get("mean"), value.get("std"), *value["quantiles"]]
    in_range = (isinstance(number, (int, float)) and 0 <= number <= highest for number in numbers)
    return len(numbers) == QUANTILES + 2 and all(in_range)


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
