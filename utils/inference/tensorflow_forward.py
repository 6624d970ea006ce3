"""Run a model over batches with TensorFlow, on one device or shared between several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from utils.devices.strategy import local_replicas
from utils.inference.forward import Forward, in_unit_range

if TYPE_CHECKING:
    import numpy as np


def make_forward(model: keras.Model, strategy: tf.distribute.Strategy, jit_compile: bool = False) -> Forward:
    """Return `forward(images) -> {output name: tensor (batch, ...)}`, each image through the model once.

    Args:
        model: functional model, image -> dict of outputs.
        strategy: `tf.distribute.Strategy` under which it was built; its replicas share each batch.
        jit_compile: compile with XLA.
    """
    replicas = local_replicas(strategy)

    @tf.function(reduce_retracing=True, jit_compile=jit_compile, autograph=False)
    def run(images):
        return model(in_unit_range(images), training=False)

    @tf.function(reduce_retracing=True, autograph=False)
    def run_shared(images):
        parts = tf.split(images, replicas)
        values = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )
        outputs = strategy.run(lambda part: model(in_unit_range(part), training=False), args=(values,))
        return {name: tf.concat(strategy.experimental_local_results(value), 0) for name, value in outputs.items()}

    def forward(images: np.ndarray | tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.convert_to_tensor(images)
        if replicas == 1:
            return run(images)
        # Equal parts: the last image is repeated, and the outputs of the repetitions are dropped.
        count = len(images)
        images = tf.concat([images, tf.repeat(images[-1:], -count % replicas, axis=0)], 0)
        return {name: output[:count] for name, output in run_shared(images).items()}

    return forward
