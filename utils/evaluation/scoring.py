"""Update loss and metrics batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import keras
from keras import KerasTensor

from utils.devices.compiled import compiled

if TYPE_CHECKING:
    import numpy as np

MetricUpdate = Callable[..., "KerasTensor | None"]


def make_metric_update(metrics: Sequence[keras.metrics.Metric], count: Callable | None = None) -> MetricUpdate:
    """Return `update(targets, output)`, which updates the metrics and returns the confusion matrix of each image.

    Args:
        metrics: of one output.
        count: function (targets, output) -> confusion matrices `(batch, n, n)`; None for an output that is no mask,
            whose updates return None.
    """

    def update(targets, output):
        for metric in metrics:
            metric.update_state(targets, output)
        return None if count is None else count(targets, output)

    return compiled(update, updates=[variable for metric in metrics for variable in metric.variables])


class MeanLoss:
    """The training loss over a set: the mean of the batches, each weighted by its images, plus weight regularisation.

    Args:
        model: what its layers add to the loss is counted once.
        loss: `loss(targets, outputs, boundary_weights=None) -> scalar`, mean over the images of a batch.
    """

    def __init__(self, model: keras.Model, loss: Callable) -> None:
        self.model = model
        self.loss = compiled(loss)
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.total, self.images = 0.0, 0

    def add(
        self, targets: np.ndarray | KerasTensor, outputs: dict[str, KerasTensor], *boundary_weights: KerasTensor
    ) -> None:
        """Add a batch."""
        self.total += float(self.loss(targets, outputs, *boundary_weights)) * len(targets)
        self.images += len(targets)

    def result(self) -> float:
        """The loss of all batches added."""
        return self.total / self.images + sum(float(value) for value in self.model.losses)
