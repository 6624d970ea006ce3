"""Loss and metrics over the validation data after each epoch."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import KerasTensor
from omegaconf import DictConfig

from data_generators.dataset import Dataset
from losses.supervision import build_output_metrics
from utils.devices.jax_devices import JaxDevices
from utils.devices.strategy import Strategy
from utils.evaluation.scoring import MeanLoss, make_metric_update
from utils.inference.forward import in_unit_range, make_forward
from utils.training.mosaic import Mosaic
from utils.training.trainer import Trainer

MAX_EXAMPLES = 4


class Example(NamedTuple):
    """A validation image to look at.

    Attributes:
        image: `(height, width, channels)` in [0, 1].
        truth: `(height, width, 1)` class indices.
        probabilities: `(height, width, classes)`; of an unpadded model the centre of the image.
    """

    image: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray


class Validation:
    """Loss and metrics over a dataset. Replicas share only the forward pass, so their number changes no score.

    Args:
        network, strategy, jit_compile: as in `make_forward`.
        loss: as in MeanLoss.
        metrics: {output name: metrics}, made outside the strategy's scope.
        dataset: the validation data.

    Attributes:
        examples: the first images with foreground, MAX_EXAMPLES at most. Each call replaces them.
        mosaic: if it is set, each call fills it anew.
    """

    def __init__(
        self,
        network: keras.Model,
        strategy: Strategy,
        jit_compile: bool,
        loss: Callable,
        metrics: Mapping[str, Sequence[keras.metrics.Metric]],
        dataset: Dataset,
    ) -> None:
        self.forward = make_forward(network, strategy, jit_compile)
        self.loss = MeanLoss(network, loss)
        self.metrics = metrics
        devices = strategy.alone() if isinstance(strategy, JaxDevices) else None
        self.updates = {name: make_metric_update(found, devices=devices) for name, found in metrics.items()}
        self.dataset = dataset
        self.examples: list[Example] = []
        self.mosaic: Mosaic | None = None

    def __call__(self) -> dict[str, float]:
        """Go over the dataset once; return {name: value}."""
        metrics = [metric for group in self.metrics.values() for metric in group]
        self.loss.reset()
        for metric in metrics:
            metric.reset_state()
        self.examples.clear()
        if self.mosaic is not None:
            self.mosaic.begin()
        for images, targets, *boundary_weights in self.dataset:
            outputs = self.forward(images)
            self.loss.add(targets, outputs, *boundary_weights)
            for name, update in self.updates.items():
                update(targets, outputs[name])
            if "mask" in outputs and len(self.examples) < MAX_EXAMPLES:
                self.keep_examples(np.asarray(in_unit_range(images)), np.asarray(targets), outputs["mask"])
            if self.mosaic is not None:
                self.mosaic.add(images, targets, outputs["mask"])
        logs = {"loss": self.loss.result()}
        for metric in metrics:
            value = metric.result()
            logs |= value if isinstance(value, dict) else {metric.name: value}
        return {name: float(value) for name, value in logs.items()}

    def keep_examples(self, images: np.ndarray, targets: np.ndarray, probabilities: KerasTensor) -> None:
        """Keep those images of a batch that hold foreground."""
        for number, truth in enumerate(targets):
            if truth.any() and len(self.examples) < MAX_EXAMPLES:
                self.examples.append(Example(images[number], truth, np.asarray(probabilities[number])))


def build_validation(cfg: DictConfig, trainer: Trainer, dataset: Dataset) -> Validation:
    """The validation of a trainer's network, with metrics of its own. Call it outside the scope of the strategy."""
    network = trainer.network
    metrics = build_output_metrics(cfg, network.output)
    return Validation(network, trainer.distribute_strategy, cfg.OPTIMIZATION.XLA, trainer.output_loss, metrics, dataset)
