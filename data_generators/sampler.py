"""In which order an epoch visits the samples."""

import numpy as np


class EpochOrder:
    """The order of the samples, a function of seed and epoch alone, so that any loader and any resumed run agree.

    Args:
        count: int, number of samples.
        seed: int.
        shuffle: bool; false gives 0, 1, 2, ...
        batch_size: int, samples of a step, of all workers together.

    Attributes:
        worker: (number of this worker, workers). Each visits its part of every batch; of a last batch that cannot be
            shared equally the rest is left out, because workers must take the same number of steps.
        drop_remainder: bool; true leaves the last batch of an epoch out where it is smaller than the others.
        epoch: int, the epoch whose order comes next; loaders advance it.
        step: int, the step of that epoch with which they begin.
    """

    def __init__(self, count, seed, shuffle, batch_size=1):
        self.count = count
        self.seed = seed
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.worker = 0, 1
        self.drop_remainder = False
        self.begin(0)

    @property
    def steps(self):
        """Batches of an epoch."""
        whole, rest = divmod(self.count, self.batch_size)
        _, workers = self.worker
        return whole + (rest >= workers and not self.drop_remainder)

    def begin(self, epoch, step=0):
        """Say with which epoch, and which step of it, the next iteration begins."""
        self.epoch, self.step = epoch, step

    def of_epoch(self, epoch):
        """The whole order of an epoch: int64 array `(samples,)`."""
        if not self.shuffle:
            return np.arange(self.count)
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)

    def visits(self, epoch):
        """All of an epoch in its order: int64 `(samples, 3)`, each (epoch, position in it, sample)."""
        indices = self.of_epoch(epoch)
        return np.stack([np.full_like(indices, epoch), np.arange(len(indices)), indices], axis=1)

    def next_epoch(self):
        """What the next iteration visits: int64 `(visits, 3)`, each (epoch, position in it, sample).

        The one after it goes on with the next epoch.
        """
        visits = self.visits(self.epoch)
        first, size = self.step * self.batch_size, self.batch_size
        if self.drop_remainder:
            visits = visits[: len(visits) // size * size]
        self.begin(self.epoch + 1)
        worker, workers = self.worker
        if workers == 1:
            return visits[first:]
        batches = [visits[start : start + size] for start in range(first, len(visits), size)]
        parts = [batch[len(batch) // workers * worker :][: len(batch) // workers] for batch in batches]
        return np.concatenate(parts) if parts else visits[:0]
