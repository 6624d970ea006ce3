"""Crops: the part of a large image that a sample shows."""

from dataclasses import dataclass

import numpy as np
from omegaconf import DictConfig

from data_generators.reading.masks import is_foreground
from data_generators.sampler import is_foreground_position


@dataclass(frozen=True)
class Crop:
    """How to crop the images of a split.

    Attributes:
        height, width: of the crop, pixels.
        mode: "random", "center", or "foreground": random, but with a foreground pixel if the image has one.
        seed: with epoch and position of the sample it decides each random crop.
        fraction: DATASET.FOREGROUND_FRACTION, the share of positions that must show foreground, or None.
        ignore_label: value of the mask that is no foreground, or None.
    """

    height: int
    width: int
    mode: str
    seed: int = 0
    fraction: float | None = None
    ignore_label: int | None = None

    @classmethod
    def from_config(cls, cfg: DictConfig, split: str) -> "Crop | None":
        """The crop of a split, or None without DATASET.CROP. Splits other than "train" are cropped in the centre."""
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

    def corner(self, size: tuple[int, int], mask: np.ndarray | None, epoch: int, position: int) -> tuple[int, int]:
        """Top and left of the crop.

        Args:
            size: (height, width) of the image, at least those of the crop.
            mask: `(height, width)` class indices, or None.
            epoch, position: of the sample, see `data_generators.sampler.EpochSampler`.
        """
        height, width = size
        slack = height - self.height, width - self.width  # the largest top and left
        if self.mode == "center":
            return slack[0] // 2, slack[1] // 2
        generator = np.random.default_rng([self.seed, epoch, position])
        wants_foreground = self.mode == "foreground" or is_foreground_position(position, self.fraction)
        pixel = pick_foreground(mask, self.ignore_label, generator) if wants_foreground and mask is not None else None
        if pixel is None:
            return int(generator.integers(slack[0] + 1)), int(generator.integers(slack[1] + 1))
        # All crops that hold the pixel are equally likely.
        top, left = (
            int(generator.integers(max(at - side + 1, 0), min(at, largest) + 1))
            for at, side, largest in zip(pixel, (self.height, self.width), slack, strict=True)
        )
        return top, left


def pick_foreground(
    mask: np.ndarray, ignore_label: int | None, generator: np.random.Generator
) -> tuple[int, int] | None:
    """(row, column) of a foreground pixel, all equally likely, or None if there is none."""
    pixels = np.flatnonzero(is_foreground(mask, ignore_label))
    if not len(pixels):
        return None
    row, column = divmod(int(pixels[generator.integers(len(pixels))]), mask.shape[1])
    return row, column
