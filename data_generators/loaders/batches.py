"""Batches of samples, for the loaders that read in Python."""

from collections.abc import Iterator, Sequence

import numpy as np

from data_generators.reading.decoding import to_unit_range
from data_generators.reading.readers import Sample, SampleReader
from utils.base.errors import UserError

HAS_CHANGED = "{}: has changed since it was checked, to {}. Start again."


def split_draws(draws: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """The draws of an epoch, `(draws, 3)`, in batches; the last may be smaller."""
    return (draws[first : first + batch_size] for first in range(0, len(draws), batch_size))


def part_of(draws: np.ndarray, number: int, parts: int) -> np.ndarray:
    """What a replica draws of a batch, as `utils.training.tensorflow_replicas.split_batch` divides it.

    >>> part_of(np.arange(5), 0, 2).tolist(), part_of(np.arange(5), 1, 2).tolist(), part_of(np.arange(1), 0, 2).tolist()
    ([0, 1], [2, 3, 4], [0])
    """
    first, end = (len(draws) * which // parts for which in (number, number + 1))
    first = min(first, len(draws) - 1)
    return draws[first : max(end, first + 1)]


def read_batch(reader: SampleReader, samples: Sequence[Sample], draws: np.ndarray) -> tuple[np.ndarray, ...]:
    """Read the samples of a batch one after the other, straight into its arrays.

    Args:
        reader: reads each of them.
        samples: of the split.
        draws: int64 `(batch, 3)` of the sampler, not empty.

    Returns:
        Arrays `(batch, ...)`; images float32 in [0, 1], or uint8 as stored, as `reader.image_spec` says.

    Raises:
        UserError: an image does not have 8 bit although all should.
    """
    batch: tuple[np.ndarray, ...] = ()
    image_dtype = reader.image_spec.dtype
    for row, (epoch, position, index) in enumerate(draws.tolist()):
        image, *parts = reader(samples[index], epoch, position)
        if not batch:
            whole = np.empty((len(draws), *image.shape), image_dtype)
            batch = (whole, *(np.empty((len(draws), *part.shape), part.dtype) for part in parts))
        if image_dtype == "float32":
            to_unit_range(image, out=batch[0][row])
        elif image.dtype == image_dtype:
            batch[0][row] = image
        else:
            raise UserError(HAS_CHANGED.format(samples[index].image, image.dtype))
        for array, part in zip(batch[1:], parts, strict=True):
            array[row] = part
    return batch
