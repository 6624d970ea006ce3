"""Loss and metrics over the validation data after each epoch."""

import numpy as np

from utils.evaluation.scoring import MeanLoss, make_metric_update
from utils.inference.forward import in_unit_range, make_forward

EXAMPLES = 4  # validation images that are shown after each epoch


class Validation:
    """Loss and metrics over a dataset. Replicas share the forward pass alone, so their number changes no score.

    Args:
        network, strategy, jit_compile: as in `make_forward`.
        loss: as in MeanLoss.
        metrics: {output name: list of Keras metrics}, made outside the strategy's scope.
        dataset: of `build_dataset`.

    Attributes:
        examples: list of (image, truth, probabilities), the first EXAMPLES images that hold foreground.
    """

    def __init__(self, network, strategy, jit_compile, loss, metrics, dataset):
        self.forward = make_forward(network, strategy, jit_compile)
        self.loss = MeanLoss(network, loss)
        self.metrics = metrics
        self.updates = {name: make_metric_update(found) for name, found in metrics.items()}
        self.dataset = dataset
        self.examples = []

    def __call__(self):
        """Go over the dataset once; return {name: float}."""
        found = [metric for metrics in self.metrics.values() for metric in metrics]
        self.loss.reset()
        for metric in found:
            metric.reset_state()
        self.examples.clear()
        for images, targets, *border in self.dataset:
            outputs = self.forward(images)
            self.loss.add(targets, outputs, *border)
            for name, update in self.updates.items():
                update(targets, outputs[name])
            if "mask" in outputs and len(self.examples) < EXAMPLES:
                self.keep(np.asarray(in_unit_range(images)), np.asarray(targets), outputs["mask"])
        logs = {"loss": self.loss.result()}
        for metric in found:
            value = metric.result()
            logs |= value if isinstance(value, dict) else {metric.name: value}
        return {name: float(value) for name, value in logs.items()}

    def keep(self, images, targets, probabilities):
        for number, truth in enumerate(targets):
            if truth.any() and len(self.examples) < EXAMPLES:
                self.examples.append((images[number], truth, probabilities[number].numpy()))
