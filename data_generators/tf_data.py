"""TF_DATA: a tf.data pipeline that reads, decodes and batches in parallel with the training step."""

import tensorflow as tf


def sample_dataset(samples, order, read, spec, batch_size, workers):
    """`tf.data.Dataset` of batches; see `data_generators.build_dataset` for shapes and order."""
    types = [tf.as_dtype(dtype) for _, dtype in spec]

    def read_sample(visit):
        # OpenCV reads every format that users have (tf.io knows no TIFF) and lets other threads run meanwhile.
        parts = tf.numpy_function(lambda v: read(samples[v[2]], v[0], v[1]), [visit], types)
        return tuple(tf.ensure_shape(part, shape) for part, (shape, _) in zip(parts, spec, strict=True))

    def epoch(_):
        # Asked anew at the start of each epoch.
        visits = tf.numpy_function(order.next_epoch, [], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(visits, [None, 3]))

    dataset = tf.data.Dataset.range(1).flat_map(epoch)
    dataset = dataset.map(read_sample, num_parallel_calls=workers, deterministic=True)
    dataset = dataset.batch(batch_size)
    return dataset.prefetch(tf.data.AUTOTUNE)
