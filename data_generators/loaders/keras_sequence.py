"""TF_GENERATOR: a keras PyDataset (the Sequence of Keras 2) whose threads read with OpenCV."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import keras
import numpy as np

from data_generators.loaders.batches import read_batch, split_draws
from data_generators.reading.readers import Sample, SampleReader
from data_generators.sampler import EpochSampler
from utils.base.errors import UserError


class SampleSequence(keras.utils.PyDataset):
    """Batches of samples, see `data_generators.loaders.Loader`.

    Iterating it reads ahead; by index it returns batches of the epoch that comes next.

    Raises:
        UserError: the augmentation needs a tf.data pipeline.
    """

    def __init__(
        self, samples: Sequence[Sample], sampler: EpochSampler, reader: SampleReader, batch_size: int, workers: int
    ) -> None:
        super().__init__(workers=workers, max_queue_size=max(10, 2 * workers))
        if reader.graph_augmentation is not None:
            raise UserError("DATA_GENERATOR_TYPE=TF_GENERATOR has no graph operations. Set TF_DATA or TFRECORD.")
        self.samples = samples
        self.sampler = sampler
        self.reader = reader
        self.batch_size = batch_size

    def __len__(self) -> int:
        return self.sampler.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        first = index * self.batch_size
        return self.read(self.sampler.draws(self.sampler.epoch)[first : first + self.batch_size])

    def read(self, draws: np.ndarray) -> tuple[np.ndarray, ...]:
        return read_batch(self.reader, self.samples, draws)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        batches = split_draws(self.sampler.next_epoch(), self.batch_size)
        with ThreadPoolExecutor(self.workers) as threads:
            queue = deque(threads.submit(self.read, draws) for draws in islice(batches, 2 * self.workers))
            try:
                while queue:
                    yield queue.popleft().result()
                    queue.extend(threads.submit(self.read, draws) for draws in islice(batches, 1))
            finally:
                threads.shutdown(cancel_futures=True)

    def on_epoch_end(self) -> None:
        """Called by `keras.Model.fit`, which reads by index."""
        self.sampler.set_epoch(self.sampler.epoch + 1)
