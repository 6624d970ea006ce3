"""What a network scores that gives the same class to every pixel, exactly, from the pixels of each class in each image.

A score means little unless it is clearly above that of the best such answer: where nine of ten pixels are cell, "cell
everywhere" has a Dice of 0.95.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Self

import numpy as np
from omegaconf import DictConfig

from utils.base.classes import is_multi_label
from utils.config.class_names import has_background

Answer = tuple[int, ...]  # the classes that every pixel gets: one; of overlapping classes any number


@dataclass(frozen=True)
class Scoring:
    """How metrics average, as far as constant answers depend on it.

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


def best_constant(counts: np.ndarray, scoring: Scoring | None = None) -> dict[str, tuple[float, Answer]]:
    """The best score that a constant answer has, by each score by itself.

    Args:
        counts: int `(images, classes)`, pixels of each class, class 0 first, ignored ones left out. Of overlapping
            classes the first column is all pixels that are not ignored.
        scoring: how metrics average; None: as they do by default.

    Returns:
        `{name: (score, answer)}`, names as in `losses.AVERAGING`; of equal answers the first. A score that no answer
        defines is left out; without pixels it is empty.

    Example, 6 of 10 pixels are foreground:
        >>> best_constant(np.array([[4, 6]]))["dice"]
        (0.75, (1,))
    """
    scoring = scoring or Scoring()
    best: dict[str, tuple[float, Answer]] = {}
    for answer in possible_answers(counts.shape[1], scoring.overlapping) if counts.sum() else []:
        for name, score in constant_scores(counts, answer, scoring).items():
            if not np.isnan(score) and (name not in best or score > best[name][0]):
                best[name] = (score, answer)
    return best


def possible_answers(classes: int, overlapping: bool) -> list[Answer]:
    """Every constant answer, `classes` counted with class 0.

    >>> possible_answers(3, overlapping=False), possible_answers(3, overlapping=True)
    ([(0,), (1,), (2,)], [(), (1,), (2,), (1, 2)])
    """
    if not overlapping:
        return [(index,) for index in range(classes)]
    return list(chain.from_iterable(combinations(range(1, classes), size) for size in range(classes)))


def answer_name(answer: Answer, names: Sequence[str]) -> str:
    """A constant answer for readers.

    >>> answer_name((1,), ["background", "liver"]), answer_name((), ["background", "liver"])
    ('liver', 'none')
    """
    return " + ".join(names[index] for index in answer) or "none"


def constant_scores(counts: np.ndarray, answer: Answer, scoring: Scoring | None = None) -> dict[str, float]:
    """All scores of one constant answer, given with certainty, NaN where undefined; arguments as in `best_constant`."""
    scoring = scoring or Scoring()
    pixels = counts[:, :1] if scoring.overlapping else counts.sum(1, keepdims=True)
    shift = int(scoring.overlapping)
    true = counts[:, shift:].astype(float)
    chosen = np.isin(np.arange(shift, counts.shape[1]), answer)
    areas = np.stack([chosen * true, true, chosen * pixels.astype(float)])
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            **scores_of_set(areas, int(pixels.sum()), scoring),
            **scores_of_images(areas, scoring),
            **scores_of_channels(areas[..., int(scoring.single) :], int(pixels.sum())),
        }


def scores_of_set(areas: np.ndarray, pixels: int, scoring: Scoring) -> dict[str, float]:
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
        scores |= of_each_class(name, values, int(scoring.overlapping))
    if scoring.overlapping:
        return scores
    for name in ("dice", "iou", "sensitivity"):
        scores[f"{name}_all_classes"] = mean_of_defined(each[name])
    return {**scores, "pixel_accuracy": float(common.sum() / pixels)}


def scores_of_images(areas: np.ndarray, scoring: Scoring) -> dict[str, float]:
    """The metrics `dice_coef` and `images`; areas as in `scores_of_set`."""
    common, true, predicted = areas[..., scoring.first :]
    total = true + predicted
    there = total > 0
    counted = (there if scoring.empty == "skip" else np.ones_like(there)).sum(0)
    scores = {"dice_coef": float(((2 * common + 1e-9) / (total + 1e-9)).mean())}
    for name, values in (("dice_images", 2 * common / total), ("iou_images", common / (total - common))):
        means = np.where(there, values, float(scoring.empty == "one")).sum(0) / counted
        scores[name] = mean_of_defined(means)
        scores |= of_each_class(name, means, int(scoring.background or scoring.overlapping))
    return scores


def scores_of_channels(areas: np.ndarray, pixels: int) -> dict[str, float]:
    """The metrics `channels` and `soft_images`; areas as in `scores_of_set`, of the channels of a network."""
    common, true, predicted = areas

    def soft(axis: int | tuple[()] | None) -> float:
        """Dice of sums over an axis, mean over what is left."""
        return float(((2 * common.sum(axis) + 1) / (true.sum(axis) + predicted.sum(axis) + 1)).mean())

    wrong = (true + predicted - 2 * common).sum()
    return {
        "soft_dice_flat": soft(None),
        "soft_dice_channels": soft(0),
        "binary_accuracy": float(1 - wrong / (pixels * true.shape[1])),
        "soft_dice_images": soft(1),
        "soft_dice_images_channels": soft(()),
    }


def of_each_class(name: str, values: np.ndarray, first: int) -> dict[str, float]:
    """`{name_class<n>: value}` of `(classes,)`, n from `first` on."""
    return {f"{name}_class{index}": float(value) for index, value in enumerate(values, first)}


def mean_of_defined(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
