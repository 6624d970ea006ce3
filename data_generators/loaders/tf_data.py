"""TF_DATA and TFRECORD: a tf.data pipeline that reads, decodes and batches in parallel with the training step."""

import tensorflow as tf

from data_generators.loaders.batches import read_batch


def sample_dataset(samples, sampler, read, spec, batch_size, workers):
    """`tf.data.Dataset` of batches; see `data_generators.build_dataset` for shapes and order."""
    graph = getattr(read, "graph", None)
    # Graph operations change one sample at a time, so it comes alone; else a call of Python reads a whole batch.
    size = 1 if graph else batch_size
    types = [tf.as_dtype(dtype) for _, dtype in spec]

    def read_part(draws):
        # OpenCV reads every format that users have (tf.io knows no TIFF) and lets other threads run meanwhile.
        count = min(2, len(spec)) if graph else len(spec)
        parts = tf.numpy_function(lambda v: read_batch(read, samples, v.tolist(), spec[0][1]), [draws], types[:count])
        return tuple(tf.ensure_shape(part, (None, *shape)) for part, (shape, _) in zip(parts, spec, strict=False))

    def change(draws, image, mask=None):
        parts = graph(image[0], None if mask is None else mask[0], draws[0, 0], draws[0, 1])[: len(spec)]
        if len(spec) > 2:
            border = tf.numpy_function(read.border_of, [parts[1]], tf.float32)
            parts = (*parts, tf.ensure_shape(border, spec[2][0]))
        return parts

    def epoch(_):
        # Asked anew at the start of each epoch.
        draws = tf.numpy_function(sampler.next_epoch, [], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(draws, [None, 3]))

    dataset = tf.data.Dataset.range(1).flat_map(epoch).batch(size)
    calls = {"num_parallel_calls": workers, "deterministic": True}
    if not graph:
        return untuned(dataset.map(read_part, **calls).prefetch(workers))
    dataset = dataset.map(lambda draws: (draws, *read_part(draws)), **calls)
    return untuned(dataset.map(change, **calls).batch(batch_size).prefetch(2))


def untuned(dataset):
    """A dataset whose numbers of calls and batches stay as they are.

    TensorFlow's tuning thread, which has nothing to tune here, is often waited for at the end of an epoch: 0.16 s of
    0.31 s in benchmarks/loaders.py.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
