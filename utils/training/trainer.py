"""The training loop: one path for one device, several replicas and several workers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from omegaconf import DictConfig

from data_generators.dataset import Dataset
from losses import supervision
from utils.base.errors import UserError
from utils.devices.strategy import local_replicas
from utils.inference.forward import in_unit_range
from utils.training.data_wait import DataWait
from utils.training.optimizers import make_optimizer
from utils.training.train_step import TrainStep, make_train_step

History = dict[str, list[float]]


class Trainer(keras.Model):
    """Train a network of `models.build_model` with a loss and metrics on its dict of outputs.

    Make it inside the scope of the strategy, and compile it with an optimizer only. It replaces Keras's `fit`, which
    cannot start in the middle of an epoch, compile a step with XLA under a strategy, or train with several workers.
    Optimizers, metrics, loss scaling and callbacks are those of Keras. Save the weights of `network`, which knows
    nothing of training.

    Args:
        network: functional model, image -> dict of outputs.
        loss: `loss(y_true, outputs, boundary_weights) -> scalar`; the last is the third part of a batch, or None.
        metrics: {output name: metrics}; each is given `(y_true, outputs[name])`.

    Attributes:
        steps_taken: batches of the whole run so far.
        data_wait: how long the last epoch waited for its data.
    """

    def __init__(
        self, network: keras.Model, loss: Callable, metrics: Mapping[str, Sequence[keras.metrics.Metric]]
    ) -> None:
        super().__init__(name="trainer")
        self.network = network
        self.output_loss = loss
        self.output_metrics = metrics
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.gradient_norm = keras.metrics.Mean(name="gradient_norm", dtype="float32")
        self.take_step: TrainStep | None = None
        self.steps_taken = 0
        self.data_wait = DataWait()

    def compile(self, optimizer: keras.optimizers.Optimizer | str = "sgd", **options: Any) -> None:
        """Set the optimizer; options are those of `keras.Model.compile`."""
        super().compile(optimizer=optimizer, **options)
        # Made before the first step is traced: a trace that creates variables is thrown away and done again.
        self.optimizer.build(self.trainable_variables)

    def call(self, images: tf.Tensor, training: bool | None = None) -> dict[str, tf.Tensor]:
        return self.network(in_unit_range(images), training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All metrics of training; Keras resets them before each epoch."""
        of_outputs = (metric for metrics in self.output_metrics.values() for metric in metrics)
        return [self.mean_loss, *of_outputs, self.gradient_norm]

    def fit(
        self,
        data: Dataset,
        validate: Callable[[], Mapping[str, float]],
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback],
        start: tuple[int, int] = (0, 0),
    ) -> History:
        """Train.

        Args:
            data: yields batches `(image, mask)` or `(image, mask, boundary_weights)`.
            validate: returns {name: value} over the validation data; called after every epoch.
            epochs: the number of the last epoch.
            callbacks: of Keras.
            start: (epoch, step) to start with; beyond (0, 0) once `utils.training.resume` has restored the variables.

        Returns:
            {log name: list of values, one for each epoch trained here}

        Raises:
            UserError: the loss is not a number; names the images of that batch.
        """
        callback_list = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=self, epochs=epochs, steps=data.steps, verbose=0
        )
        self.stop_training = False
        callback_list.on_train_begin()
        logs: dict[str, float] = {}
        first_epoch, first_step = start
        self.steps_taken = first_epoch * data.steps + first_step
        for epoch in range(first_epoch, epochs):
            if first_step == 0:
                self.reset_metrics()
            callback_list.on_epoch_begin(epoch)
            self.train_epoch(data, epoch, first_step, callback_list)
            first_step = 0
            logs = as_floats(self.get_metrics_result())
            logs |= {f"val_{name}": value for name, value in validate().items()}
            callback_list.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        self.optimizer.finalize_variable_values(self.trainable_weights)
        callback_list.on_train_end(logs)
        return self.history.history

    def train_epoch(self, data: Dataset, epoch: int, first_step: int, callbacks: keras.callbacks.CallbackList) -> None:
        """Take the steps of an epoch from `first_step` on."""
        data.sampler.set_epoch(epoch, first_step)
        for step, batch in enumerate(self.data_wait(data), first_step):
            callbacks.on_train_batch_begin(step)
            logs = as_floats(self.train_on(batch))
            if not np.isfinite(logs["loss"]):
                raise UserError(explain_loss(data, epoch, step))
            callbacks.on_train_batch_end(step, logs)
            if self.stop_training:
                break

    def train_on(self, batch: Sequence[Any]) -> dict[str, tf.Tensor]:
        """Take one step on a batch; return the running metrics."""
        if self.take_step is None:
            self.take_step = make_train_step(self)
        self.steps_taken += 1
        return self.take_step(batch)

    def loss_and_gradients(
        self, weight: tf.Tensor, images: tf.Tensor, targets: tf.Tensor, boundary_weights: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor], list[tf.Tensor]]:
        """Forward and backward pass of one replica: loss, outputs, gradients as the optimizer takes them.

        Args:
            weight: the replica's part of the batch, see `utils.training.replicas.split_batch`.
        """
        strategy = self.distribute_strategy
        workers = strategy.num_replicas_in_sync // local_replicas(strategy)
        with tf.GradientTape() as tape:
            outputs = self(images, training=True)
            loss = self.output_loss(targets, outputs, boundary_weights)
            regularisation = sum(ops.cast(value, "float32") for value in self.losses)
            # Replicas add up their gradients, each of the mean over its own part of the batch.
            part = loss * (weight / workers) + regularisation / strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(part)
        return loss + regularisation, outputs, tape.gradient(scaled, self.trainable_weights)

    def update_gradient_norm(self, gradients: Sequence[tf.Tensor]) -> None:
        """Add the global norm of gradients as the optimizer takes them; a step whose float16 overflowed does not count.

        The loss scale, if there is one, must still be that of the gradients.
        """
        optimizer = self.optimizer
        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        scale = ops.convert_to_tensor(optimizer.dynamic_scale) if scales else 1.0
        norm = tf.linalg.global_norm(gradients) / scale
        finite = tf.math.is_finite(norm)
        self.gradient_norm.update_state(tf.where(finite, norm, 0.0), sample_weight=tf.cast(finite, tf.float32))

    def update_metrics(self, loss: tf.Tensor, targets: tf.Tensor, outputs: Mapping[str, tf.Tensor]) -> None:
        """Add what a replica found in its part of a batch."""
        self.mean_loss.update_state(loss, sample_weight=tf.shape(targets)[0])
        for name, metrics in self.output_metrics.items():
            for metric in metrics:
                metric.update_state(targets, outputs[name])


def as_floats(values: Mapping[str, Any]) -> dict[str, float]:
    """The same with Python numbers in place of tensors."""
    return {name: float(value) for name, value in values.items()}


def explain_loss(data: Dataset, epoch: int, step: int) -> str:
    """Say at which images the loss was no number, and what to do."""
    names = ", ".join(str(sample.image) for sample in data.samples_of(epoch, step))
    return (
        f"The loss is not a number after the batch of {names}. What was saved before is kept. Fix these images and "
        "run the same command to continue, or start over with RESUME=never to change settings: a lower "
        "HYPER_PARAMETERS.LEARNING_RATE, or OPTIMIZER.CLIP_NORM=1.0."
    )


def build_trainer(cfg: DictConfig, network: keras.Model) -> Trainer:
    """A compiled trainer with the loss, the metrics and the optimizer of the config.

    Call it inside the scope of the strategy.

    Args:
        network: of `models.build_model`.
    """
    metrics = supervision.build_output_metrics(cfg, network.output)
    trainer = Trainer(network, supervision.build_training_loss(cfg), metrics)
    trainer.compile(make_optimizer(cfg), jit_compile=cfg.OPTIMIZATION.XLA)
    return trainer
