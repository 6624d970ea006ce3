"""In which order an epoch visits the samples."""

import numpy as np


class EpochOrder:
    """The order of the samples, a function of seed and epoch alone, so that any loader and any resumed run agree.

    Args:
        count: int, number of samples.
        seed: int.
        shuffle: bool; false gives 0, 1, 2, ...

    Attributes:
        epoch: int, the epoch whose order comes next; loaders advance it, `FollowEpoch` sets it while training.
    """

    def __init__(self, count, seed, shuffle):
        self.count = count
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def indices(self):
        """Order of the current epoch: int64 array `(samples,)`."""
        if not self.shuffle:
            return np.arange(self.count)
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.count)

    def next_epoch(self):
        """Number and order of the current epoch, and go on to the next."""
        epoch, indices = self.epoch, self.indices()
        self.epoch += 1
        return np.int64(epoch), indices
