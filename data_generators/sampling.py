"""Which part of a large image a sample shows, and which samples a batch is made of."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from data_generators.images import read_mask_as
from data_generators.order import EpochOrder
from utils.errors import UserError


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
        wants_foreground = self.mode == "foreground" or is_promised(position, self.fraction)
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


def is_foreground(mask, ignore_label):
    return (mask > 0) & (mask != (0 if ignore_label is None else ignore_label))


def is_promised(position, fraction):
    """Whether a position of the epoch is one of the `fraction` that hold foreground, evenly spread."""
    # Rounding takes 10 * 0.3 = 3.0000000000000004 for what is meant.
    return fraction is not None and count_promised(position + 1, fraction) > count_promised(position, fraction)


def count_promised(positions, fraction):
    return math.floor(round(positions * fraction, 9))


class ForegroundOrder(EpochOrder):
    """An epoch of as many samples as there are, a fixed share of which hold foreground.

    The positions of `is_promised` go to samples with foreground, the others to samples without (to any, where every
    sample has foreground). Each kind goes through a new order of its samples again and again, so that none comes twice
    before all of its kind have come.

    Args:
        has_foreground: list of bool, one per sample.
        fraction: float, 0 to 1.
        seed, shuffle: as in `EpochOrder`.
    """

    def __init__(self, has_foreground, fraction, seed, shuffle):
        super().__init__(len(has_foreground), seed, shuffle)
        kinds = np.asarray(has_foreground, bool)
        self.kinds = (np.arange(self.count) if kinds.all() else np.flatnonzero(~kinds), np.flatnonzero(kinds))
        self.promised = np.array([is_promised(position, fraction) for position in range(self.count)])

    def of_epoch(self, epoch):
        indices = np.empty(self.count, np.int64)
        generator = np.random.default_rng([self.seed, epoch])
        for samples, places in zip(self.kinds, (~self.promised, self.promised), strict=True):
            wanted, drawn = np.count_nonzero(places), []
            while len(drawn) * len(samples) < wanted:
                drawn.append(generator.permutation(samples) if self.shuffle else samples)
            if drawn:
                indices[places] = np.concatenate(drawn)[:wanted]
        return indices


def foreground_order(cfg, pairs, settings):
    """The `ForegroundOrder` of the training data; reads all masks, in parallel.

    Raises:
        UserError: no mask holds foreground, or there are no masks.
    """
    fraction = cfg.DATASET.FOREGROUND_FRACTION
    if pairs[0].mask is None:
        raise UserError(f"DATASET.FOREGROUND_FRACTION={fraction} needs masks: set DATASET.TRAIN.MASK_PATH.")

    def has_foreground(pair):
        return bool(is_foreground(read_mask_as(pair.mask, settings), settings.ignore_label).any())

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        bar = tqdm(threads.map(has_foreground, pairs), "find foreground", len(pairs), disable=not cfg.VERBOSE)
        found = list(bar)
    if not any(found):
        raise UserError(f"DATASET.FOREGROUND_FRACTION={fraction}: none of the {len(pairs)} masks holds foreground.")
    return ForegroundOrder(found, fraction, cfg.SEED, cfg.PREPROCESS_DATA.SHUFFLE.TRAIN.VALUE)


def whole_images(cfg):
    """The config that evaluates and predicts whole images where training saw crops: of any size, one at a time."""
    if cfg.DATASET.CROP.MODE is None:
        return cfg
    cfg = cfg.copy()
    cfg.DATASET.CROP.MODE = cfg.DATASET.CROP.HEIGHT = cfg.DATASET.CROP.WIDTH = None
    cfg.INPUT.HEIGHT = cfg.INPUT.WIDTH = None
    cfg.HYPER_PARAMETERS.BATCH_SIZE = 1
    return cfg
