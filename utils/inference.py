"""Run a network over batches, on one device or shared between several."""

import numpy as np
from keras import ops

from utils.devices import local_replicas

EXAMPLES = 4  # validation images that are shown after each epoch


def in_unit_range(images):
    """Images as networks take them: those that came as uint8 are divided by 255, on the device."""
    return ops.cast(images, "float32") / 255 if images.dtype == "uint8" else images


def make_forward(network, strategy, jit_compile=False):
    """Return `forward(images) -> {output name: tensor (batch, ...)}`, each image through the network once.

    Args:
        network: functional model, image -> dict of outputs.
        strategy: `tf.distribute.Strategy` under which it was built; its replicas share each batch.
        jit_compile: compile with XLA.
    """
    import tensorflow as tf

    replicas = local_replicas(strategy)

    @tf.function(reduce_retracing=True, jit_compile=jit_compile)
    def run(images):
        return network(in_unit_range(images), training=False)

    @tf.function(reduce_retracing=True)
    def share(images):
        parts = tf.split(images, replicas)
        values = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )
        outputs = strategy.run(lambda part: network(in_unit_range(part), training=False), args=(values,))
        return {name: tf.concat(strategy.experimental_local_results(value), 0) for name, value in outputs.items()}

    def forward(images):
        images = tf.convert_to_tensor(images)
        if replicas == 1:
            return run(images)
        # Equal parts: the last image is repeated, and what comes of the repetitions is cut off.
        count = len(images)
        images = tf.concat([images, tf.repeat(images[-1:], -count % replicas, axis=0)], 0)
        return {name: output[:count] for name, output in share(images).items()}

    return forward


def make_scorer(metrics, count=None):
    """Return `score(targets, output)`: updates the metrics, returns each image's confusion matrix `(batch, n, n)`.

    Args:
        metrics: list of Keras metrics of one output.
        count: function (targets, output) -> confusion matrices; None for an output that is no mask.
    """
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def score(targets, output):
        for metric in metrics:
            metric.update_state(targets, output)
        return None if count is None else count(targets, output)

    return score


class MeanLoss:
    """The training loss over a set: the mean of the batches, each by its images, plus the weight regularisation.

    Args:
        network: the model; what its layers add to the loss is counted once.
        loss: `loss(targets, outputs, border=None) -> scalar`, mean over the images of a batch.
    """

    def __init__(self, network, loss):
        import tensorflow as tf

        self.network = network
        self.loss = tf.function(loss, reduce_retracing=True)
        self.reset()

    def reset(self):
        self.total, self.images = 0.0, 0

    def add(self, targets, outputs, *border):
        self.total += float(self.loss(targets, outputs, *border)) * len(targets)
        self.images += len(targets)

    def result(self):
        return self.total / self.images + sum(float(value) for value in self.network.losses)


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
        self.scorers = {name: make_scorer(found) for name, found in metrics.items()}
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
            for name, score in self.scorers.items():
                score(targets, outputs[name])
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


def _turned(quarters, mirror):
    """`(change, undo)` of images `(batch, height, width, channels)`: mirrored left to right perhaps, then turned."""

    def change(images):
        return np.rot90(images[:, :, ::-1] if mirror else images, quarters, axes=(1, 2))

    def undo(images):
        images = np.rot90(images, -quarters, axes=(1, 2))
        return images[:, :, ::-1] if mirror else images

    return change, undo


# PREDICT.TTA -> what an image is seen as: the ways to turn and mirror it, and back
TRANSFORMS = {
    "none": [_turned(0, False)],
    "flips": [_turned(quarters, mirror) for quarters in (0, 2) for mirror in (False, True)],
    "dihedral": [_turned(quarters, mirror) for quarters in range(4) for mirror in (False, True)],
}


def mean_over_transforms(predictors, images, transforms):
    """The mean probabilities of several networks, each of which sees the images in several ways.

    Args:
        predictors: functions, images `(batch, height, width, channels)` -> probabilities `(batch, ..., classes)`.
        images: float32.
        transforms: a row of TRANSFORMS.

    Returns:
        float32 `(batch, ..., classes)`, as the images lie.
    """
    total = 0
    for change, undo in transforms:
        seen = np.ascontiguousarray(change(images))
        for predictor in predictors:
            found = predictor(seen)
            total = total + (undo(found) if len(transforms) > 1 else found)
    count = len(transforms) * len(predictors)
    return total / np.float32(count) if count > 1 else total
