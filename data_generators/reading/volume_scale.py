"""PREPROCESS_DATA.SCOPE=volume: the values of a slice by the statistics of its volume, a prepared scan or a stack."""

import functools
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from data_generators.files.cloud import address
from data_generators.files.image_file import ImageFile, parts_of
from data_generators.reading.channels import Bands
from data_generators.reading.value_range import ValueRange, value_range_of
from data_generators.reading.volume_intensities import QUANTILES, is_manifest, read_intensities, source_of
from utils.base.errors import UserError
from utils.base.volume_zscore import HIGHEST, LOWEST

TOP = 65535  # of the uint16 that an image becomes
MEAN = round(TOP * -LOWEST / (HIGHEST - LOWEST))  # a z-score of 0
SMALLEST = 1e-5  # spread to divide by, a share of the range: a volume of one value becomes 0, not NaN


class Ends(NamedTuple):
    """Values that become 0 and 65535, others by a straight line, clipped; as stored in images up to `highest`."""

    low: float
    high: float
    highest: int


@dataclass(frozen=True)
class VolumeScale:
    """Maps stored values to uint16 by the statistics of the volume.

    Attributes:
        kind: "zscore": LOWEST to HIGHEST standard deviations from the mean become 0 to 65535, "percentile": the values
            between two percentiles.
        percentiles: (low, high) in 0 to 100.
        foreground: whether voxels above 0 alone count; with "zscore" the others become the mean.
        bands: DATASET.BANDS, or None.
        value_range: PREPROCESS_DATA.VALUE_RANGE, or None; of TIFF stacks alone.
    """

    kind: str
    percentiles: tuple[float, float]
    foreground: bool
    bands: Bands | None = None
    value_range: ValueRange | None = None

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "VolumeScale | None":
        """What PREPROCESS_DATA asks for; None if nothing is measured on volumes."""
        group, bands = cfg.PREPROCESS_DATA, cfg.DATASET.BANDS
        if group.SCOPE != "volume":
            return None
        low, high = group.PERCENTILES
        chosen = None if bands is None else tuple(bands)
        percentiles = float(low), float(high)
        return cls(group.IMAGE_PREPROCESSING_TYPE, percentiles, group.FOREGROUND, chosen, value_range_of(cfg))

    def __call__(self, file: ImageFile, image: np.ndarray) -> np.ndarray:
        """A slice as uint16; `file` names it, and leads to its volume.

        Args:
            file: the image, or its parts.
            image: `(height, width, channels)`, uint8 or uint16, as `read_image` gives it.

        Raises:
            UserError: the statistics of the volume are not known, or are those of other channels.
        """
        ends: list[Ends] = []
        parts = parts_of(file)
        for part in parts:
            source = source_of(part)
            if is_manifest(source):
                self.refuse_value_range(part)
            with lock_of(source):
                sequences = read_ends(source, stamp(source), self)
            if not sequences:
                raise UserError(
                    f"{part}: PREPROCESS_DATA.SCOPE=volume needs the statistics of its volume, which "
                    f"{address(source)} does not hold. Prepare the scans again (volumes.py or preprocess_data.py), "
                    "pack the shards again (tfrecord.py), or set SCOPE=image; scans and TIFF stacks that predict.py is "
                    "given are measured."
                )
            if len(sequences) == 1:  # a slice and its neighbours, or some of them
                sequences = sequences * (image.shape[2] // len(parts))
            elif self.bands is not None:
                sequences = tuple(sequences[band - 1] for band in self.bands if band <= len(sequences))
            ends += sequences
        return self.apply(file, image, ends)

    def refuse_value_range(self, file: ImageFile | Path) -> None:
        """Raise a UserError if there is a VALUE_RANGE; `file` is of a scan or a shard."""
        if self.value_range is not None:
            raise UserError(
                f"{file}: PREPROCESS_DATA.SCOPE=volume measured its volume as it was prepared or packed: leave "
                f"PREPROCESS_DATA.VALUE_RANGE={list(self.value_range)} out. TIFF stacks themselves can have one."
            )

    def apply(self, file: ImageFile | Path, image: np.ndarray, ends: Sequence[Ends]) -> np.ndarray:
        """A slice as uint16, by the `ends` of each channel, or of all; `file` names it in errors."""
        if len(ends) not in (1, image.shape[2]):
            raise UserError(
                f"{file}: becomes {image.shape[2]} channels, and its volume has statistics of {len(ends)}. "
                "DATASET.BANDS chooses some, one for each channel."
            )
        black = MEAN if self.kind == "zscore" and self.foreground else None
        top = int(np.iinfo(image.dtype).max)
        tables = [make_table(one, top, black) for one in ends]
        if len(set(ends)) == 1:
            return tables[0][image]
        return np.stack([table[image[..., channel]] for channel, table in enumerate(tables)], axis=-1)

    def ends(self, measured: Mapping[str, Any]) -> Ends:
        """What becomes 0 and 65535.

        Args:
            measured: of a sequence of a volume, by `data_generators.reading.volume_intensities`.
        """
        highest, chosen = measured["highest"], measured["foreground" if self.foreground else "all"]
        smallest = SMALLEST * highest
        if self.kind == "zscore":
            mean, spread = chosen["mean"], max(chosen["std"], smallest)
            return Ends(mean + LOWEST * spread, mean + HIGHEST * spread, highest)
        low, high = np.interp(self.percentiles, np.linspace(0, 100, QUANTILES), chosen["quantiles"]).tolist()
        return Ends(low, max(high, low + smallest), highest)


@functools.lru_cache(maxsize=256)
def make_table(ends: Ends, top: int, black: int | None) -> np.ndarray:
    """What each stored value becomes: uint16 `(top + 1,)`.

    Args:
        ends: see `Ends`.
        top: 255 or 65535.
        black: what 0 becomes, whatever the ends.

    >>> make_table(Ends(51, 153, 255), 255, None)[[0, 51, 102, 153, 255]].tolist()
    [0, 0, 32768, 65535, 65535]
    """
    values = np.arange(top + 1) * (ends.highest / top)
    table = np.rint(np.clip((values - ends.low) / (ends.high - ends.low), 0, 1) * TOP).astype(np.uint16)
    if black is not None:
        table[0] = black
    table.flags.writeable = False
    return table


def stamp(path: Path) -> int:
    """Changes when a file does; 0 if it does not exist."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=4096)
def lock_of(source: Path) -> threading.Lock:
    """Of the threads that need a volume, one measures it."""
    return threading.Lock()


@functools.lru_cache(maxsize=4096)
def read_ends(source: Path, changed: int, scale: VolumeScale) -> tuple[Ends, ...]:
    """The ends of each sequence of a volume; empty if they are not known. `changed`: the `stamp` of the source."""
    return tuple(map(scale.ends, read_intensities(source, scale.value_range)))
