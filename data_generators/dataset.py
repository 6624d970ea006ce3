"""The dataset of one split: its batches, and the sampler that orders them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_generators.loaders import Batch, ReplicaBatch
from data_generators.sampler import EpochSampler


@dataclass(frozen=True)
class Dataset:
    """One split, as `data_generators.build_dataset` returns it. Iterating it yields the batches of one epoch.

    Attributes:
        batches: what the loader built, a `keras.utils.PyDataset` or a `tf.data.Dataset` for instance. Each iteration
            takes the epoch that comes next.
        sampler: decides which samples an epoch draws, and in which order. To resume, call
            `sampler.set_epoch(epoch, step)` before you iterate.
        samples: the files of each sample, in the order of their names; the sampler's indices point into it.
        as_arrays: yield NumPy arrays where the loader makes tensors of TensorFlow, which JAX does not take.
    """

    batches: Iterable[Batch]
    sampler: EpochSampler
    samples: Sequence[Any]
    as_arrays: bool = False

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.sampler.steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        if self.as_arrays:
            yield from (tuple(map(np.asarray, batch)) for batch in self.batches)
        else:
            yield from self.batches

    def on_replicas(self, devices: Sequence[str]) -> Iterable[Batch | ReplicaBatch]:
        """The batches of one epoch, in parts that are on the devices of the replicas if the loader puts them there.

        Args:
            devices: names of TensorFlow, one for each replica of this process.
        """
        place = getattr(self.batches, "on_replicas", None)
        return self if place is None else place(devices)

    def samples_of(self, epoch: int, step: int) -> list[Any]:
        """The samples of one batch, to name the files of a batch that went wrong."""
        size = self.sampler.batch_size
        indices: np.ndarray = self.sampler.indices(epoch)[step * size : (step + 1) * size]
        return [self.samples[index] for index in indices]
