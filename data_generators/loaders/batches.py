"""Batches of samples, for the loaders that read in Python."""

import numpy as np

from data_generators.reading.decoding import to_unit_range
from utils.base.errors import UserError


def read_batch(read, samples, draws, image_type="float32"):
    """Read the samples of a batch one after the other, straight into its arrays.

    Args:
        read: function (sample, epoch, position) -> image, as `reading.samples.sample_pair` gives it, and more.
        samples: list.
        draws: list of (epoch, position in it, sample), not empty.
        image_type: float32, or uint8 for images that are all of 8 bit.

    Returns:
        tuple of arrays `(batch, ...)`; the images float32 in [0, 1], or uint8 as they are.

    Raises:
        UserError: an image is not of 8 bit where all should be.
    """
    batch = ()
    for place, (epoch, position, sample) in enumerate(draws):
        parts = read(samples[sample], epoch, position)
        if not batch:
            types = [image_type, *(part.dtype for part in parts[1:])]
            batch = tuple(np.empty((len(draws), *part.shape), dtype) for part, dtype in zip(parts, types, strict=True))
        if image_type == "float32":
            to_unit_range(parts[0], out=batch[0][place])
        elif parts[0].dtype == image_type:
            batch[0][place] = parts[0]
        else:
            raise UserError(
                f"{samples[sample].image}: has changed since it was checked, to {parts[0].dtype}. Start again."
            )
        for whole, part in zip(batch[1:], parts[1:], strict=True):
            whole[place] = part
    return batch
