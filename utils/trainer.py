"""The training step: one mask target for every output of a network."""

import keras
from keras import ops


class Trainer(keras.Model):
    """Train a network of `models.build_model` with a loss and metrics on its dict of outputs.

    Args:
        network: functional model, image -> dict of outputs.
        loss: `loss(y_true, outputs, border) -> scalar`; border is the third part of a batch, or None.
        metrics: {output name: list of metrics}; each is given `(y_true, outputs[name])`.

    `compile` it with an optimizer only. Weights are saved from `network`, which knows nothing of training.
    """

    def __init__(self, network, loss, metrics):
        super().__init__(name="trainer")
        self.network = network
        self.output_loss = loss
        self.output_metrics = metrics

    def compile(self, optimizer="sgd", **options):
        super().compile(optimizer=optimizer, **options)
        # Made before the first step is traced: a trace that creates variables is thrown away and done again.
        self.optimizer.build(self.trainable_variables)

    def call(self, images, training=None):
        return self.network(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # Keras divides by the number of replicas what its own losses return; so do we, and it undoes it for the log.
        losses = [self.output_loss(y, y_pred, sample_weight)] + [ops.cast(loss, "float32") for loss in self.losses]
        return sum(self._scale_for_replicas(loss) for loss in losses)

    @staticmethod
    def _scale_for_replicas(loss):
        if keras.backend.backend() != "tensorflow":
            return loss
        import tensorflow as tf

        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        for name, metrics in self.output_metrics.items():
            for metric in metrics:
                metric.update_state(y, y_pred[name])
        return self.get_metrics_result()
