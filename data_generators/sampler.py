"""Which samples an epoch draws, and in which order."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from data_generators.reading.masks import is_foreground, read_mask_as
from utils.base.errors import UserError
from utils.base.progress import track
from utils.base.threads import map_in_threads
from utils.base.wording import counted

if TYPE_CHECKING:
    from data_generators.files.image_file import ImageFile
    from data_generators.reading.samples import ReadSettings


class EpochSampler:
    """Draw every sample once per epoch.

    The order is a function of seed and epoch alone, so that all loaders and a resumed run agree on it.

    A draw is a row `(epoch, position, index)` of int64: the sample with that index, at that position of that epoch.
    Random crops and augmentation depend on epoch and position.

    Args:
        count: number of samples.
        seed: of the shuffling.
        shuffle: False for the order 0, 1, 2, ...
        batch_size: samples of a step, of all workers together.
        worker: (number of this worker, workers). Each worker draws its part of every batch. All workers take the same
            number of steps: what remains of a last batch that cannot be shared equally is left out.
        drop_remainder: whether to leave out the last batch of an epoch if it is smaller than the others.

    Attributes:
        epoch: the epoch that `next_epoch` draws; it advances by one with each call.
        step: the step of that epoch to start with.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        shuffle: bool,
        *,
        batch_size: int = 1,
        worker: tuple[int, int] = (0, 1),
        drop_remainder: bool = False,
    ) -> None:
        self.count = count
        self.seed = seed
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.worker = worker
        self.drop_remainder = drop_remainder
        self.set_epoch(0)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        whole, rest = divmod(self.count, self.batch_size)
        _, workers = self.worker
        return whole + (rest >= workers and not self.drop_remainder)

    @property
    def has_partial_batch(self) -> bool:
        """Whether the last batch of an epoch is smaller than the others, or a single one of several workers."""
        _, workers = self.worker
        return (self.steps > 1 or workers > 1) and self.steps * self.batch_size > self.count

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Set the epoch, and the step of it, with which the next iteration starts."""
        self.epoch, self.step = epoch, step

    def indices(self, epoch: int) -> np.ndarray:
        """The samples of an epoch in their order: int64 `(samples,)`."""
        if not self.shuffle:
            return np.arange(self.count)
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)

    def draws(self, epoch: int) -> np.ndarray:
        """All draws of an epoch, of all workers: int64 `(samples, 3)`."""
        indices = self.indices(epoch)
        return np.stack([np.full_like(indices, epoch), np.arange(len(indices)), indices], axis=1)

    def next_epoch(self) -> np.ndarray:
        """The draws of this worker from `epoch` and `step` on: int64 `(draws, 3)`. Advances to the next epoch."""
        draws = self.draws(self.epoch)
        first, size = self.step * self.batch_size, self.batch_size
        if self.drop_remainder:
            draws = draws[: len(draws) // size * size]
        self.set_epoch(self.epoch + 1)
        worker, workers = self.worker
        if workers == 1:
            return draws[first:]
        batches = [draws[start : start + size] for start in range(first, len(draws), size)]
        parts = [batch[len(batch) // workers * worker :][: len(batch) // workers] for batch in batches]
        return np.concatenate(parts) if parts else draws[:0]


class ForegroundSampler(EpochSampler):
    """Give a fixed share of each batch to samples with foreground, as DATASET.FOREGROUND_FRACTION asks.

    An epoch draws as many samples as there are. The positions of `is_foreground_position` take samples with foreground;
    the others take samples without, or any if all samples have foreground. Each kind is drawn in shuffled rounds, so
    that no sample comes twice before all of its kind have come.

    Args:
        has_foreground: one bool per sample.
        fraction: share of the positions, 0 to 1.
        seed, shuffle, options: as in `EpochSampler`.
    """

    def __init__(self, has_foreground: list[bool], fraction: float, seed: int, shuffle: bool, **options: Any) -> None:
        super().__init__(len(has_foreground), seed, shuffle, **options)
        flags = np.asarray(has_foreground, bool)
        self.with_foreground = np.flatnonzero(flags)
        self.others = np.arange(self.count) if flags.all() else np.flatnonzero(~flags)
        self.positions = np.array([is_foreground_position(position, fraction) for position in range(self.count)])

    def indices(self, epoch: int) -> np.ndarray:
        indices = np.empty(self.count, np.int64)
        generator = np.random.default_rng([self.seed, epoch])
        for samples, positions in ((self.others, ~self.positions), (self.with_foreground, self.positions)):
            wanted = np.count_nonzero(positions)
            rounds: list[np.ndarray] = []
            while len(rounds) * len(samples) < wanted:
                rounds.append(generator.permutation(samples) if self.shuffle else samples)
            if rounds:
                indices[positions] = np.concatenate(rounds)[:wanted]
        return indices


def is_foreground_position(position: int, fraction: float | None) -> bool:
    """Whether the sample at a position of the epoch must show foreground; `fraction` of them do, evenly spread."""
    return fraction is not None and foreground_count(position + 1, fraction) > foreground_count(position, fraction)


def foreground_count(positions: int, fraction: float) -> int:
    """How many of the first positions of an epoch must show foreground."""
    # 10 * 0.3 is 3.0000000000000004: round before taking the floor.
    return math.floor(round(positions * fraction, 9))


def find_foreground(masks: "Sequence[ImageFile]", settings: "ReadSettings", show_progress: bool = False) -> list[bool]:
    """Whether each mask holds foreground. Reads all of them, in parallel."""

    def has_foreground(mask: "ImageFile") -> bool:
        return bool(is_foreground(read_mask_as(mask, settings), settings.ignore_label).any())

    found = map_in_threads(has_foreground, masks)
    return list(track(found, "find foreground", len(masks), quiet=not show_progress))


def make_sampler(
    cfg: DictConfig,
    split: str,
    samples: "Sequence[Any]",
    settings: "ReadSettings",
    *,
    shuffle: bool | None = None,
    targets: bool = True,
    **options: Any,
) -> EpochSampler:
    """The sampler of a split, see `data_generators.build_dataset` for shuffle and targets.

    Args:
        cfg: checked config; DATASET.FOREGROUND_FRACTION, PREPROCESS_DATA.SHUFFLE, SEED and VERBOSE are read.
        split: "train", "val" or "test".
        samples: of the split.
        settings: how masks are read.
        options: of `EpochSampler`.

    Raises:
        UserError: DATASET.DROP_REMAINDER leaves no batch; DATASET.FOREGROUND_FRACTION without masks, or with masks that
            hold no foreground.
    """
    if options.get("drop_remainder") and len(samples) < options["batch_size"]:
        raise UserError(
            f"DATASET.DROP_REMAINDER=True leaves nothing to train on: {counted(len(samples), 'image')} for a batch "
            f"of {options['batch_size']}. Lower HYPER_PARAMETERS.BATCH_SIZE, or set it to False."
        )
    fraction = cfg.DATASET.FOREGROUND_FRACTION
    if shuffle is None:
        shuffle = split != "test" and cfg.PREPROCESS_DATA.SHUFFLE[split.upper()].VALUE
    elif not shuffle:
        fraction = None  # a fixed order has every sample once
    if fraction is None or split != "train" or not targets:
        return EpochSampler(len(samples), cfg.SEED, shuffle, **options)
    if samples[0].mask is None:
        raise UserError(f"DATASET.FOREGROUND_FRACTION={fraction} needs masks: set DATASET.TRAIN.MASK_PATH.")
    found = find_foreground([pair.mask for pair in samples], settings, show_progress=bool(cfg.VERBOSE))
    if not any(found):
        raise UserError(
            f"DATASET.FOREGROUND_FRACTION={fraction}: of {counted(len(samples), 'mask')} none holds foreground."
        )
    return ForegroundSampler(found, fraction, cfg.SEED, shuffle, **options)
