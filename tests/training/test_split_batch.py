"""A batch is divided between replicas in the same way by the step and by a loader that prepares their parts."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from data_generators.loaders import ReplicaBatch
from data_generators.loaders.batches import part_of
from utils.training.tensorflow_replicas import split_batch


def strategy_of(replicas):
    """As much of a strategy as `split_batch` uses; what it distributes is a list."""
    contexts = [SimpleNamespace(replica_id_in_sync_group=number) for number in range(replicas)]
    return SimpleNamespace(
        num_replicas_in_sync=replicas,
        extended=SimpleNamespace(worker_devices=[f"/cpu:{number}" for number in range(replicas)]),
        experimental_distribute_values_from_function=lambda function: [function(context) for context in contexts],
    )


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("total", range(1, 8))
def test_both_ways_divide_alike(total, replicas):
    arrays = np.arange(total), 10 * np.arange(total)
    strategy = strategy_of(replicas)
    whole = split_batch(tuple(map(tf.constant, arrays)), strategy)
    parts = tuple(tuple(part_of(array, number, replicas) for array in arrays) for number in range(replicas))
    divided = split_batch(ReplicaBatch(tf.constant(total), parts), strategy)
    assert len(whole) == len(divided) == 3 and sum(map(float, divided[0])) == pytest.approx(1)
    for one, other in zip(whole, divided, strict=True):
        assert [np.asarray(part).tolist() for part in one] == [np.asarray(part).tolist() for part in other]
