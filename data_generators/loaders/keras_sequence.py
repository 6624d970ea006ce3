"""TF_GENERATOR: a keras PyDataset (the Sequence of Keras 2) whose threads read with OpenCV."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import keras

from data_generators.loaders.batches import read_batch


class SampleSequence(keras.utils.PyDataset):
    """Batches of samples; see `data_generators.build_dataset` for shapes and order.

    Iterating it reads ahead; by index it gives the batches of the epoch that comes next.
    """

    def __init__(self, samples, sampler, read, spec, batch_size, workers):
        super().__init__(workers=workers, max_queue_size=max(10, 2 * workers))
        self.samples = samples
        self.sampler = sampler
        self.read = read
        self.batch_size = batch_size
        self.image_type = spec[0][1]

    def __len__(self):
        return self.sampler.steps

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        epoch, first = self.sampler.epoch, index * self.batch_size
        chosen = self.sampler.indices(epoch)[first : first + self.batch_size]
        return self.batch((epoch, position, sample) for position, sample in enumerate(chosen, first))

    def batch(self, draws):
        return read_batch(self.read, self.samples, list(draws), self.image_type)

    def __iter__(self):
        draws = self.sampler.next_epoch()
        batches = iter([draws[first : first + self.batch_size] for first in range(0, len(draws), self.batch_size)])
        with ThreadPoolExecutor(self.workers) as threads:
            waiting = deque(threads.submit(self.batch, part) for part in islice(batches, 2 * self.workers))
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(threads.submit(self.batch, part) for part in islice(batches, 1))
            finally:
                threads.shutdown(cancel_futures=True)

    def on_epoch_end(self):
        self.sampler.set_epoch(self.sampler.epoch + 1)
