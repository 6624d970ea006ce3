"""Update loss and metrics batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from losses.metrics.exact_sums import update_metric
from utils.devices.compiled import compiled
from utils.devices.full_batches import FullBatches
from utils.devices.jax_devices import JaxDevices

MetricUpdate = Callable[..., np.ndarray | KerasTensor | None]


def make_full_batches() -> Callable[[Any], tuple[Any, Any]]:
    """What fills the batches of a set: on JAX `FullBatches`; TensorFlow takes batches of any size, and all count."""
    return FullBatches() if keras.backend.backend() == "jax" else lambda batch: (batch, None)


def make_metric_update(
    metrics: Sequence[keras.metrics.Metric], count: Callable | None = None, devices: JaxDevices | None = None
) -> MetricUpdate:
    """Return `update(targets, output)`, which updates the metrics and returns the confusion matrix of each image.

    Args:
        metrics: of one output.
        count: function (targets, output) -> confusion matrices `(batch, n, n)`; None for an output that is no mask,
            whose updates return None.
        devices: of JAX, on which the outputs lie; None: they are NumPy arrays, or tensors of TensorFlow.
    """

    def update(targets, output, counted):
        for metric in metrics:
            update_metric(metric, targets, output, counted)
        return None if count is None else count(targets, output)

    variables = [variable for metric in metrics for variable in metric.variables]
    run = compiled(update, updates=variables, devices=devices)
    full = make_full_batches()

    def update_with(targets, output):
        images = len(targets)
        (targets, output), counted = full((targets, output))
        counts = run(targets, output, counted)
        return counts if counts is None else np.asarray(counts)[:images]

    return update_with


class MeanLoss:
    """The training loss over a set: the mean of the batches, each weighted by its images, plus weight regularisation.

    Args:
        model: what its layers add to the loss is counted once.
        loss: `loss(targets, outputs, boundary_weights, counted) -> scalar`, mean over the images of a batch.
    """

    def __init__(self, model: keras.Model, loss: Callable) -> None:
        self.model = model
        self.loss = compiled(loss)
        self.full = make_full_batches()
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.total, self.images = 0.0, 0

    def add(
        self, targets: np.ndarray | KerasTensor, outputs: dict[str, KerasTensor], *boundary_weights: KerasTensor
    ) -> None:
        """Add a batch."""
        images = len(targets)
        (targets, outputs, boundary), counted = self.full((targets, outputs, boundary_weights))
        loss = self.loss(targets, outputs, boundary[0] if boundary else None, counted)
        self.total += float(loss) * images
        self.images += images

    def result(self) -> float:
        """The loss of all batches added."""
        return self.total / self.images + sum(float(value) for value in self.model.losses)
