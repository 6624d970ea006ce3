"""Run a network over batches, on one device or shared between several."""

from keras import ops

from utils.devices.strategy import local_replicas


def in_unit_range(images):
    """Images as networks take them: those that came as uint8 are divided by 255, on the device."""
    return ops.cast(images, "float32") / 255 if images.dtype == "uint8" else images


def make_forward(network, strategy, jit_compile=False):
    """Return `forward(images) -> {output name: tensor (batch, ...)}`, each image through the network once.

    Args:
        network: functional model, image -> dict of outputs.
        strategy: `tf.distribute.Strategy` under which it was built; its replicas share each batch.
        jit_compile: compile with XLA.
    """
    import tensorflow as tf

    replicas = local_replicas(strategy)

    @tf.function(reduce_retracing=True, jit_compile=jit_compile)
    def run(images):
        return network(in_unit_range(images), training=False)

    @tf.function(reduce_retracing=True)
    def share(images):
        parts = tf.split(images, replicas)
        values = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )
        outputs = strategy.run(lambda part: network(in_unit_range(part), training=False), args=(values,))
        return {name: tf.concat(strategy.experimental_local_results(value), 0) for name, value in outputs.items()}

    def forward(images):
        images = tf.convert_to_tensor(images)
        if replicas == 1:
            return run(images)
        # Equal parts: the last image is repeated, and what comes of the repetitions is cut off.
        count = len(images)
        images = tf.concat([images, tf.repeat(images[-1:], -count % replicas, axis=0)], 0)
        return {name: output[:count] for name, output in share(images).items()}

    return forward
