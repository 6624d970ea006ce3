"""Pixel-wise losses: cross-entropy and its relatives.

Every term takes `y_true` (one map per class), `y_pred` (probabilities), both float32
`(batch, height, width, classes)`, and `valid` (`losses.targets.prepare`), and returns a scalar of at least 0: the mean
over the pixels of all images that are not ignored.

`multi_label`: the channels are sigmoids of classes that may overlap; the loss is the mean over channels of what it is
for a single class.

`class_weights` is None or one number per class, background first (two for a single class, one more than there are
channels with `multi_label`): the factor of the pixels of that class. The mean divides by the number of pixels, not by
the sum of their weights.
"""

from collections.abc import Callable, Sequence

from keras import KerasTensor, ops

from losses.targets import mean_of_valid

SMALLEST_PROBABILITY = 1e-7


def focal(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    alpha: float,
    gamma: float,
    class_weights: Sequence[float] | None,
    background: bool = True,
    multi_label: bool = False,
) -> KerasTensor:
    """Focal loss: `alpha * (1 - p)^gamma * -log(p)` with p the probability of the true class.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", https://arxiv.org/abs/1708.02002. A single foreground
    class counts its background pixels too, with `1 - p`.

    Args:
        alpha: factor of the whole term.
        gamma: at least 0. The larger it is, the less do pixels count that are right already; 0 is cross-entropy.
        background: false: pixels of the background cost nothing, and still count in the mean. For a single class that
            is the value of the TensorFlow port of UNet 3+, which multiplies by the truth of its only channel.
    """
    channels = y_pred.shape[-1]
    if not background:
        others = class_weights or [1.0] * (channels + (channels == 1 or multi_label))
        class_weights = [0.0, *list(others)[1:]]

    def term(truth: KerasTensor, probability: KerasTensor) -> KerasTensor:
        return truth * ops.power(1 - probability, gamma) * -ops.log(probability)

    return alpha * mean_of_valid(of_true_class(term, y_true, y_pred, class_weights, multi_label), valid)


def binary_cross_entropy(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    class_weights: Sequence[float] | None = None,
    multi_label: bool = False,
) -> KerasTensor:
    """Cross-entropy of every class against the rest, mean over pixels and classes; for overlapping classes too.

    `class_weights` of several classes that do not overlap are the factors of their maps.
    """
    probability = keep_inside(y_pred)
    absent, present = (1 - y_true) * -ops.log(1 - probability), y_true * -ops.log(probability)
    if multi_label or y_pred.shape[-1] == 1:
        return mean_of_valid(weighted_pair(absent, present, class_weights), valid)
    return mean_of_valid(weighted(absent + present, class_weights), valid)


def categorical_cross_entropy(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    class_weights: Sequence[float] | None,
    multi_label: bool = False,
) -> KerasTensor:
    """Cross-entropy `-log(p)` of the true class, mean over pixels. With sigmoids it equals the binary one."""
    return mean_of_valid(of_true_class(cross_entropy, y_true, y_pred, class_weights, multi_label), valid)


def boundary_weighted(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    boundary_weights: KerasTensor,
    w0: float,
    sigma: float,
    class_weights: Sequence[float] | None,
    multi_label: bool = False,
) -> KerasTensor:
    """Cross-entropy of the true class, each pixel times `w_c + w0 * exp(-(d1 + d2)^2 / (2 sigma^2))`.

    Ronneberger et al. 2015, "U-Net", https://arxiv.org/abs/1505.04597, equations 1 and 2: what separates two objects
    that nearly touch counts most. `w_c` is the class weight of the pixel (None: 1).

    Args:
        boundary_weights: float32 `(batch, height, width, 1)`, the second summand of the weight; the loader computes it
            from the mask with `w0` and `sigma` (`data_generators.reading.boundary_weights`), which are not used here.
    """
    loss = of_true_class(cross_entropy, y_true, y_pred, class_weights, multi_label)
    unweighted = of_true_class(cross_entropy, y_true, y_pred, None, multi_label)
    return mean_of_valid(loss + boundary_weights * unweighted, valid)


def cross_entropy(truth: KerasTensor, probability: KerasTensor) -> KerasTensor:
    return truth * -ops.log(probability)


def of_true_class(
    term: Callable[[KerasTensor, KerasTensor], KerasTensor],
    y_true: KerasTensor,
    y_pred: KerasTensor,
    class_weights: Sequence[float] | None,
    multi_label: bool,
) -> KerasTensor:
    """The weighted `term(truth, probability)` of the true class of each pixel.

    Returns:
        `(batch, height, width, 1)`; of sigmoids, each of which decides between its class and what is not,
        `(batch, height, width, classes)`.
    """
    present = term(y_true, keep_inside(y_pred))
    if y_pred.shape[-1] > 1 and not multi_label:
        return ops.sum(weighted(present, class_weights), axis=-1, keepdims=True)
    return weighted_pair(term(1 - y_true, keep_inside(1 - y_pred)), present, class_weights)


def weighted_pair(absent: KerasTensor, present: KerasTensor, class_weights: Sequence[float] | None) -> KerasTensor:
    """The sum of what sigmoids `(batch, height, width, classes)` cost without and with their class, weighted."""
    if class_weights is None:
        return absent + present
    return class_weights[0] * absent + weighted(present, list(class_weights)[1:])


def weighted(per_class: KerasTensor, class_weights: Sequence[float] | None) -> KerasTensor:
    """Multiply each map of `(batch, height, width, classes)` by the weight of its class."""
    return per_class if class_weights is None else per_class * ops.convert_to_tensor(list(class_weights), "float32")


def keep_inside(probability: KerasTensor) -> KerasTensor:
    """Keep probabilities off 0 and 1, where the logarithm and its gradient are infinite.

    The gradient passes as if nothing was clipped: a pixel that is wrong with full confidence still learns.
    """
    inside = ops.clip(probability, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return probability + ops.stop_gradient(inside - probability)
