"""A training step of TensorFlow, on one replica or several, with XLA or without."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import ops

from utils.devices.strategy import local_replicas
from utils.training.recompute import Recomputing
from utils.training.tensorflow_replicas import ReplicaSum, split_batch, value_of_first

if TYPE_CHECKING:
    from utils.training.trainer import Trainer

Gradients = Sequence[Any]  # tensors


def make_train_step(trainer: "Trainer") -> Callable[[Sequence[Any]], dict[str, Any]]:
    """Return `step(batch)`, which updates weights and metrics and returns the running metrics of the first replica.

    Keras cannot compile a step with XLA under a strategy: XLA cannot update mirrored variables. So only the forward and
    backward pass are compiled, and each replica applies the gradients outside.
    """
    strategy, optimizer = trainer.distribute_strategy, trainer.optimizer
    trainer.forward = (
        Recomputing(trainer.network) if trainer.recompute else lambda images: trainer(images, training=True)
    )
    several = strategy.num_replicas_in_sync > 1
    compute: Any = partial(loss_and_gradients, trainer)
    if trainer.jit_compile:
        compute = tf.function(compute, jit_compile=True, autograph=False)
    sum_replicas = ReplicaSum(trainer.network, strategy) if several else None
    accumulation = take_over(optimizer) if several else None

    def apply_gradients(gradients: Gradients, updates: bool) -> None:
        if accumulation is not None:
            accumulation.apply(gradients, trainer.trainable_weights, updates)
        else:
            optimizer.apply_gradients(zip(gradients, trainer.trainable_weights, strict=True))

    def replica_step(updates, weight, images, targets, *boundary_weights):
        loss, outputs, gradients = compute(weight, images, targets, *boundary_weights)
        if sum_replicas is not None:
            gradients = sum_replicas(gradients, weight)
        trainer.update_gradient_norm(gradients)
        apply_gradients(gradients, updates)
        trainer.update_metrics(loss, targets, outputs)
        return trainer.get_metrics_result()

    def step(batch, updates):
        results = strategy.run(partial(replica_step, updates), args=split_batch(batch, strategy))
        # The progress bar shows these; the logs of the epoch are read from all replicas.
        return {name: value_of_first(strategy, value) for name, value in results.items()}

    # No Python statement depends on a tensor: AutoGraph would only rewrite every function, half the time of a trace.
    run = step if trainer.run_eagerly else tf.function(step, reduce_retracing=True, autograph=False)
    if accumulation is None:
        return lambda batch: run(batch, True)
    return lambda batch: run(batch, trainer.steps_taken % accumulation.steps == 0)


def loss_and_gradients(
    trainer: "Trainer",
    weight: tf.Tensor,
    images: tf.Tensor,
    targets: tf.Tensor,
    boundary_weights: tf.Tensor | None = None,
) -> tuple[tf.Tensor, dict[str, tf.Tensor], list[tf.Tensor]]:
    """Forward and backward pass of one replica: loss, outputs, gradients as the optimizer takes them.

    Args:
        weight: the replica's part of the batch, see `split_batch`.
    """
    strategy = trainer.distribute_strategy
    workers = strategy.num_replicas_in_sync // local_replicas(strategy)
    with tf.GradientTape() as tape:
        outputs = trainer.forward(images)
        loss = trainer.output_loss(targets, outputs, boundary_weights)
        regularisation = sum(ops.cast(value, "float32") for value in trainer.losses)
        # Replicas add up their gradients, each of the mean over its own part of the batch.
        part = loss * (weight / workers) + regularisation / strategy.num_replicas_in_sync
        scaled = trainer.optimizer.scale_loss(part)
    return loss + regularisation, outputs, tape.gradient(scaled, trainer.trainable_weights)


class Accumulation:
    """OPTIMIZER.ACCUMULATION_STEPS on several replicas.

    Keras decides within the graph whether a step updates the weights, where replicas cannot synchronize. Here the
    caller decides, and the optimizer's own variables hold the sums, so that they are part of the state of a run.

    Args:
        optimizer: the one that is to be given the mean gradients.
        inner: the same, or the one that it scales the loss for.
        steps: gradients of an update.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, inner: keras.optimizers.Optimizer, steps: int) -> None:
        self.optimizer, self.inner, self.steps = optimizer, inner, steps

    def apply(self, gradients: Gradients, weights: Sequence[keras.Variable], updates: bool) -> None:
        """Add gradients to the sums; with `updates`, update the weights with their mean and start anew."""
        inner = self.inner
        sums = inner._accumulated_gradients
        if updates:
            means = [(new + total) / self.steps for new, total in zip(gradients, sums, strict=True)]
            self.optimizer.apply_gradients(zip(means, weights, strict=True))
            inner._backend_reset_gradient_accumulators()
            return
        inner._backend_increment_gradient_accumulators(gradients, sums)
        if inner.use_ema:
            inner._update_model_variables_moving_average(weights)


def take_over(optimizer: keras.optimizers.Optimizer) -> Accumulation | None:
    """Keep an optimizer from summing over replicas and from accumulating, which this module does.

    Returns:
        What accumulates in its place, or None if it has nothing to accumulate.
    """
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    inner = optimizer.inner_optimizer if scales else optimizer
    inner._all_reduce_sum_gradients = lambda gradients_and_variables: gradients_and_variables
    steps, inner.gradient_accumulation_steps = inner.gradient_accumulation_steps, None
    return Accumulation(optimizer, inner, steps) if steps else None
