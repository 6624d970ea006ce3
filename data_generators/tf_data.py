"""TF_DATA: a tf.data pipeline that reads, decodes and batches in parallel with the training step."""

import tensorflow as tf


def sample_dataset(samples, order, read, spec, batch_size, workers):
    """`tf.data.Dataset` of batches; see `data_generators.build_dataset` for shapes and order."""
    types = [tf.as_dtype(dtype) for _, dtype in spec]

    def read_sample(epoch, position, index):
        # OpenCV reads every format that users have (tf.io knows no TIFF) and lets other threads run meanwhile.
        parts = tf.numpy_function(lambda e, p, i: read(samples[i], e, p), [epoch, position, index], types)
        return tuple(tf.ensure_shape(part, shape) for part, (shape, _) in zip(parts, spec, strict=True))

    def epoch(_):
        # Asked anew at the start of each epoch.
        number, indices = tf.numpy_function(order.next_epoch, [], (tf.int64, tf.int64))
        numbers = tf.fill([len(samples)], tf.ensure_shape(number, []))
        positions = tf.range(len(samples), dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((numbers, positions, tf.ensure_shape(indices, [len(samples)])))

    dataset = tf.data.Dataset.range(1).flat_map(epoch)
    dataset = dataset.map(read_sample, num_parallel_calls=workers, deterministic=True)
    dataset = dataset.batch(batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-len(samples) // batch_size)))
    return dataset.prefetch(tf.data.AUTOTUNE)
