"""The training loop: one path for one device, several replicas and several workers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from omegaconf import DictConfig

from data_generators.dataset import Dataset
from losses import supervision
from losses.metrics.exact_sums import update_metric
from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.devices.full_batches import fill
from utils.devices.jax_devices import JaxDevices
from utils.devices.strategy import Strategy, local_replicas
from utils.inference.forward import in_unit_range
from utils.training.data_wait import DataWait
from utils.training.optimizers import make_optimizer

History = dict[str, list[float]]
TrainStep = Callable[[Sequence[Any]], dict[str, KerasTensor]]

# BACKEND -> function trainer -> `step(batch)`, which updates weights and metrics and returns the running metrics
TRAIN_STEPS = {
    "tensorflow": "utils.training.tensorflow_step:make_train_step",
    "jax": "utils.training.jax_step:make_train_step",
}


class Trainer(keras.Model):
    """Train a network of `models.build_model` with a loss and metrics on its dict of outputs.

    Make it inside the scope of the strategy, and compile it with an optimizer only. It replaces Keras's `fit`, which
    cannot start in the middle of an epoch, compile a step with XLA under a strategy, or train with several workers.
    Optimizers, metrics, loss scaling and callbacks are those of Keras. Save the weights of `network`, which knows
    nothing of training.

    Args:
        network: functional model, image -> dict of outputs.
        loss: `loss(y_true, outputs, boundary_weights, counted) -> scalar`; the last two are parts of a batch, or None.
        metrics: {output name: metrics}; each is given `(y_true, outputs[name])`.
        devices: on JAX, the devices that train; None: the first one. On TensorFlow the scope says it.
        recompute: OPTIMIZATION.RECOMPUTE, on TensorFlow.

    Attributes:
        distribute_strategy: what it was built under, see `utils.devices.strategy.make_strategy`.
        steps_taken: batches of the whole run so far.
        data_wait: how long the last epoch waited for its data.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: Callable,
        metrics: Mapping[str, Sequence[keras.metrics.Metric]],
        devices: JaxDevices | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__(name="trainer")
        if devices is not None:
            self.distribute_strategy = devices
        self.network = network
        self.recompute = recompute
        self.output_loss = loss
        self.output_metrics = metrics
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.gradient_norm = keras.metrics.Mean(name="gradient_norm", dtype="float32")
        self.take_step: TrainStep | None = None
        self.steps_taken = 0
        self.data_wait = DataWait()

    def compile(self, optimizer: keras.optimizers.Optimizer | str = "sgd", **options: Any) -> None:
        """Set the optimizer, and trace the next step anew; options are those of `keras.Model.compile`."""
        super().compile(optimizer=optimizer, **options)
        self.take_step = None
        # Made before the first step is traced: a trace that creates variables is thrown away and done again.
        self.optimizer.build(self.trainable_variables)

    def call(self, images: KerasTensor, training: bool | None = None) -> dict[str, KerasTensor]:
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
        for step, batch in enumerate(self.data_wait(self.on_devices(data)), first_step):
            callbacks.on_train_batch_begin(step)
            logs = as_floats(self.train_on(batch))
            if not np.isfinite(logs["loss"]):
                raise UserError(explain_loss(data, epoch, step))
            callbacks.on_train_batch_end(step, logs)
            if self.stop_training:
                break

    def on_devices(self, data: Dataset) -> Iterable[Sequence[Any]]:
        """The batches; on JAX each is copied to the devices while the step before it runs.

        There the last one of an epoch, if it is smaller than the others, is filled to their size, see `fill`: batches
        have a fourth part then.
        """
        devices = self.distribute_strategy
        if not isinstance(devices, JaxDevices):
            return data if local_replicas(devices) == 1 else data.on_replicas(devices.extended.worker_devices)
        sampler = data.sampler
        batches: Iterable[Sequence[Any]] = data
        if sampler.has_partial_batch:
            batches = (filled(batch, sampler.batch_size // devices.workers) for batch in data)
        return one_ahead(map(devices.put_batch, batches))

    def train_on(self, batch: Sequence[Any]) -> dict[str, KerasTensor]:
        """Take one step on a batch; return the running metrics."""
        if self.take_step is None:
            self.take_step = load_object(TRAIN_STEPS[keras.backend.backend()])(self)
        self.steps_taken += 1
        return self.take_step(batch)

    def update_gradient_norm(self, gradients: Sequence[KerasTensor]) -> None:
        """Add the global norm of gradients as the optimizer takes them; a step whose float16 overflowed does not count.

        The loss scale, if there is one, must still be that of the gradients.
        """
        optimizer = self.optimizer
        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        scale = ops.convert_to_tensor(optimizer.dynamic_scale) if scales else 1.0
        squares = [ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients if gradient is not None]
        norm = ops.sqrt(ops.sum(ops.stack(squares))) / scale
        finite = ops.isfinite(norm)
        self.gradient_norm.update_state(ops.where(finite, norm, 0.0), sample_weight=ops.cast(finite, "float32"))

    def update_metrics(
        self,
        loss: KerasTensor,
        targets: KerasTensor,
        outputs: Mapping[str, KerasTensor],
        counted: KerasTensor | None = None,
    ) -> None:
        """Add what a replica found in its part of a batch."""
        self.mean_loss.update_state(loss, ops.shape(targets)[0] if counted is None else ops.sum(counted))
        for name, metrics in self.output_metrics.items():
            for metric in metrics:
                update_metric(metric, targets, outputs[name], counted)


def filled(batch: Sequence[Any], size: int) -> tuple[Any, ...]:
    """(image, mask, boundary_weights or None, counted) of `size` images, see `fill`."""
    (images, targets, *boundary_weights), counted = fill(list(batch), size)
    return images, targets, boundary_weights[0] if boundary_weights else None, counted


def one_ahead(batches: Iterable[Any]) -> Iterator[Any]:
    """The same batches; each is asked for before the one ahead of it is handed over.

    >>> list(one_ahead([1, 2, 3]))
    [1, 2, 3]
    """
    iterator = iter(batches)
    for batch in iterator:
        for following in iterator:
            yield batch
            batch = following
        yield batch


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


def build_trainer(cfg: DictConfig, network: keras.Model, strategy: Strategy) -> Trainer:
    """A compiled trainer with the loss, the metrics and the optimizer of the config.

    Call it inside the scope of the strategy.

    Args:
        network: of `models.build_model`.
        strategy: of `utils.devices.strategy.make_strategy`.
    """
    metrics = supervision.build_output_metrics(cfg, network.output)
    devices = strategy if isinstance(strategy, JaxDevices) else None
    trainer = Trainer(network, supervision.build_training_loss(cfg), metrics, devices, cfg.OPTIMIZATION.RECOMPUTE)
    trainer.compile(make_optimizer(cfg, network), jit_compile=cfg.OPTIMIZATION.XLA)
    return trainer
