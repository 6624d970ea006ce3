"""PREPROCESS_DATA.SCOPE=volume: the values of a slice by the statistics of its volume, from its manifest."""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from data_generators.files.image_file import ImageFile, parts_of
from data_generators.files.volume_slices import manifest_of, read_manifest
from data_generators.reading.channels import Bands
from utils.base.errors import UserError
from utils.base.volume_zscore import HIGHEST, LOWEST

TOP = 65535  # of the uint16 that an image becomes
MEAN = round(TOP * -LOWEST / (HIGHEST - LOWEST))  # a z-score of 0
QUANTILES = 1001  # that a manifest holds: the lowest value, that above 0.1 % of the voxels, ..., the highest
SMALLEST = 1e-5  # spread to divide by, a share of the range: a volume of one value becomes 0, not NaN
INTENSITIES = "intensities"  # of a manifest, see `data_preparation.scans.volume_intensities`


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
    """

    kind: str
    percentiles: tuple[float, float]
    foreground: bool
    bands: Bands | None = None

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "VolumeScale | None":
        """What PREPROCESS_DATA asks for; None if nothing is measured on volumes."""
        group, bands = cfg.PREPROCESS_DATA, cfg.DATASET.BANDS
        if group.SCOPE != "volume":
            return None
        low, high = group.PERCENTILES
        chosen = None if bands is None else tuple(bands)
        return cls(group.IMAGE_PREPROCESSING_TYPE, (float(low), float(high)), group.FOREGROUND, chosen)

    def __call__(self, file: ImageFile, image: np.ndarray) -> np.ndarray:
        """A slice as uint16; `file` names it, and leads to the manifest of its volume.

        Args:
            file: the image, or its parts.
            image: `(height, width, channels)`, uint8 or uint16, as `read_image` gives it.

        Raises:
            UserError: the statistics of the volume are not known, or are those of other channels.
        """
        ends: list[Ends] = []
        parts = parts_of(file)
        for part in parts:
            path = manifest_of(part)
            sequences = read_ends(path, stamp(path), self)
            if not sequences:
                raise UserError(
                    f"{part}: PREPROCESS_DATA.SCOPE=volume needs the statistics of its volume, which {path} does not "
                    "hold. Prepare the scans again (volumes.py or preprocess_data.py), or set SCOPE=image; predict.py "
                    "measures a scan that it is given."
                )
            if len(sequences) == 1:  # a slice and its neighbours, or some of them
                sequences = sequences * (image.shape[2] // len(parts))
            elif self.bands is not None:
                sequences = tuple(sequences[band - 1] for band in self.bands if band <= len(sequences))
            ends += sequences
        return self.apply(file, image, ends)

    def apply(self, file: ImageFile | Path, image: np.ndarray, ends: Sequence[Ends]) -> np.ndarray:
        """A slice as uint16, by the `ends` of each channel, or of all; `file` names it in errors."""
        if len(ends) not in (1, image.shape[2]):
            raise UserError(
                f"{file}: has {image.shape[2]} channels, and the statistics of its volume are those of {len(ends)}."
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
            measured: of a sequence of a volume, by `data_preparation.scans.volume_intensities`.
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
def read_ends(path: Path, changed: int, scale: VolumeScale) -> tuple[Ends, ...]:
    """The ends of each sequence of a volume; empty if its manifest does not hold them. `changed`: its `stamp`."""
    found = read_manifest(path).get(INTENSITIES)
    if not isinstance(found, list) or not all(map(is_measured, found)):
        return ()
    return tuple(map(scale.ends, found))


def is_measured(value: object) -> bool:
    """Whether a value of a manifest is what the preparation writes about a sequence."""
    if not isinstance(value, dict) or value.get("highest") not in (255, TOP):
        return False
    return all(is_statistics(value.get(kind), value["highest"]) for kind in ("all", "foreground"))


def is_statistics(value: object, highest: int) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("quantiles"), list):
        return False
    numbers = [value.get("mean"), value.get("std"), *value["quantiles"]]
    in_range = (isinstance(number, (int, float)) and 0 <= number <= highest for number in numbers)
    return len(numbers) == QUANTILES + 2 and all(in_range)
