"""Scores of each image, mean over images."""

from typing import Any

from keras import KerasTensor, ops
from omegaconf import DictConfig

from losses.metrics.counts import count_pixels, mean_of_defined, of_each_class
from losses.metrics.exact_sums import ExactSums
from losses.targets import foreground, prepare
from utils.base.classes import is_multi_label
from utils.config.class_names import has_background


class DiceCoefficient(ExactSums):
    """Mean over images of the Dice coefficient of the foreground, in [0, 1].

    An image where truth and prediction are both empty counts 1, so that many empty images flatter the mean:
    `OverlapScores` does not have this, nor has `ImageScores` unless asked. For one and two classes the value is that of
    the TensorFlow port of UNet 3+, smoothing of 1e-9 included. With more classes it is the mean over the foreground
    classes, each absent from truth and prediction counting 1; the port multiplies label numbers there, which is no
    Dice coefficient. With `background=False` class 0 of several is a class like the others.
    """

    def __init__(
        self,
        ignore_label: int | None = None,
        name: str = "dice_coef",
        dtype: str | None = None,
        multi_label: bool = False,
        background: bool = True,
    ) -> None:
        super().__init__((2,), None, ignore_label, name, dtype, multi_label, background)

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: KerasTensor | None = None) -> None:
        """Add a batch; `sample_weight` is one weight of at least 0 per image."""
        dice = self.dice_of_images(y_true, y_pred)
        weight = ops.ones_like(dice) if sample_weight is None else ops.cast(sample_weight, "float32")
        self.add(ops.stack([ops.round(dice * weight * self.STEPS), weight], axis=-1))

    def measure_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        dice = self.dice_of_images(y_true, y_pred)
        return ops.stack([ops.round(dice * self.STEPS), ops.ones_like(dice)], axis=-1)

    def dice_of_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """float32 `(batch,)`."""
        counts = count_pixels(y_true, y_pred, self.ignore_label, self.multi_label)
        common, true, predicted = (foreground(pixels, not self.background) for pixels in counts)
        return ops.mean((2 * common + 1e-9) / (true + predicted + 1e-9), axis=-1)

    def result(self) -> KerasTensor:
        total, images = ops.unstack(self.sums(), 2)
        return ops.divide_no_nan(total / self.STEPS, images)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["classes"]
        return config


class ImageScores(ExactSums):
    """Dice and IoU of each class in each image, mean over images.

    `result()` is a dict of scalars in [0, 1]: `dice_images_class1`, `iou_images_class1` ... are the means over images,
    `dice_images`, `iou_images` the means of those over the foreground classes. No image counted is NaN, and left out
    of the mean over classes.

    Args:
        empty: what an image counts where a class is absent from truth and prediction: "one", "zero", or "skip", not at
            all. Where only the truth is without the class the image always counts 0.
    """

    def __init__(
        self,
        classes: int,
        empty: str = "skip",
        ignore_label: int | None = None,
        name: str = "images",
        dtype: str | None = None,
        multi_label: bool = False,
        background: bool = True,
    ) -> None:
        # Axis 0: Dice, IoU, images counted.
        shape = (3, classes if classes == 1 or multi_label or not background else classes - 1)
        super().__init__(shape, classes, ignore_label, name, dtype, multi_label, background)
        self.empty = empty

    def measure_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        counts = count_pixels(y_true, y_pred, self.ignore_label, self.multi_label)
        common, true, predicted = (foreground(pixels, not self.background) for pixels in counts)
        total = true + predicted
        value = 1.0 if self.empty == "one" else 0.0
        dice = ops.where(total > 0, 2 * common / ops.maximum(total, 1.0), value)
        iou = ops.where(total > 0, common / ops.maximum(total - common, 1.0), value)
        counted = ops.cast(total > 0, "float32") if self.empty == "skip" else ops.ones_like(total)
        return ops.stack([ops.round(dice * self.STEPS), ops.round(iou * self.STEPS), counted], axis=1)

    def result(self) -> dict[str, KerasTensor]:
        dice, iou, images = ops.unstack(self.sums(), 3)
        results = {}
        for name, total in (("dice_images", dice), ("iou_images", iou)):
            results[name] = mean_of_defined(total / self.STEPS, images)
            results |= of_each_class(name, total / self.STEPS / images, first=int(self.background or self.multi_label))
        return results

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "empty": self.empty}


class SoftImageScores(ExactSums):
    """Dice of the probabilities of each image, mean over images.

    `result()` is a dict of scalars in [0, 1], of all channels (the background of several included); NaN without images:

        soft_dice_images: `(2 sum(y p) + 1) / (sum(y) + sum(p) + 1)` of each image, sums over its pixels and channels;
        soft_dice_images_channels: the same of each channel of each image, sums over its pixels.
    """

    def __init__(
        self,
        classes: int,
        ignore_label: int | None = None,
        name: str = "soft_images",
        dtype: str | None = None,
        multi_label: bool = False,
    ) -> None:
        # The two sums, images.
        super().__init__((3,), classes, ignore_label, name, dtype, multi_label)

    def measure_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        y_true, y_pred, valid = prepare(y_true, y_pred, self.ignore_label, self.multi_label)
        y_pred = y_pred if valid is None else y_pred * valid
        common, total = ops.sum(y_true * y_pred, axis=(1, 2)), ops.sum(y_true + y_pred, axis=(1, 2))
        of_image = (2 * ops.sum(common, axis=-1) + 1) / (ops.sum(total, axis=-1) + 1)
        of_channels = ops.mean((2 * common + 1) / (total + 1), axis=-1)
        scores = [ops.round(score * self.STEPS) for score in (of_image, of_channels)]
        return ops.stack([*scores, ops.ones_like(of_image)], axis=-1)

    def result(self) -> dict[str, KerasTensor]:
        of_image, of_channels, images = ops.unstack(self.sums(), 3)
        return {
            "soft_dice_images": of_image / self.STEPS / images,
            "soft_dice_images_channels": of_channels / self.STEPS / images,
        }


def dice_coefficient(cfg: DictConfig) -> DiceCoefficient:
    """The metric that training watches, `dice_coef`."""
    return DiceCoefficient(cfg.DATASET.IGNORE_LABEL, multi_label=is_multi_label(cfg), background=has_background(cfg))


def image_scores(cfg: DictConfig) -> ImageScores:
    """Dice and IoU of each image, mean over images."""
    form = (cfg.OUTPUT.CLASSES, cfg.EVALUATION.EMPTY_IMAGES, cfg.DATASET.IGNORE_LABEL)
    return ImageScores(*form, multi_label=is_multi_label(cfg), background=has_background(cfg))


def soft_image_scores(cfg: DictConfig) -> SoftImageScores:
    """Dice of the probabilities of each image, mean over images."""
    return SoftImageScores(cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL, multi_label=is_multi_label(cfg))
