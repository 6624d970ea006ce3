"""A sampler that gives a fixed share of each batch to samples with foreground."""

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from data_generators.reading.foreground import is_foreground
from data_generators.reading.masks import read_mask_as
from data_generators.sampler import EpochOrder
from utils.base.errors import UserError


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
