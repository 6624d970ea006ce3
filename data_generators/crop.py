"""Which part of a large image a sample shows."""

from dataclasses import dataclass

import numpy as np

from data_generators.reading.masks import is_foreground
from data_generators.sampler import is_foreground_position


@dataclass(frozen=True)
class Crop:
    """How the samples of a split are cut out of their images.

    Attributes:
        height, width: int, pixels.
        mode: "random" | "center" | "foreground", a place that holds a foreground pixel, where the image has one.
        seed: int; with epoch and position of the sample it decides each cut.
        fraction: share of the positions that DATASET.FOREGROUND_FRACTION promises foreground, or None.
        ignore_label: int, a value of the mask that is no foreground, or None.
    """

    height: int
    width: int
    mode: str
    seed: int = 0
    fraction: float | None = None
    ignore_label: int | None = None

    @classmethod
    def from_config(cls, cfg, split):
        """The crop of a split, or None where there is none. Only training crops anywhere but in the centre."""
        crop, training = cfg.DATASET.CROP, split == "train"
        if crop.MODE is None:
            return None
        return cls(
            height=crop.HEIGHT,
            width=crop.WIDTH,
            mode=crop.MODE if training else "center",
            seed=cfg.SEED,
            fraction=cfg.DATASET.FOREGROUND_FRACTION if training else None,
            ignore_label=cfg.DATASET.IGNORE_LABEL,
        )

    def corner(self, size, mask, epoch, position):
        """Top and left of the cut.

        Args:
            size: (height, width) of the image, at least those of the crop.
            mask: `(height, width)` class indices, or None.
            epoch: int.
            position: int, of the sample in the epoch.
        """
        rooms = [have - want for have, want in zip(size, (self.height, self.width), strict=True)]
        if self.mode == "center":
            return tuple(room // 2 for room in rooms)
        generator = np.random.default_rng([self.seed, epoch, position])
        wants_foreground = self.mode == "foreground" or is_foreground_position(position, self.fraction)
        pixel = pick_foreground(mask, self.ignore_label, generator) if wants_foreground and mask is not None else None
        if pixel is None:
            return tuple(int(generator.integers(room + 1)) for room in rooms)
        # All places of the cut that hold the pixel are equally likely.
        return tuple(
            int(generator.integers(max(at - side + 1, 0), min(at, room) + 1))
            for at, side, room in zip(pixel, (self.height, self.width), rooms, strict=True)
        )


def pick_foreground(mask, ignore_label, generator):
    """(row, column) of a foreground pixel, all equally likely, or None where there is none."""
    pixels = np.flatnonzero(is_foreground(mask, ignore_label))
    return np.unravel_index(pixels[generator.integers(len(pixels))], mask.shape) if len(pixels) else None
