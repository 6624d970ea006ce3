"""The training loop: one path for one device, several replicas and several workers."""

from functools import partial

import keras
import numpy as np
from keras import ops

from utils.base.errors import UserError
from utils.devices.strategy import local_replicas
from utils.inference.forward import in_unit_range
from utils.training.data_wait import Waiting


class Trainer(keras.Model):
    """Train a network of `models.build_model` with a loss and metrics on its dict of outputs.

    Make it inside the scope of the strategy. The public `fit` of Keras is replaced: its own cannot start in the middle
    of an epoch, compile the step with XLA under a strategy, nor train with several workers. Optimizers, metrics, loss
    scaling and callbacks are those of Keras.

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
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.step_function = None
        self.taken = 0  # batches, of the whole run
        self.waiting = Waiting()

    def compile(self, optimizer="sgd", **options):
        super().compile(optimizer=optimizer, **options)
        # Made before the first step is traced: a trace that creates variables is thrown away and done again.
        self.optimizer.build(self.trainable_variables)

    def call(self, images, training=None):
        return self.network(in_unit_range(images), training=training)

    @property
    def metrics(self):
        """The metrics of training, all of them; Keras resets them before each epoch."""
        return [self.mean_loss, *(metric for found in self.output_metrics.values() for metric in found)]

    def fit(self, data, validate, epochs, callbacks, start=(0, 0)):
        """Train.

        Args:
            data: `Dataset` of batches `(image, mask)` or `(image, mask, border)`.
            validate: function () -> {name: float}, called after every epoch.
            epochs: int, the number of the last epoch.
            callbacks: list of Keras callbacks.
            start: (epoch, step) to begin with; beyond (0, 0) after `utils.training.resume` restored all variables.

        Returns:
            {log name: list of values, one for each epoch trained here}

        Raises:
            UserError: the loss is not a number; the images of that batch are named.
        """
        callbacks = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=self, epochs=epochs, steps=data.steps, verbose=0
        )
        self.stop_training = False
        callbacks.on_train_begin()
        logs = {}
        first_epoch, first_step = start
        self.taken = first_epoch * data.steps + first_step
        for epoch in range(first_epoch, epochs):
            if first_step == 0:
                self.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            data.sampler.set_epoch(epoch, first_step)
            for step, batch in enumerate(self.waiting(data), first_step):
                callbacks.on_train_batch_begin(step)
                logs = {name: float(value) for name, value in self.train_on(batch).items()}
                if not np.isfinite(logs["loss"]):
                    raise UserError(self.explain_loss(data, epoch, step))
                callbacks.on_train_batch_end(step, logs)
                if self.stop_training:
                    break
            first_step = 0
            logs = {name: float(value) for name, value in self.get_metrics_result().items()}
            logs |= {f"val_{name}": value for name, value in validate().items()}
            callbacks.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        self.optimizer.finalize_variable_values(self.trainable_weights)
        callbacks.on_train_end(logs)
        return self.history.history

    @staticmethod
    def explain_loss(data, epoch, step):
        names = ", ".join(str(sample.image) for sample in data.samples_of(epoch, step))
        return (
            f"The loss is not a number after the batch of {names}. What was saved before is kept. Look at these "
            "images: once they are mended the same command goes on. Or start anew, which other settings need: "
            "RESUME=never with a lower HYPER_PARAMETERS.LEARNING_RATE or with OPTIMIZER.CLIP_NORM=1.0."
        )

    def train_on(self, batch):
        """Take one step on a batch; return the running metrics."""
        if self.step_function is None:
            self.step_function = self.make_step_function()
        self.taken += 1
        return self.step_function(batch)

    def make_step_function(self):
        import tensorflow as tf

        strategy = self.distribute_strategy
        replicas = local_replicas(strategy)
        compute = (
            tf.function(self.loss_and_gradients, jit_compile=True) if self.jit_compile else self.loss_and_gradients
        )

        several = strategy.num_replicas_in_sync > 1
        averages = moving_averages(self.network) if several else []
        own = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # of the one that scales the loss
        accumulated = own.gradient_accumulation_steps if several else None
        if several:
            own._all_reduce_sum_gradients = lambda gradients_and_variables: gradients_and_variables
            own.gradient_accumulation_steps = None  # Keras decides it in the graph, where replicas cannot meet

        def apply(gradients, updates):
            if not accumulated:
                self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            elif updates:
                gradients = [
                    (new + old) / accumulated for new, old in zip(gradients, own._accumulated_gradients, strict=True)
                ]
                self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
                own._backend_reset_gradient_accumulators()
            else:
                own._backend_increment_gradient_accumulators(gradients, own._accumulated_gradients)
                if own.use_ema:
                    own._update_model_variables_moving_average(self.trainable_weights)

        def step_of_replica(updates, weight, images, targets, *border):
            # Only this part is compiled: XLA cannot update variables that are mirrored.
            loss, outputs, gradients = compute(weight, images, targets, *border)
            if several:
                # Before the optimizer sees them, which would add them up after clipping, and after looking for
                # overflow on the first replica alone. Averages of normalisation become the mean over the replicas, each
                # by its part of the batch, so that all validate, and go on after a stop, with those that are saved.
                shares = [average * (weight * replicas / strategy.num_replicas_in_sync) for average in averages]
                context = tf.distribute.get_replica_context()
                summed = context.all_reduce(tf.distribute.ReduceOp.SUM, [*gradients, *shares])
                gradients = summed[: len(gradients)]
                for average, mean in zip(averages, summed[len(gradients) :], strict=True):
                    average.assign(mean)
            apply(gradients, updates)
            self.mean_loss.update_state(loss, sample_weight=tf.shape(images)[0])
            for name, metrics in self.output_metrics.items():
                for metric in metrics:
                    metric.update_state(targets, outputs[name])
            return self.get_metrics_result()

        def step(batch, updates):
            results = strategy.run(partial(step_of_replica, updates), args=share(batch, strategy, replicas))
            # What the progress bar shows; the logs of the epoch are read from all replicas.
            return {name: first_of(strategy, value) for name, value in results.items()}

        taken = step if self.run_eagerly else tf.function(step, reduce_retracing=True)
        if not accumulated:
            return lambda batch: taken(batch, True)
        return lambda batch: taken(batch, self.taken % accumulated == 0)

    def loss_and_gradients(self, weight, images, targets, border=None):
        """Forward and backward pass of one replica: (loss, outputs, gradients as the optimizer takes them)."""
        import tensorflow as tf

        strategy = self.distribute_strategy
        workers = strategy.num_replicas_in_sync // local_replicas(strategy)
        with tf.GradientTape() as tape:
            outputs = self(images, training=True)
            loss = self.output_loss(targets, outputs, border)
            regularisation = sum(ops.cast(value, "float32") for value in self.losses)
            # Replicas add up their gradients, each of the mean over its own part of the batch.
            part = loss * (weight / workers) + regularisation / strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(part)
        return loss + regularisation, outputs, tape.gradient(scaled, self.trainable_weights)


def moving_averages(model):
    """Mean and variance of every batch normalisation of a model that is trained."""
    found = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found += moving_averages(layer)
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            found += [layer.moving_mean, layer.moving_variance]
    return found


def share(batch, strategy, replicas):
    """Divide a batch between the replicas.

    Returns:
        For `strategy.run`: (weight of the part, image, mask, ...). The weight is the part's share of the batch, so that
        the weighted sum of the replicas' means is the mean over the batch, whatever its size. A replica for which
        nothing is left takes an image with weight 0.
    """
    import tensorflow as tf

    if replicas == 1:
        return (tf.constant(1.0), *batch)
    total = tf.shape(batch[0])[0]
    distribute = strategy.experimental_distribute_values_from_function

    def bounds(context):
        replica = context.replica_id_in_sync_group % replicas
        return total * replica // replicas, total * (replica + 1) // replicas

    def weight(context):
        first, end = bounds(context)
        return tf.cast(end - first, tf.float32) / tf.cast(total, tf.float32)

    def part_of(part):
        def of_replica(context):
            first, end = bounds(context)
            first = tf.minimum(first, total - 1)
            return part[first : tf.maximum(end, first + 1)]

        return of_replica

    return (distribute(weight), *(distribute(part_of(part)) for part in batch))


def first_of(strategy, value):
    return strategy.experimental_local_results(value)[0]
