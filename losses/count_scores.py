"""Scores of masks from counted pixels, with NumPy: the rows of `losses.EVALUATION_METRICS` that need no probabilities.

`losses.metrics` has the same in Keras, batch by batch on the device; tests compare the two.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from omegaconf import DictConfig

from utils.base.class_bits import in_region, unpack
from utils.base.classes import is_multi_label
from utils.base.ignored_classes import is_known, plain
from utils.config.class_names import has_background


@dataclass(frozen=True)
class Scoring:
    """How metrics average.

    Attributes:
        background: whether class 0 is the background, which means over foreground classes leave out.
        single: whether the network has one channel, for the foreground of masks with two classes.
        overlapping: whether a pixel may be of several classes.
        empty: EVALUATION.EMPTY_IMAGES.
    """

    background: bool = True
    single: bool = False
    overlapping: bool = False
    empty: str = "skip"

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Self:
        """That of OUTPUT and EVALUATION."""
        return cls(has_background(cfg), cfg.OUTPUT.CLASSES == 1, is_multi_label(cfg), cfg.EVALUATION.EMPTY_IMAGES)

    @property
    def first(self) -> int:
        """The first column of true pixels that means over foreground classes count."""
        return int(self.background and not self.overlapping)


Pixels = int | np.ndarray  # of the whole set; `(classes,)` of overlapping classes that are ignored by themselves


def scores_of_set(areas: np.ndarray, pixels: Pixels, scoring: Scoring) -> dict[str, float]:
    """The metric `confusion`: common, true and predicted areas `(3, images, classes)`, `pixels` of the whole set."""
    common, true, predicted = areas.sum(1)
    each = {
        "dice": 2 * common / (true + predicted),
        "iou": common / (true + predicted - common),
        "sensitivity": common / true,
        "precision": common / predicted,
        "specificity": (pixels - true - predicted + common) / (pixels - true),
    }
    scores = {name: mean_of_defined(values[scoring.first :]) for name, values in each.items()}
    for name, values in each.items():
        # A single class has no scores of its background.
        scores |= of_each_class(name, values[int(scoring.single) :], int(scoring.overlapping or scoring.single))
    if scoring.overlapping:
        return scores
    for name in ("dice", "iou", "sensitivity"):
        scores[f"{name}_all_classes"] = mean_of_defined(each[name])
    return {**scores, "pixel_accuracy": float(common.sum() / pixels)}


def dice_coefficient(areas: np.ndarray, pixels: Pixels, scoring: Scoring) -> dict[str, float]:
    """The metric `dice_coef`; arguments as in `scores_of_set`."""
    common, true, predicted = areas[..., scoring.first :]
    return {"dice_coef": float(((2 * common + 1e-9) / (true + predicted + 1e-9)).mean())}


def scores_of_images(areas: np.ndarray, pixels: Pixels, scoring: Scoring) -> dict[str, float]:
    """The metric `images`; arguments as in `scores_of_set`."""
    common, true, predicted = areas[..., scoring.first :]
    total = true + predicted
    there = total > 0
    counted = (there if scoring.empty == "skip" else np.ones_like(there)).sum(0)
    scores: dict[str, float] = {}
    for name, values in (("dice_images", 2 * common / total), ("iou_images", common / (total - common))):
        means = np.where(there, values, float(scoring.empty == "one")).sum(0) / counted
        scores[name] = mean_of_defined(means)
        scores |= of_each_class(name, means, int(scoring.background or scoring.overlapping))
    return scores


def of_each_class(name: str, values: np.ndarray, first: int) -> dict[str, float]:
    """`{name_class<n>: value}` of `(classes,)`, n from `first` on."""
    return {f"{name}_class{index}": float(value) for index, value in enumerate(values, first)}


def mean_of_defined(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


# Rows of `losses.EVALUATION_METRICS` -> function (areas, pixels, scoring) -> {name: score}.
COUNT_METRICS: dict[str, Callable[[np.ndarray, Pixels, Scoring], dict[str, float]]] = {
    "dice_coef": dice_coefficient,
    "confusion": scores_of_set,
    "images": scores_of_images,
}


def scores_of_areas(
    areas: np.ndarray, pixels: Pixels, scoring: Scoring, metrics: Iterable[str] = tuple(COUNT_METRICS)
) -> dict[str, float]:
    """All scores of rows of COUNT_METRICS, NaN where undefined; arguments as in `scores_of_set`."""
    scores: dict[str, float] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for name in metrics:
            scores |= COUNT_METRICS[name](areas, pixels, scoring)
    return scores


def scores_of_counts(confusions: np.ndarray, scoring: Scoring, metrics: Iterable[str]) -> dict[str, float]:
    """`scores_of_areas` from the confusion of each image.

    Args:
        confusions: of `confusion_of_masks`, stacked: int `(images, n, n)`, of overlapping classes `(images, n, 2, 2)`.
        scoring: how metrics average.
        metrics: rows of COUNT_METRICS.

    >>> round(scores_of_counts(np.array([[[86, 4], [2, 6]]]), Scoring(), ["confusion"])["dice"], 3)
    0.667
    """
    counts = confusions.astype(float)
    if scoring.overlapping:
        tables = counts[:, 1:]
        areas = np.stack([tables[:, :, 1, 1], tables[:, :, 1].sum(2), tables[:, :, :, 1].sum(2)])
        return scores_of_areas(areas, confusions[:, 1:].sum((0, 2, 3)), scoring, metrics)
    areas = np.stack([np.diagonal(counts, axis1=1, axis2=2), counts.sum(2), counts.sum(1)])
    return scores_of_areas(areas, int(confusions.sum()), scoring, metrics)


def confusion_of_masks(
    truth: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    ignore_label: int | None = None,
    multi_label: bool = False,
) -> np.ndarray:
    """The confusion of two masks, as `losses.metrics.counts.count_confusion` and `count_tables` have it.

    Args:
        truth, predicted: uint8, of one shape; class indices, or the bits of overlapping classes.
        classes: with class 0.
        ignore_label: pixels of that value in the truth are not counted.
        multi_label: whether classes overlap.

    Returns:
        int64 `(classes, classes)`, rows truth; of overlapping classes `(classes, 2, 2)`, a table of absent and present
        for each, the first of pixels with any class.

    >>> confusion_of_masks(np.uint8([0, 1, 1, 255]), np.uint8([0, 1, 0, 1]), classes=2, ignore_label=255).tolist()
    [[1, 0], [1, 1]]
    """
    if ignore_label is not None:
        valid = plain(truth) != ignore_label
        truth, predicted = truth[valid], predicted[valid]
    if multi_label and truth.dtype == np.uint16:
        return tables_of_known(truth, predicted, classes, ignore_label)
    if not multi_label:
        pairs = truth.astype(np.int64).ravel() * classes + predicted.ravel()
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    values = 2 ** (classes - 1)
    pairs = np.bincount(truth.astype(np.int64).ravel() * values + predicted.ravel(), minlength=values**2)
    has = unpack(np.arange(values, dtype=np.uint8), classes - 1).astype(np.int64)
    has = np.concatenate([has.any(1, keepdims=True), has], axis=1)
    member = np.stack([1 - has, has], axis=-1)  # (value, class, absent or present)
    return np.einsum("tca,tp,pcb->cab", member, pairs.reshape(values, values), member, optimize=True)


def tables_of_known(truth: np.ndarray, predicted: np.ndarray, classes: int, ignore_label: int | None) -> np.ndarray:
    """`confusion_of_masks` of a truth in which classes are ignored by themselves."""
    tables = []
    regions = [[*range(1, classes)], *([index] for index in range(1, classes))]
    for region in regions:
        known = is_known(truth, region, ignore_label, multi_label=True)
        pairs = 2 * in_region(truth, region, True)[known] + in_region(predicted, region, True)[known]
        tables.append(np.bincount(pairs, minlength=4).reshape(2, 2))
    return np.stack(tables)
