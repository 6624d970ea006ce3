"""A training step of JAX: one compiled program, whatever the number of devices."""

from collections.abc import Callable, Sequence
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

    The batch lies on the devices of the trainer, see `JaxDevices.put_batch`. Means are over the whole batch, so XLA
    adds up what the devices computed, where it is needed.
    """
    network, optimizer = trainer.network, trainer.optimizer

    def step(*batch: jax.Array) -> dict[str, jax.Array]:
        loss, outputs, gradients = loss_and_gradients(trainer, *batch)
        trainer.update_gradient_norm(gradients)
        weights, slots = network.trainable_variables, optimizer.variables
        new_weights, new_slots = optimizer.stateless_apply(values_of(slots), gradients, values_of(weights))
        assign([*weights, *slots], [*new_weights, *new_slots])
        trainer.update_metrics(loss, batch[1], outputs)
        return trainer.get_metrics_result()

    metrics = [variable for metric in trainer.metrics for variable in metric.variables]
    state = [*network.variables, *optimizer.variables, *metrics]
    run = step if trainer.run_eagerly else compiled(step, updates=state, devices=trainer.distribute_strategy)
    return lambda batch: run(*batch)


def loss_and_gradients(
    trainer: "Trainer", images: jax.Array, targets: jax.Array, boundary_weights: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array], list[jax.Array]]:
    """Forward and backward pass: loss, outputs, gradients as the optimizer takes them. Updates the moving averages."""
    network = trainer.network
    others = network.non_trainable_variables

    def objective(weights: list[jax.Array]) -> tuple[jax.Array, Any]:
        outputs, averages, losses = network.stateless_call(
            weights, values_of(others), in_unit_range(images), training=True, return_losses=True
        )
        loss = trainer.output_loss(targets, outputs, boundary_weights)
        loss = loss + sum(ops.cast(value, "float32") for value in losses)
        return trainer.optimizer.scale_loss(loss), (loss, outputs, averages)

    gradients, (loss, outputs, averages) = jax.grad(objective, has_aux=True)(values_of(network.trainable_variables))
    assign(others, averages)
    return loss, outputs, gradients


def values_of(variables: Sequence[keras.Variable]) -> list[jax.Array]:
    """The values that the variables have within the step."""
    return [variable.value for variable in variables]


def assign(variables: Sequence[keras.Variable], values: Sequence[jax.Array]) -> None:
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
