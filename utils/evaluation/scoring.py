"""Update loss and metrics batch by batch."""


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
