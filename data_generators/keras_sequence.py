"""TF_GENERATOR: a keras PyDataset (the Sequence of Keras 2) whose threads read with OpenCV."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np


class SampleSequence(keras.utils.PyDataset):
    """Batches of samples; see `data_generators.build_dataset` for shapes and order.

    Iterating it reads ahead; by index it gives the batches of the epoch that comes next.
    """

    def __init__(self, samples, order, read, spec, batch_size, workers):
        super().__init__(workers=workers, max_queue_size=max(10, 2 * workers))
        self.samples = samples
        self.order = order
        self.read = read
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(self.samples) // self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return self.batch(self.order.of_epoch(self.order.epoch)[index * self.batch_size :][: self.batch_size])

    def batch(self, indices):
        return tuple(np.stack(part) for part in zip(*(self.read(self.samples[i]) for i in indices), strict=True))

    def __iter__(self):
        indices = self.order.next_indices()
        parts = iter([indices[first : first + self.batch_size] for first in range(0, len(indices), self.batch_size)])
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = deque(
                pool.submit(self.batch, part) for _, part in zip(range(2 * self.workers), parts, strict=False)
            )
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(pool.submit(self.batch, part) for _, part in zip(range(1), parts, strict=False))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def on_epoch_end(self):
        self.order.begin(self.order.epoch + 1)
