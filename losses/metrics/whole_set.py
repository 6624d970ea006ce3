"""Scores of all pixels of a set, as if it was one image."""

from typing import Any

import numpy as np
from keras import KerasTensor, ops
from omegaconf import DictConfig

from losses.metrics.counts import (
    count_confusion,
    count_pixels,
    count_tables,
    mean_of_defined,
    of_each_class,
    overlap_results,
)
from losses.metrics.exact_sums import ExactSums
from losses.targets import foreground
from utils.base.classes import is_multi_label
from utils.config.class_names import has_background


class OverlapScores(ExactSums):
    """Dice and IoU of each class from the pixels of the whole set, as if it was one image.

    `result()` is a dict of scalars in [0, 1]: `dice`, `iou` are the means over the foreground classes that occur in
    truth or prediction, `dice_class1`, `iou_class1` ... are those of one class. With several classes there are
    `..._class0`, the background, and `iou_all_classes`, the mean with it. A class that never occurs is NaN; so are the
    means if none occurs. With `multi_label` class n is channel n - 1, and there is no background. With `background`
    false class 0 of several is a class like the others, and all means have it.
    """

    def __init__(
        self,
        classes: int,
        ignore_label: int | None = None,
        name: str = "overlap",
        dtype: str | None = None,
        multi_label: bool = False,
        background: bool = True,
    ) -> None:
        super().__init__((3, classes), classes, ignore_label, name, dtype, multi_label, background)

    def measure_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        return ops.stack(count_pixels(y_true, y_pred, self.ignore_label, self.multi_label), axis=1)

    def result(self) -> dict[str, KerasTensor]:
        common, true, predicted = ops.unstack(self.sums(), 3)
        results = overlap_results(common, true, predicted, self.multi_label, self.background)
        if common.shape[0] > 1 and not self.multi_label:
            results["iou_all_classes"] = mean_of_defined(common, true + predicted - common)
        return results


class ConfusionScores(ExactSums):
    """What follows from the confusion matrix of the whole set.

    `result()` is a dict of scalars in [0, 1], NaN where there is nothing to divide by:

        dice, iou, and both for each class: as `OverlapScores`;
        sensitivity (true-positive rate, recall), precision, specificity: mean over foreground classes, and each class;
        dice_all_classes, iou_all_classes, sensitivity_all_classes: mean over all classes, background included;
        pixel_accuracy: share of pixels whose class is right.

    Means leave out the classes where the score is not defined. Each pixel has one true class: with overlapping maps
    a pixel counts in the row of each. With `background=False` class 0 of several is a class like the others.
    """

    def __init__(
        self,
        classes: int,
        ignore_label: int | None = None,
        name: str = "confusion",
        dtype: str | None = None,
        background: bool = True,
    ) -> None:
        size = max(classes, 2)
        super().__init__((size, size), classes, ignore_label, name, dtype, background=background)

    def measure_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        return count_confusion(y_true, y_pred, self.ignore_label)

    def confusion_matrix(self) -> np.ndarray:
        """Pixels of each true class (row) predicted as each class (column): exact int64 array, a single class as two.

        Call it after the evaluation, outside the step.
        """
        low, high = (ops.convert_to_numpy(part).astype(np.int64) for part in (self.low, self.high))
        return high * self.UNIT + low

    def result(self) -> dict[str, KerasTensor]:
        matrix = self.sums()
        common, true, predicted = ops.diagonal(matrix), ops.sum(matrix, axis=1), ops.sum(matrix, axis=0)
        pixels = ops.sum(true)
        negative = pixels - true
        first = 1 if self.classes == 1 else 0  # a single class has no results of its background
        results = overlap_results(common[first:], true[first:], predicted[first:], background=self.background)
        for name, part, whole in (
            ("sensitivity", common, true),
            ("precision", common, predicted),
            ("specificity", negative - (predicted - common), negative),
        ):
            results[name] = mean_of_defined(*(foreground(pixels, not self.background) for pixels in (part, whole)))
            results |= of_each_class(name, (part / whole)[first:], first)
        results["dice_all_classes"] = mean_of_defined(2 * common, true + predicted)
        results["iou_all_classes"] = mean_of_defined(common, true + predicted - common)
        results["sensitivity_all_classes"] = mean_of_defined(common, true)
        results["pixel_accuracy"] = ops.sum(common) / pixels
        return results


class TableScores(ExactSums):
    """The scores of `ConfusionScores` that classes which may overlap have, each class counted by itself.

    `result()` is a dict of scalars in [0, 1], NaN where there is nothing to divide by: `dice`, `iou`, `sensitivity`,
    `precision` and `specificity`, each as mean over the classes where it is defined, and of each class.
    """

    def __init__(
        self, classes: int, ignore_label: int | None = None, name: str = "confusion", dtype: str | None = None
    ) -> None:
        super().__init__((classes, 2, 2), classes, ignore_label, name, dtype, multi_label=True)

    def measure_images(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        return count_tables(y_true, y_pred, self.ignore_label)[:, 1:]

    def result(self) -> dict[str, KerasTensor]:
        tables = self.sums()
        (rejected, false), (missed, common) = (ops.unstack(row, axis=1) for row in ops.unstack(tables, axis=1))
        results = overlap_results(common, common + missed, common + false, multi_label=True)
        for name, part, whole in (
            ("sensitivity", common, common + missed),
            ("precision", common, common + false),
            ("specificity", rejected, rejected + false),
        ):
            results[name] = mean_of_defined(part, whole)
            results |= of_each_class(name, part / whole, first=1)
        return results

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["multi_label"]
        return config


def overlap_scores(cfg: DictConfig) -> OverlapScores:
    """Dice and IoU of each class over the whole set."""
    form = (cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL)
    return OverlapScores(*form, multi_label=is_multi_label(cfg), background=has_background(cfg))


def confusion_scores(cfg: DictConfig) -> ConfusionScores | TableScores:
    """All that follows from the confusion matrix of the whole set, or from a table for each overlapping class."""
    form = (cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL)
    return TableScores(*form) if is_multi_label(cfg) else ConfusionScores(*form, background=has_background(cfg))
