"""Sums of binary cross-entropy and Dice as other projects write them, for comparing with their numbers.

Arguments and shapes are those of `losses.overlap`; all classes count, the background of several too. In other
proportions: the terms `bce` and `dice`, each with its weight in LOSS.
"""

from keras import KerasTensor

from losses.cross_entropy import binary_cross_entropy
from losses.overlap import dice


def bce_dice(y_true: KerasTensor, y_pred: KerasTensor, valid: KerasTensor | None, smooth: float) -> KerasTensor:
    """BCE + 1 - Dice, the Dice of the whole batch laid out flat."""
    return binary_cross_entropy(y_true, y_pred, valid) + dice(y_true, y_pred, valid, smooth, average="batch")


def bce_dice_half(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    smooth: float,
    counted: KerasTensor | None = None,
) -> KerasTensor:
    """BCE / 2 + 1 - Dice, the Dice of each image, mean over images."""
    return 0.5 * binary_cross_entropy(y_true, y_pred, valid) + dice(y_true, y_pred, valid, smooth, counted=counted)


def combo(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    valid: KerasTensor | None,
    smooth: float,
    counted: KerasTensor | None = None,
) -> KerasTensor:
    """0.05 BCE - 0.95 Dice, the Dice of each image, mean over images. The best value is -0.95."""
    return (
        0.05 * binary_cross_entropy(y_true, y_pred, valid)
        + 0.95 * dice(y_true, y_pred, valid, smooth, counted=counted)
        - 0.95
    )
