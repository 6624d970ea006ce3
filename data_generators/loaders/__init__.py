"""From samples to batches: Keras sequence, tf.data, the tf.data service, NVIDIA DALI."""
