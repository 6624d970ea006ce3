"""Losses that compare regions: how much of the predicted and the true area is common.

Every term takes `y_true` (one map per class) and `y_pred` (probabilities), both float32
`(batch, height, width, classes)`, sums over height, width and classes, and returns a scalar in [0, 1].
`smooth` (pixels) is added above and below the line, so that an empty truth with an empty prediction is no loss.
"""

from keras import ops

from losses.targets import foreground

PIXELS = (1, 2, 3)


def iou(y_true, y_pred, smooth, include_background):
    """`1 - intersection / union`, mean over images.

    The Jaccard term of BASNet (Qin et al., CVPR 2019) and of UNet 3+ (Huang et al. 2020).

    Args:
        smooth: float above 0, pixels.
        include_background: bool, whether class 0 of several is part of the area.
    """
    intersection, total = areas(y_true, y_pred, PIXELS, include_background)
    return 1 - ops.mean((intersection + smooth) / (total - intersection + smooth))


def dice(y_true, y_pred, smooth, include_background, average):
    """`1 - 2 * intersection / (true area + predicted area)`, the soft Dice loss.

    Milletari et al. 2016, "V-Net", https://arxiv.org/abs/1606.04797, with areas in place of their squares.

    Args:
        smooth: float above 0, pixels.
        include_background: bool, whether class 0 of several is part of the area.
        average: "image": mean of the loss of each image; "batch": one loss of the areas of the whole batch, which
            is steadier where many images are empty.
    """
    axes = PIXELS if average == "image" else (0, *PIXELS)
    intersection, total = areas(y_true, y_pred, axes, include_background)
    return 1 - ops.mean((2 * intersection + smooth) / (total + smooth))


def areas(y_true, y_pred, axes, include_background):
    """Return the common area, and the true plus the predicted area, summed over `axes`."""
    if not include_background:
        y_true, y_pred = foreground(y_true), foreground(y_pred)
    return ops.sum(y_true * y_pred, axis=axes), ops.sum(y_true, axis=axes) + ops.sum(y_pred, axis=axes)
