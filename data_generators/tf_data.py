"""TF_DATA: a tf.data pipeline that reads, decodes and batches in parallel with the training step."""

import tensorflow as tf

from data_generators.images import read_pair


def pair_dataset(pairs, order, settings, batch_size, workers):
    """`tf.data.Dataset` of batches; see `data_generators.build_dataset` for shapes and order."""
    masked = pairs[0].mask is not None
    shapes = [(settings.height, settings.width, settings.channels), (settings.height, settings.width, 1)]
    types = [tf.float32, tf.uint8]
    parts = 2 if masked else 1

    def read(index):
        # OpenCV reads every format that users have (tf.io knows no TIFF) and lets other threads run meanwhile.
        sample = tf.numpy_function(lambda i: read_pair(pairs[i], settings)[:parts], [index], types[:parts])
        return tuple(tf.ensure_shape(part, shape) for part, shape in zip(sample, shapes, strict=False))

    def epoch(_):
        # Asked anew at the start of each epoch.
        indices = tf.numpy_function(order.next_indices, [], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(indices, [len(pairs)]))

    dataset = tf.data.Dataset.range(1).flat_map(epoch)
    dataset = dataset.map(read, num_parallel_calls=workers, deterministic=True)
    dataset = dataset.batch(batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-len(pairs) // batch_size)))
    return dataset.prefetch(tf.data.AUTOTUNE)
