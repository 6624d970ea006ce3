"""Scores of each channel for itself, whichever is the largest."""

from keras import KerasTensor, ops
from omegaconf import DictConfig

from losses.metrics.exact_sums import ExactSums
from losses.targets import prepare
from utils.base.classes import is_multi_label


class ChannelScores(ExactSums):
    """Scores of each channel for itself, whichever is the largest, over the whole set.

    `result()` is a dict of scalars in [0, 1], of all channels (the background of several included):

        soft_dice_flat: `(2 sum(y p) + 1) / (sum(y) + sum(p) + 1)`, sums over pixels and channels;
        soft_dice_channels: the same with sums over the pixels of a channel, mean over channels;
        binary_accuracy: share of (pixel, channel) pairs where p > 0.5 where the truth is, and only there.
    """

    def __init__(
        self,
        classes: int,
        ignore_label: int | None = None,
        name: str = "channels",
        dtype: str | None = None,
        multi_label: bool = False,
    ) -> None:
        # Axis 0: products, truths, probabilities, right decisions, pixels.
        super().__init__((5, classes), classes, ignore_label, name, dtype, multi_label)

    def measure_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        y_true, y_pred, valid = prepare(y_true, y_pred, self.ignore_label, self.multi_label)
        counted = ops.ones_like(y_pred) if valid is None else ops.broadcast_to(valid, ops.shape(y_pred))
        right = ops.cast((y_true > 0.5) == (y_pred > 0.5), "float32")
        maps = (y_true * y_pred, y_true, y_pred, right, ops.ones_like(y_pred))
        return ops.stack([ops.sum(values * counted, axis=(1, 2)) for values in maps], axis=1)

    def result(self) -> dict[str, KerasTensor]:
        common, true, predicted, right, pixels = ops.unstack(self.sums(), 5)
        return {
            "soft_dice_flat": (2 * ops.sum(common) + 1) / (ops.sum(true + predicted) + 1),
            "soft_dice_channels": ops.mean((2 * common + 1) / (true + predicted + 1)),
            "binary_accuracy": ops.sum(right) / ops.sum(pixels),
        }


def channel_scores(cfg: DictConfig) -> ChannelScores:
    """Scores of the probabilities, and of a threshold of 0.5 in each channel."""
    return ChannelScores(cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL, multi_label=is_multi_label(cfg))
