"""Batch normalisation, fused where TensorFlow has a kernel for it."""

import math

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("unet_family")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation over the last axis of `(batch, height, width, channels)`, with TensorFlow's fused kernel.

    Keras 3 composes it of several operations, each a pass over the map. Values, gradients, statistics and moving
    averages are those of `keras.layers.BatchNormalization`, which other backends, and layers without a gamma, use.
    """

    def call(self, inputs: KerasTensor, training: bool | None = None, mask: KerasTensor | None = None) -> KerasTensor:
        if keras.backend.backend() != "tensorflow" or self.synchronized or not self.scale:
            return super().call(inputs, training=training, mask=mask)
        from tensorflow.compat.v1.nn import fused_batch_norm  # other backends run without TensorFlow

        training = bool(training) and self.trainable  # frozen: inference mode, as in Keras
        statistics = {} if training else {"mean": self.moving_mean, "variance": self.moving_variance}
        outputs, mean, variance = fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=training, **statistics
        )
        if training:
            # The kernel gives the unbiased variance for the moving average, Keras keeps the biased one.
            new = (1 - self.momentum, (1 - self.momentum) * biased(inputs, variance.dtype))
            for average, value, share in zip(
                (self.moving_mean, self.moving_variance), (mean, variance), new, strict=True
            ):
                average.assign(average * self.momentum + value * share)
        return outputs


def biased(inputs: KerasTensor, dtype: str) -> KerasTensor | float:
    """`(n - 1) / n` for the n values of a channel: what turns an unbiased variance into a biased one.

    A number where the shape is known: a network has dozens of these layers, and each operation is traced.
    """
    if None not in tuple(inputs.shape):
        count = math.prod(inputs.shape[:-1])
        return (count - 1) / count
    values = ops.cast(ops.size(inputs) // inputs.shape[-1], dtype)
    return (values - 1) / values
