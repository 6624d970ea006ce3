"""TF_GENERATOR: a keras PyDataset (the Sequence of Keras 2) whose threads read with OpenCV."""

import keras
import numpy as np


class SampleSequence(keras.utils.PyDataset):
    """Batches of samples; see `data_generators.build_dataset` for shapes and order."""

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
        epoch, first = self.order.epoch, index * self.batch_size
        chosen = self.order.indices()[first : first + self.batch_size]
        parts = (self.read(self.samples[i], epoch, position) for position, i in enumerate(chosen, first))
        return tuple(np.stack(part) for part in zip(*parts, strict=True))

    def on_epoch_end(self):
        self.order.epoch += 1
