"""Losses that compare local structure: SSIM and multi-scale SSIM.

Every term takes `y_true` (one map per class), `y_pred` (probabilities), both float32
`(batch, height, width, classes)` in [0, 1], and `valid` (`losses.targets.prepare`), and returns a scalar, 0 for equal
maps. The values are those of `tf.image.ssim` and `tf.image.ssim_multiscale` with `max_val=1`.

Ignored pixels are 0 in both maps, so that nothing predicted there matters, and the means leave out the windows that
are centred on one (in MS-SSIM a coarse pixel counts by its share of valid ones). An image without a valid window is no
loss.
"""

import numpy as np
from keras import KerasTensor, ops

from losses import check_size
from losses.targets import mean_of_images, mean_of_valid

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2

# Weight of each level, finest first: table of Wang et al. 2003.
LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(y_true: KerasTensor, y_pred: KerasTensor, valid: KerasTensor | None) -> KerasTensor:
    """`1 - SSIM`, mean over positions, classes and images.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".

    Raises:
        UserError: height or width is below the 11 pixels of the window.
    """
    check_size("ssim", *y_pred.shape[1:3])
    luminance, structure = similarity(y_true, only_valid(y_pred, valid))
    return mean_of_valid(1 - luminance * structure, centres(valid))


def ms_ssim(
    y_true: KerasTensor, y_pred: KerasTensor, valid: KerasTensor | None, counted: KerasTensor | None = None
) -> KerasTensor:
    """`1 - MS-SSIM` over five levels, mean over classes and images (`counted`: see `mean_of_images`).

    Wang et al. 2003, "Multiscale structural similarity for image quality assessment".

    Raises:
        UserError: height or width is below 176 pixels, where the window does not fit the fifth level.
    """
    check_size("ms_ssim", *y_pred.shape[1:3])
    y_pred = only_valid(y_pred, valid)
    product = 1.0
    for level, weight in enumerate(LEVEL_WEIGHTS, start=1):
        luminance, structure = similarity(y_true, y_pred)
        last = level == len(LEVEL_WEIGHTS)
        score = 1 - mean_of_valid(1 - (luminance * structure if last else structure), centres(valid), axis=(1, 2))
        product = product * power_of_positive(score, weight)
        if not last:
            y_true, y_pred = halve(y_true), halve(y_pred)
            valid = None if valid is None else halve(valid)
    return 1 - mean_of_images(product, counted)


def only_valid(maps: KerasTensor, valid: KerasTensor | None) -> KerasTensor:
    """Set ignored pixels to 0."""
    return maps if valid is None else maps * valid


def centres(valid: KerasTensor | None) -> KerasTensor | None:
    """The part of `valid` on which the windows that lie inside the image are centred."""
    border = WINDOW // 2
    return None if valid is None else valid[:, border:-border, border:-border]


def similarity(x: KerasTensor, y: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return luminance and contrast-structure, each `(batch, height - 10, width - 10, classes)`."""
    # One pass filters all four maps; x*x and y*y are only needed as a sum.
    means = blur(ops.concatenate([x, y, x * x + y * y, x * y], axis=-1))
    mean_x, mean_y, mean_squares, mean_product = ops.split(means, 4, axis=-1)
    product_of_means = 2 * mean_x * mean_y
    squares_of_means = mean_x * mean_x + mean_y * mean_y
    luminance = (product_of_means + C1) / (squares_of_means + C1)
    structure = (2 * mean_product - product_of_means + C2) / (mean_squares - squares_of_means + C2)
    return luminance, structure


def blur(maps: KerasTensor) -> KerasTensor:
    """Weighted mean of each 11x11 window, Gaussian weights, windows inside the image only."""
    # The Gaussian is separable: 22 taps a pixel in place of 121. Not as products with banded matrices, a little
    # faster on CPU: GPUs round these to TensorFloat-32, too coarse for a variance taken as a difference of means.
    channels = maps.shape[-1]
    distance = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (distance / SIGMA) ** 2)
    weights = np.tile(weights / weights.sum(), (channels, 1)).T.astype("float32")
    for kernel in (weights[:, None, :, None], weights[None, :, :, None]):
        maps = ops.depthwise_conv(maps, kernel, padding="valid", data_format="channels_last")
    return maps


def halve(maps: KerasTensor) -> KerasTensor:
    """Mean of each 2x2 block; the last row or column of an odd side is averaged alone."""
    return ops.average_pool(maps, 2, strides=2, padding="same", data_format="channels_last")


def power_of_positive(score: KerasTensor, exponent: float) -> KerasTensor:
    """`max(score, 0) ** exponent` with gradient 0 at 0, where that of the power is infinite."""
    positive = score > 1e-6
    return ops.where(positive, ops.power(ops.where(positive, score, 1.0), exponent), 0.0)
