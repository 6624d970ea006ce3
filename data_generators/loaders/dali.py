"""DALI_GENERATOR: NVIDIA DALI decodes and augments, on GPUs, or in threads of its own on the CPU.

Needs Linux on x86-64 and `pip install -r requirements-dali.txt`, which says how to get DALI's TensorFlow plugin. With
the plugin, batches stay on the GPU (`data_generators.loaders.dali_tensorflow`). Without it, and with BACKEND=jax,
they go through the memory of the host, as here.
"""

import importlib.util
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from data_generators.files.pairing import Pair
from data_generators.loaders import Batch
from data_generators.loaders.batches import split_draws
from data_generators.loaders.dali_augmentation import library, missing_features
from data_generators.loaders.dali_pipeline import RECORD, define_pipeline, on_best_device, reason_of
from data_generators.loaders.dali_records import RecordReader
from data_generators.reading.readers import PairReader, SampleReader
from data_generators.sampler import EpochSampler
from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.base.startup import quiet_stderr

if TYPE_CHECKING:
    from nvidia.dali.pipeline import Pipeline

LACKS = "DATA_GENERATOR_TYPE=DALI_GENERATOR has no"
OTHERS = "TF_GENERATOR and TF_DATA do that."


def dali_batches(
    samples: Sequence[Pair], sampler: EpochSampler, reader: SampleReader, batch_size: int, workers: int
) -> Iterable[Batch]:
    """Batches of samples, see `data_generators.loaders.Loader`.

    Raises:
        UserError: DALI is not installed, or a setting asks for what it lacks.
    """
    library()
    records = RecordReader(check_supported(reader))
    batches = load_object("data_generators.loaders.dali_tensorflow:PluginBatches") if has_plugin() else HostBatches
    return batches(samples, sampler, records, batch_size, workers)


def has_plugin() -> bool:
    """Whether Keras computes with TensorFlow, and DALI's plugin for it is installed and works."""
    if keras.backend.backend() != "tensorflow" or importlib.util.find_spec("nvidia.dali_tf_plugin") is None:
        return False
    try:
        with quiet_stderr():
            importlib.import_module("nvidia.dali.plugin.tf")
    except Exception as error:  # it has types of its own
        print(
            f"Note: DALI's TensorFlow plugin cannot be loaded ({str(error).strip().splitlines()[0]}); batches go "
            "through the memory of the host. requirements-dali.txt says how to build it for this TensorFlow.",
            file=sys.stderr,
        )
        return False
    return True


class HostBatches:
    """Batches as NumPy arrays. DALI works on the first GPU, if the backend sees one that it can use.

    Args:
        samples, sampler, batch_size, workers: see `data_generators.loaders.Loader`.
        records: makes what DALI is given.
    """

    def __init__(
        self, samples: Sequence[Pair], sampler: EpochSampler, records: RecordReader, batch_size: int, workers: int
    ) -> None:
        self.samples, self.sampler, self.records = samples, sampler, records
        self.batch_size, self.workers = batch_size, workers
        self.pipeline = on_best_device(self.build, 0 if sees_gpu() else None)

    def __len__(self) -> int:
        return self.sampler.steps

    def build(self, gpu: int | None) -> "Pipeline":
        options: dict[str, Any] = {"prefetch_queue_depth": 1, "exec_async": False, "exec_pipelined": False}
        pipeline = define_pipeline(self.records, self.batch_size, self.workers, gpu, to_cpu=True, **options)
        pipeline.build()
        return pipeline

    def __iter__(self) -> Iterator[Batch]:
        batches = split_draws(self.sampler.next_epoch(), self.batch_size)
        # One thread waits for the pipeline, which has threads of its own; the others make records.
        with ThreadPoolExecutor(1) as thread, ThreadPoolExecutor(self.workers) as readers:
            queue = deque(thread.submit(self.read, draws, readers) for draws in islice(batches, 2))
            try:
                while queue:
                    yield queue.popleft().result()
                    queue.extend(thread.submit(self.read, draws, readers) for draws in islice(batches, 1))
            finally:
                thread.shutdown(cancel_futures=True)

    def read(self, draws: np.ndarray, readers: ThreadPoolExecutor) -> Batch:
        """Read and augment a batch."""

        def record(draw: list[int]) -> np.ndarray:
            epoch, position, index = draw
            return self.records(self.samples[index], epoch, position)

        self.pipeline.feed_input(RECORD, list(readers.map(record, draws.tolist())))
        try:
            outputs = tuple(np.array(output.as_cpu().as_array()) for output in self.pipeline.run())
        except RuntimeError as error:
            raise UserError(unreadable(self.samples, draws, error)) from None
        reader = self.records.reader
        if reader.boundary is None or not reader.with_mask:
            return outputs
        return outputs[0], *map(np.stack, zip(*map(reader.finish, outputs[1]), strict=True))


def sees_gpu() -> bool:
    """Whether Keras's backend sees a GPU."""
    if keras.backend.backend() == "jax":
        import jax

        return any(device.platform == "gpu" for device in jax.local_devices())
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def unreadable(samples: Sequence[Pair], draws: np.ndarray, error: Exception) -> str:
    """The line about a batch that DALI cannot read."""
    names = ", ".join(str(samples[index].image) for index in draws[:, 2])
    return f"DALI cannot read one of {names}: {reason_of(error)} Try another DATA_GENERATOR_TYPE."


def check_supported(reader: SampleReader) -> PairReader:
    """Return the reader if DALI can stand in for it.

    Raises:
        UserError: names what DALI lacks.
    """
    settings = reader.settings
    if not isinstance(reader, PairReader):
        raise UserError(f"{LACKS} class labels (MODEL.TYPE=classifier); {OTHERS}")
    if settings.channels not in (1, 3):
        raise UserError(f"{LACKS} INPUT.CHANNELS={settings.channels}, only 1 and 3; {OTHERS}")
    if settings.cache is not None:
        raise UserError(f"{LACKS} DATASET.CACHE: it decodes by itself; {OTHERS}")
    if reader.augmentation is None:
        return reader
    if reader.augmentation.settings.policy is not None:
        raise UserError(f"{LACKS} AUGMENTATION.ALBUMENTATIONS; {OTHERS}")
    missing = missing_features(reader.augmentation.settings)
    if missing:
        raise UserError(f"{LACKS} {', '.join(missing)}; {OTHERS}")
    return reader
