"""Batch normalisation, fused where TensorFlow has a kernel for it."""

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("unet_family")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation over the last axis of `(batch, height, width, channels)`, with TensorFlow's fused kernel.

    Keras 3 composes it of several operations, each a pass over the map. Values, gradients, statistics and moving
    averages are those of `keras.layers.BatchNormalization`, which other backends use.
    """

    def call(self, inputs: KerasTensor, training: bool | None = None, mask: KerasTensor | None = None) -> KerasTensor:
        if keras.backend.backend() != "tensorflow" or self.synchronized:
            return super().call(inputs, training=training, mask=mask)
        from tensorflow.compat.v1.nn import fused_batch_norm  # other backends run without TensorFlow

        training = bool(training) and self.trainable  # frozen: inference mode, as in Keras
        statistics = {} if training else {"mean": self.moving_mean, "variance": self.moving_variance}
        outputs, mean, variance = fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=training, **statistics
        )
        if training:
            # The kernel gives the unbiased variance for the moving average, Keras keeps the biased one.
            count = ops.cast(ops.size(inputs) // inputs.shape[-1], variance.dtype)
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count)):
                average.assign(average * self.momentum + value * (1 - self.momentum))
        return outputs
