"""Batches of samples, for the loaders that read in Python."""

import numpy as np

from data_generators.images import to_unit_range


def read_batch(read, samples, visits):
    """Read the samples of a batch one after the other, straight into its arrays.

    Args:
        read: function (sample, epoch, position) -> image, as `data_generators.images.sample_pair` gives it, and more.
        samples: list.
        visits: list of (epoch, position in it, sample), not empty.

    Returns:
        tuple of arrays `(batch, ...)`; the images float32 in [0, 1].
    """
    batch = ()
    for place, (epoch, position, sample) in enumerate(visits):
        parts = read(samples[sample], epoch, position)
        if not batch:
            types = [np.float32, *(part.dtype for part in parts[1:])]
            batch = tuple(np.empty((len(visits), *part.shape), dtype) for part, dtype in zip(parts, types, strict=True))
        to_unit_range(parts[0], out=batch[0][place])
        for whole, part in zip(batch[1:], parts[1:], strict=True):
            whole[place] = part
    return batch
