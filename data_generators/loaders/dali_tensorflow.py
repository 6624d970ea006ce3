"""DALI_GENERATOR through DALI's TensorFlow plugin: batches stay on the GPU, and each replica has a pipeline.

A tf.data dataset on the CPU draws samples, in the order of the sampler, and makes their records; DALI's dataset takes
them, and prepares the next batches while the device computes. Only the weights of the loss term `boundary_weighted_ce`
need masks on the CPU.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from data_generators.files.pairing import Pair
from data_generators.loaders import Batch, ReplicaBatch
from data_generators.loaders.batches import part_of, split_draws
from data_generators.loaders.dali import sees_gpu, unreadable
from data_generators.loaders.dali_pipeline import RECORD, define_pipeline, on_best_device
from data_generators.loaders.dali_records import RecordReader
from data_generators.loaders.tf_data import untuned
from data_generators.sampler import EpochSampler
from utils.base.errors import UserError

AHEAD = 2  # batches


class PluginBatches:
    """Batches as tensors on the first GPU, if DALI can use it, or parts of them on the devices of the replicas.

    Args:
        samples, sampler, batch_size, workers: see `data_generators.loaders.Loader`.
        records: makes what DALI is given.
    """

    def __init__(
        self, samples: Sequence[Pair], sampler: EpochSampler, records: RecordReader, batch_size: int, workers: int
    ) -> None:
        self.samples, self.sampler, self.records = samples, sampler, records
        self.batch_size, self.workers = batch_size, workers
        self.lanes: dict[tuple[str, ...], list[Lane]] = {}

    def __len__(self) -> int:
        return self.sampler.steps

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.on_replicas(["/gpu:0" if sees_gpu() else "/cpu:0"]):
            yield batch.parts[0]

    def on_replicas(self, devices: Sequence[str]) -> Iterator[ReplicaBatch]:
        """The batches of one epoch; each of the devices, named as TensorFlow does, prepares its part of them."""
        lanes = self.lanes_on(tuple(devices))
        batches = list(split_draws(self.sampler.next_epoch(), self.batch_size))
        for number, lane in enumerate(lanes):
            parts = [part_of(draws, number, len(lanes)) for draws in batches]
            with self.naming(batches[0]):
                lane.start(parts)
        for draws in batches:
            with self.naming(draws):
                yield ReplicaBatch(tf.constant(len(draws)), tuple(lane.take() for lane in lanes))

    def lanes_on(self, devices: tuple[str, ...]) -> "list[Lane]":
        if devices not in self.lanes:
            size = self.batch_size // len(devices)
            self.lanes[devices] = [Lane(self.samples, self.records, size, self.workers, name) for name in devices]
        return self.lanes[devices]

    @contextlib.contextmanager
    def naming(self, draws: np.ndarray) -> Iterator[None]:
        """Name the images of a batch that DALI cannot read."""
        try:
            yield
        except tf.errors.OpError as error:
            if "UserError: " in str(error):
                raise  # of a record, which names its file
            raise UserError(unreadable(self.samples, draws, error)) from None


class Lane:
    """The pipeline of one device, and the dataset that feeds it.

    Args:
        samples, workers: see `data_generators.loaders.Loader`.
        records: makes what DALI is given.
        batch_size: samples of this device.
        device: its name. If DALI cannot use it, the CPU.
    """

    def __init__(
        self, samples: Sequence[Pair], records: RecordReader, batch_size: int, workers: int, device: str
    ) -> None:
        self.samples, self.records, self.batch_size, self.workers = samples, records, batch_size, workers
        self.draws, self.sizes = np.empty((0, 3), np.int64), deque[int]()
        named = tf.DeviceSpec.from_string(device)
        self.device = device
        self.dataset = on_best_device(self.build, named.device_index if named.device_type == "GPU" else None)
        self.iterator: Iterator[Batch] = iter(())

    def build(self, gpu: int | None) -> tf.data.Dataset:
        """The dataset of DALI, on a GPU or on the CPU."""
        from nvidia.dali.plugin.tf.experimental import DALIDatasetWithInputs

        if gpu is None:
            self.device = "/cpu:0"
        specs = self.records.reader.moved_specs
        # Images are floating point once they are augmented.
        floating = self.records.augmentation is not None or specs[0].dtype == "float32"
        dtypes = tf.float32 if floating else tf.uint8, *(tf.as_dtype(spec.dtype) for spec in specs[1:])
        with tf.device("/cpu:0"):
            inputs = self.record_dataset()
        if gpu is not None:
            inputs = inputs.apply(tf.data.experimental.copy_to_device(self.device))  # DALI takes them there alone
        with tf.device(self.device):
            return DALIDatasetWithInputs(
                input_datasets={RECORD: inputs},
                pipeline=define_pipeline(self.records, self.batch_size, self.workers, gpu),
                batch_size=self.batch_size,
                num_threads=self.workers,
                device_id=gpu,
                output_shapes=tuple((self.batch_size, *spec.shape) for spec in specs),
                output_dtypes=dtypes,
            )

    def record_dataset(self) -> tf.data.Dataset:
        """The records of the draws that `start` was given, asked for at the start of each iteration."""

        def draws(_) -> tf.data.Dataset:
            rows = tf.numpy_function(lambda: self.draws, [], tf.int64)
            return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, [None, 3]))

        def record(draw: np.ndarray) -> np.ndarray:
            epoch, position, index = draw.tolist()
            return self.records(self.samples[index], epoch, position)

        def read(draw: tf.Tensor) -> tf.Tensor:
            return tf.ensure_shape(tf.numpy_function(record, [draw], tf.uint8), [None])

        dataset = tf.data.Dataset.range(1).flat_map(draws)
        dataset = dataset.map(read, num_parallel_calls=self.workers, deterministic=True)
        return untuned(dataset.prefetch(AHEAD * self.batch_size))

    def start(self, parts: Sequence[np.ndarray]) -> None:
        """Begin an epoch with the draws of each batch, int64 `(1 to batch_size, 3)`.

        DALI leaves out a last batch that is not full: its last sample is repeated, and `take` cuts that off.
        """
        padded = [part[np.minimum(np.arange(self.batch_size), len(part) - 1)] for part in parts]
        self.sizes = deque(map(len, parts))
        self.draws = np.concatenate(padded)
        with tf.device(self.device):
            self.iterator = iter(self.dataset)

    def take(self) -> Batch:
        """The next batch: image, mask and boundary weights, as many of them as the reader has."""
        size, reader = self.sizes.popleft(), self.records.reader
        with tf.device(self.device):
            batch = tuple(array[:size] if size < self.batch_size else array for array in next(self.iterator))
        if reader.boundary is None or not reader.with_mask:
            return batch
        finished = map(np.stack, zip(*map(reader.finish, batch[1].numpy()), strict=True))
        return batch[0], *map(tf.constant, finished)
