"""TF_DATA and TFRECORD: a tf.data pipeline that reads, decodes and batches in parallel with the training step."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_generators.loaders.batches import read_batch
from data_generators.reading.readers import ArraySpec, PairReader, Sample, SampleReader
from data_generators.sampler import EpochSampler


def sample_dataset(
    samples: Sequence[Sample], sampler: EpochSampler, reader: SampleReader, batch_size: int, workers: int
) -> tf.data.Dataset:
    """Batches of samples, see `data_generators.loaders.Loader`."""
    augmented = reader.graph_augmentation is not None
    calls = {"num_parallel_calls": workers, "deterministic": True}
    # Graph operations change one sample at a time; without them one call of Python reads a whole batch.
    draws = draws_dataset(sampler).batch(1 if augmented else batch_size)
    if not augmented:
        dataset = draws.map(lambda rows: read_in_python(reader, samples, rows, reader.specs), **calls)
        return untuned(dataset.prefetch(workers))
    # Image and mask; boundary weights are those of the augmented mask.
    dataset = draws.map(lambda rows: (rows, *read_in_python(reader, samples, rows, reader.moved_specs)), **calls)
    dataset = dataset.map(lambda rows, *arrays: augment_in_graph(reader, rows, *arrays), **calls)
    return untuned(dataset.batch(batch_size).prefetch(2))


def draws_dataset(sampler: EpochSampler) -> tf.data.Dataset:
    """The draws of the epoch that comes next, asked for at the start of each iteration."""

    def epoch(_):
        draws = tf.numpy_function(sampler.next_epoch, [], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(draws, [None, 3]))

    return tf.data.Dataset.range(1).flat_map(epoch)


def read_in_python(
    reader: SampleReader, samples: Sequence[Sample], draws: tf.Tensor, specs: Sequence[ArraySpec]
) -> tuple[tf.Tensor, ...]:
    """The parts of a batch that `specs` describe."""

    def read(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return read_batch(reader, samples, rows)

    # OpenCV reads every format that users have (tf.io knows no TIFF) and lets other threads run meanwhile.
    arrays = tf.numpy_function(read, [draws], [tf.as_dtype(spec.dtype) for spec in specs])
    return tuple(tf.ensure_shape(array, (None, *spec.shape)) for array, spec in zip(arrays, specs, strict=True))


def augment_in_graph(
    reader: SampleReader, draws: tf.Tensor, images: tf.Tensor, masks: tf.Tensor | None = None
) -> tuple[tf.Tensor, ...]:
    """All parts of one sample, from a batch that holds only that one."""
    augment = reader.graph_augmentation
    assert augment is not None and isinstance(reader, PairReader)
    epoch, position = draws[0, 0], draws[0, 1]
    parts = augment(images[0], None if masks is None else masks[0], epoch, position)[: len(reader.specs)]
    if reader.boundary is None or masks is None:
        return parts
    specs = reader.specs[1:]
    finished = tf.numpy_function(reader.finish, [parts[1]], [tf.as_dtype(spec.dtype) for spec in specs])
    return parts[0], *(tf.ensure_shape(array, spec.shape) for array, spec in zip(finished, specs, strict=True))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset without autotuning, which has nothing to tune here: workers and prefetching are set.

    The end of an epoch often waits for its thread: 0.16 s of 0.31 s in benchmarks/loaders.py.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def leave_accelerators_alone() -> None:
    """Keep TensorFlow off GPUs that JAX computes on: it would take their memory."""
    tf.config.set_visible_devices([], "GPU")
