"""TF_GENERATOR: a keras PyDataset (the Sequence of Keras 2) whose threads read with OpenCV."""

import keras
import numpy as np

from data_generators.images import read_pair


class PairSequence(keras.utils.PyDataset):
    """Batches of pairs; see `data_generators.build_dataset` for shapes and order."""

    def __init__(self, pairs, order, settings, batch_size, workers):
        super().__init__(workers=workers, max_queue_size=max(10, 2 * workers))
        self.pairs = pairs
        self.order = order
        self.settings = settings
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(self.pairs) // self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        chosen = self.order.indices()[index * self.batch_size : (index + 1) * self.batch_size]
        images, masks = zip(*(read_pair(self.pairs[i], self.settings) for i in chosen), strict=True)
        return (np.stack(images),) if masks[0] is None else (np.stack(images), np.stack(masks))

    def on_epoch_end(self):
        self.order.epoch += 1
