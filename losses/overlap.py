"""Losses that compare regions: how much of the predicted and the true area is common.

Every term takes `y_true` (one map per class), `y_pred` (probabilities), both float32
`(batch, height, width, classes)`, and `valid` (`losses.targets.prepare`), sums over the pixels that are not ignored,
and returns a scalar in [0, 1]. Arguments that several of them share:

    smooth: above 0, in pixels; added to numerator and denominator, so that an empty prediction of an empty truth has
        no loss.
    include_background: whether class 0 of several counts.
    average: "image": mean of the loss of each image; "batch": one loss of the areas of the whole batch, which is
        steadier where many images are empty.
    class_weights: None or one number per class, background first (two for a single class, whose background is unused).
    counted: see `losses.targets.mean_of_images`.
"""

from collections.abc import Sequence

from keras import KerasTensor, ops

from losses.targets import foreground, mean_of_images

PIXELS = (1, 2, 3)


def iou(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    smooth: float,
    include_background: bool,
    class_weights: Sequence[float] | None,
    counted: KerasTensor | None = None,
) -> KerasTensor:
    """`1 - intersection / union` of the areas of all classes together, mean over images.

    The Jaccard term of BASNet (Qin et al., CVPR 2019) and of UNet 3+ (Huang et al. 2020). Class weights multiply
    the areas.
    """
    intersection, true, predicted = areas(y_true, y_pred, valid, PIXELS, include_background, class_weights)
    return 1 - mean_of_images((intersection + smooth) / (true + predicted - intersection + smooth), counted)


def dice(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    smooth: float,
    include_background: bool = True,
    average: str = "image",
    class_weights: Sequence[float] | None = None,
    counted: KerasTensor | None = None,
) -> KerasTensor:
    """`1 - 2 * intersection / (true area + predicted area)` of all classes together, the soft Dice loss.

    Milletari et al. 2016, "V-Net", https://arxiv.org/abs/1606.04797, with areas in place of their squares. Class
    weights multiply the areas (Sudre et al. 2017, https://arxiv.org/abs/1707.03237).
    """
    axes = PIXELS if average == "image" else (0, *PIXELS)
    intersection, true, predicted = areas(y_true, y_pred, valid, axes, include_background, class_weights)
    return 1 - mean_of_images((2 * intersection + smooth) / (true + predicted + smooth), counted)


def class_dice(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    smooth: float,
    include_background: bool,
    average: str,
    class_weights: Sequence[float] | None,
    counted: KerasTensor | None = None,
) -> KerasTensor:
    """`1 - 2 * intersection / (true area + predicted area)` of each class, mean over classes: small ones count as much.

    The Dice loss of nnU-Net (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z) with `average="batch"`;
    there without the background. The mean over classes is weighted with `class_weights`.
    """
    axes = PIXELS[:2] if average == "image" else (0, *PIXELS[:2])
    common, true, predicted = areas(y_true, y_pred, valid, axes, include_background)
    return mean_over_classes(1 - (2 * common + smooth) / (true + predicted + smooth), class_weights, counted)


def tversky(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    alpha: float,
    beta: float,
    smooth: float,
    include_background: bool,
    average: str,
    class_weights: Sequence[float] | None,
    counted: KerasTensor | None = None,
) -> KerasTensor:
    """`1 - TP / (TP + alpha FP + beta FN)` of each class, mean over classes: errors of two kinds, two costs.

    Salehi et al. 2017, https://arxiv.org/abs/1706.05721. With alpha = beta = 0.5 it is Dice (and `smooth` counts
    twice as much as there). The mean over classes is weighted with `class_weights`.

    Args:
        alpha: cost of a false positive pixel.
        beta: cost of a missed pixel.
    """
    index = tversky_index(y_true, y_pred, valid, alpha, beta, smooth, include_background, average)
    return mean_over_classes(1 - index, class_weights, counted)


def focal_tversky(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    alpha: float,
    beta: float,
    gamma: float,
    smooth: float,
    include_background: bool,
    average: str,
    class_weights: Sequence[float] | None,
    counted: KerasTensor | None = None,
) -> KerasTensor:
    """`(1 - Tversky index)^gamma` of each class, mean over classes.

    Abraham and Khan 2019, https://arxiv.org/abs/1810.07842, who write the exponent as 1 / gamma with gamma = 4/3.

    Args:
        gamma: above 0; below 1, classes that are nearly right weigh more.
    """
    loss = 1 - tversky_index(y_true, y_pred, valid, alpha, beta, smooth, include_background, average)
    # The power's gradient is infinite at 0, for an exponent below 1: a perfect class has none.
    wrong = loss > 1e-7
    loss = ops.where(wrong, ops.power(ops.where(wrong, loss, 1.0), gamma), 0.0)
    return mean_over_classes(loss, class_weights, counted)


def tversky_index(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    alpha: float,
    beta: float,
    smooth: float,
    include_background: bool,
    average: str,
) -> KerasTensor:
    """`(TP + smooth) / (TP + alpha FP + beta FN + smooth)`: `(batch, classes)`, averaged by batch `(classes,)`."""
    axes = (1, 2) if average == "image" else (0, 1, 2)
    common, true, predicted = areas(y_true, y_pred, valid, axes, include_background)
    return (common + smooth) / (common + alpha * (predicted - common) + beta * (true - common) + smooth)


def mean_over_classes(
    loss: KerasTensor, class_weights: Sequence[float] | None, counted: KerasTensor | None
) -> KerasTensor:
    """Weighted mean of `(batch, classes)` over the classes, then over the images; or of `(classes,)`."""
    if len(loss.shape) == 1:
        counted = None
    if class_weights is None:
        return mean_of_images(loss, counted)
    weights = weights_of_maps(class_weights, loss)
    return mean_of_images(ops.sum(loss * weights, axis=-1) / ops.sum(weights), counted)


def weights_of_maps(class_weights: Sequence[float], maps: KerasTensor) -> KerasTensor:
    """The weights, background first, of maps `(..., classes)` that may be without the background: `(classes,)`."""
    return ops.convert_to_tensor(list(class_weights)[-maps.shape[-1] :], "float32")


def areas(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    axes: Sequence[int],
    include_background: bool,
    class_weights: Sequence[float] | None = None,
) -> tuple[KerasTensor, KerasTensor, KerasTensor]:
    """Return the common, the true and the predicted area, each summed over `axes`."""
    if valid is not None:
        y_pred = y_pred * valid
    maps = (y_true * y_pred, y_true, y_pred)
    if class_weights is not None:
        maps = tuple(area * weights_of_maps(class_weights, area) for area in maps)
    return tuple(ops.sum(area if include_background else foreground(area), axis=axes) for area in maps)
