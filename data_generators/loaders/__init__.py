"""From samples to batches: Keras sequence, tf.data, the tf.data service, NVIDIA DALI."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from data_generators.reading.readers import Sample, SampleReader
    from data_generators.sampler import EpochSampler

Batch = tuple[Any, ...]  # NumPy arrays or tensors, see `data_generators.build_dataset`


class ReplicaBatch(NamedTuple):
    """A batch of several replicas, whose parts are on their devices.

    Attributes:
        total: samples of all parts together, a scalar int32 tensor.
        parts: for each replica what a `Batch` holds. A replica for which none is left has a sample that does not count.
    """

    total: Any
    parts: tuple[Batch, ...]


class Loader(Protocol):
    """What a row of LOADERS names: a function or class that builds the batches of a dataset."""

    def __call__(
        self,
        samples: "Sequence[Sample]",
        sampler: "EpochSampler",
        reader: "SampleReader",
        batch_size: int,
        workers: int,
    ) -> Iterable[Batch]:
        """Build the batches.

        Args:
            samples: what `reader` reads.
            sampler: call `sampler.next_epoch()` at the start of each iteration, and read what it draws, in its order.
            reader: `reader(sample, epoch, position)` returns the arrays of one sample, and `reader.specs` their shapes
                and types in a batch. Apply `reader.graph_augmentation` if there is one, or raise a UserError.
            batch_size: samples of a batch, of this worker.
            workers: threads that read.

        Returns:
            An object whose iterator yields the batches of one epoch. One that prepares batches on the devices has a
            method `on_replicas(devices)` besides, which yields each as a `ReplicaBatch`.
        """
