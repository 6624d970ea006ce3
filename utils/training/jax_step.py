"""A training step of JAX: one compiled program, whatever the number of devices."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import keras
from keras import ops

from utils.devices.compiled import compiled
from utils.inference.forward import in_unit_range

if TYPE_CHECKING:
    from utils.training.trainer import Trainer


def make_train_step(trainer: "Trainer") -> Callable[[Sequence[Any]], dict[str, jax.Array]]:
    """Return `step(batch)`, which updates weights and metrics and returns the running metrics.

    The batch `(image, mask, boundary_weights, counted)`, of which the last two may be None or missing, lies on the
    devices of the trainer, see `JaxDevices.put_batch`. Means are over the whole batch, so XLA
    adds up what the devices computed, where it is needed.
    """
    network, optimizer = trainer.network, trainer.optimizer

    def step(
        images: jax.Array,
        targets: jax.Array,
        boundary_weights: jax.Array | None = None,
        counted: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        with statistics_of(counted):
            loss, outputs, gradients = loss_and_gradients(trainer, images, targets, boundary_weights, counted)
        trainer.update_gradient_norm(gradients)
        weights, slots = network.trainable_variables, optimizer.variables
        new_weights, new_slots = optimizer.stateless_apply(values_of(slots), gradients, values_of(weights))
        assign([*weights, *slots], [*new_weights, *new_slots])
        trainer.update_metrics(loss, targets, outputs, counted)
        return trainer.get_metrics_result()

    metrics = [variable for metric in trainer.metrics for variable in metric.variables]
    state = [*network.variables, *optimizer.variables, *metrics]
    run = step if trainer.run_eagerly else compiled(step, updates=state, devices=trainer.distribute_strategy)
    return lambda batch: run(*batch)


def loss_and_gradients(
    trainer: "Trainer",
    images: jax.Array,
    targets: jax.Array,
    boundary_weights: jax.Array | None = None,
    counted: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array], list[jax.Array]]:
    """Forward and backward pass: loss, outputs, gradients as the optimizer takes them. Updates the moving averages."""
    network = trainer.network
    others = network.non_trainable_variables

    def objective(weights: list[jax.Array]) -> tuple[jax.Array, Any]:
        outputs, averages, losses = network.stateless_call(
            weights, values_of(others), in_unit_range(images), training=True, return_losses=True
        )
        loss = trainer.output_loss(targets, outputs, boundary_weights, counted)
        loss = loss + sum(ops.cast(value, "float32") for value in losses)
        return trainer.optimizer.scale_loss(loss), (loss, outputs, averages)

    gradients, (loss, outputs, averages) = jax.grad(objective, has_aux=True)(values_of(network.trainable_variables))
    assign(others, averages)
    return loss, outputs, gradients


@contextlib.contextmanager
def statistics_of(counted: jax.Array | None) -> Iterator[None]:
    """Let batch normalisation see the images alone, not those that only fill the batch; None: all are images.

    Keras's layer takes a mask of the positions that count, but nothing between hands one on. So while the step is
    traced the layers get it from here, those of backbones too.
    """
    layer = keras.layers.BatchNormalization
    of_keras = layer.call

    def call(
        self: keras.layers.Layer, inputs: jax.Array, training: bool | None = None, mask: jax.Array | None = None
    ) -> jax.Array:
        mask = ops.reshape(counted, (-1, *[1] * (len(inputs.shape) - 2)))
        return of_keras(self, inputs, training=training, mask=mask)

    layer.call = of_keras if counted is None else call
    try:
        yield
    finally:
        layer.call = of_keras


def values_of(variables: Sequence[keras.Variable]) -> list[jax.Array]:
    """The values that the variables have within the step."""
    return [variable.value for variable in variables]


def assign(variables: Sequence[keras.Variable], values: Sequence[jax.Array]) -> None:
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
