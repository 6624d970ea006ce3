"""Share a batch between replicas, and bring their gradients together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from data_generators.loaders import ReplicaBatch
from utils.devices.strategy import local_replicas

if TYPE_CHECKING:
    Batch = Sequence[tf.Tensor]


def split_batch(batch: "Batch | ReplicaBatch", strategy: tf.distribute.Strategy) -> tuple[Any, ...]:
    """Divide a batch between the replicas of this worker, if its loader has not done so.

    Returns:
        For `strategy.run`: (weight of the part, image, mask, ...). The weight is the part's share of the batch, so that
        the weighted sum of the replicas' means is the mean over the batch, whatever its size. If nothing is left for a
        replica, it takes an image with weight 0.
    """
    replicas = local_replicas(strategy)
    if replicas == 1:
        return (tf.constant(1.0), *batch)
    divided = batch if isinstance(batch, ReplicaBatch) else None
    total = tf.shape(batch[0])[0] if divided is None else divided.total
    distribute = strategy.experimental_distribute_values_from_function

    def bounds(context):
        replica = context.replica_id_in_sync_group % replicas
        return total * replica // replicas, total * (replica + 1) // replicas

    def weight(context):
        first, end = bounds(context)
        return tf.cast(end - first, tf.float32) / tf.cast(total, tf.float32)

    def slice_of(tensor):
        def slice_for(context):
            first, end = bounds(context)
            first = tf.minimum(first, total - 1)
            return tensor[first : tf.maximum(end, first + 1)]

        return slice_for

    if divided is not None:
        by_array = zip(*divided.parts, strict=True)  # for each array the parts of all replicas
        parts = [lambda context, of=of: of[context.replica_id_in_sync_group % replicas] for of in by_array]
        return (distribute(weight), *map(distribute, parts))
    return (distribute(weight), *(distribute(slice_of(tensor)) for tensor in batch))


def value_of_first(strategy: tf.distribute.Strategy, value: Any) -> tf.Tensor:
    """The first replica's value."""
    return strategy.experimental_local_results(value)[0]


class ReplicaSum:
    """Sum gradients over all replicas, before the optimizer sees them.

    Left to itself, the optimizer sums them after clipping, and looks for float16 overflow on the first replica alone.

    The moving averages of batch normalisation become the mean over the replicas at the same time, each weighted by its
    part of the batch. So all replicas validate with the averages that are saved, and resume with them.

    Args:
        network: functional model.
        strategy: of several replicas.
    """

    def __init__(self, network: keras.Model, strategy: tf.distribute.Strategy) -> None:
        self.averages = moving_averages(network)
        self.local, self.all = local_replicas(strategy), strategy.num_replicas_in_sync

    def __call__(self, gradients: "Sequence[tf.Tensor]", weight: tf.Tensor) -> "Sequence[tf.Tensor]":
        """Return the sums; `weight` is that of `split_batch`. To be called in a replica."""
        shares = [average * (weight * self.local / self.all) for average in self.averages]
        context = tf.distribute.get_replica_context()
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, [*gradients, *shares])
        for average, mean in zip(self.averages, summed[len(gradients) :], strict=True):
            average.assign(mean)
        return summed[: len(gradients)]


def moving_averages(model: keras.Model) -> list[keras.Variable]:
    """Mean and variance of every batch normalisation that is trained."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += moving_averages(layer)
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            found += [layer.moving_mean, layer.moving_variance]
    return found
