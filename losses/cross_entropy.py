"""Pixel-wise losses: cross-entropy and its focal form.

Every term takes `y_true` (one map per class) and `y_pred` (probabilities), both float32
`(batch, height, width, classes)`, and returns a scalar of at least 0, the mean over all pixels of all images.
"""

from keras import ops

from losses.targets import with_background

SMALLEST_PROBABILITY = 1e-7


def focal(y_true, y_pred, alpha, gamma):
    """Focal loss: `alpha * (1 - p)^gamma * -log(p)` with p the probability of the true class.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", https://arxiv.org/abs/1708.02002. A single foreground
    class counts its background pixels too, with `1 - p`.

    Args:
        alpha: float, factor of the whole term.
        gamma: float of at least 0; the larger, the less pixels count that are right already. 0 is cross-entropy.
    """
    probability = keep_inside(with_background(y_pred))
    per_class = with_background(y_true) * ops.power(1 - probability, gamma) * -ops.log(probability)
    return alpha * ops.mean(ops.sum(per_class, axis=-1))


def binary_cross_entropy(y_true, y_pred):
    """Cross-entropy of every class against the rest, mean over pixels and classes; for overlapping classes too."""
    probability = keep_inside(y_pred)
    return -ops.mean(y_true * ops.log(probability) + (1 - y_true) * ops.log(1 - probability))


def categorical_cross_entropy(y_true, y_pred):
    """Cross-entropy `-log(p)` of the true class, mean over pixels. With a single class it equals the binary one."""
    probability = keep_inside(with_background(y_pred))
    return -ops.mean(ops.sum(with_background(y_true) * ops.log(probability), axis=-1))


def keep_inside(probability):
    """Keep probabilities off 0 and 1, where the logarithm and its gradient are infinite.

    The gradient passes as if nothing was clipped: a pixel that is wrong with full confidence still learns.
    """
    inside = ops.clip(probability, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return probability + ops.stop_gradient(inside - probability)
