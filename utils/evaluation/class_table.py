"""One row a class: what the terminal and the report show of a split, and what a constant answer would have."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from omegaconf import DictConfig

from losses.constant_answer import best_constant, constant_scores, unpredicted_classes
from utils.base.classes import is_multi_label
from utils.config.class_names import has_background, mask_class_names
from utils.evaluation.case_scores import ScoredCase
from utils.evaluation.evaluator import Evaluator

# Column -> name of the score in the regions of a summary. Columns have the names of the scores of the whole set.
COLUMNS = {"dice": "dice_global", "iou": "iou_global", "precision": "precision", "sensitivity": "sensitivity"}


@dataclass
class ClassRow:
    """A class, all foreground, the mean of the classes, or the best constant answer.

    Attributes:
        name: for readers.
        region: "class<n>" or "foreground"; None for a mean or a constant answer.
        scores: {column: value}; what is not defined is missing.
        low, high: 95% interval of Dice, or None.
        cases: how many have the class in truth or prediction, or None.
    """

    name: str
    region: str | None
    scores: dict[str, float] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    cases: int | None = None


def true_counts(cases: list[ScoredCase]) -> np.ndarray:
    """Pixels of each true class in each image: int64 `(images, classes)`."""
    return np.stack([case.confusion.sum(1) for case in cases])


def find_baseline(cfg: DictConfig, evaluator: Evaluator) -> dict[str, tuple[float, int]]:
    """`losses.constant_answer.best_constant` of the images; empty for classes that may overlap."""
    if is_multi_label(cfg):
        return {}
    return best_constant(true_counts(evaluator.images), has_background(cfg))


def find_warnings(cfg: DictConfig, evaluator: Evaluator) -> list[str]:
    """A sentence if classes that occur are hardly ever predicted, or if everything is predicted as one class."""
    if is_multi_label(cfg):
        return []
    confusion, names = evaluator.confusion(), mask_class_names(cfg)
    missing = unpredicted_classes(confusion)
    if not missing:
        return []
    predicted = np.flatnonzero(confusion.sum(0))
    if len(predicted) == 1:
        return [f"every pixel is predicted as {names[predicted[0]]}: the network has learnt nothing yet."]
    shown = ", ".join(f"{names[index]} ({index})" for index in missing[:3])
    shown += f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return [f"hardly ever predicted, though in the truth: {shown}."]


def class_rows(cfg: DictConfig, summary: dict[str, Any], evaluator: Evaluator) -> Iterator[ClassRow]:
    """The rows of a split: classes in their order, all foreground, their mean, the best constant answer.

    Args:
        summary: of `Evaluator.result`.
    """
    names, classes = mask_class_names(cfg), []
    for region, found in summary["regions"].items():
        dice = found.get("dice_global")
        row = ClassRow(
            "all foreground" if region == "foreground" else names[int(region.removeprefix("class"))],
            region,
            {column: found[score]["value"] for column, score in COLUMNS.items() if score in found},
            dice and dice["low"],
            dice and dice["high"],
            dice["cases"] if dice else 0,
        )
        classes += [row] if region != "foreground" else []
        yield row
    if len(classes) > 1:
        values = {name: [row.scores[name] for row in classes if name in row.scores] for name in COLUMNS}
        yield ClassRow(
            "mean of classes", None, {name: float(np.mean(found)) for name, found in values.items() if found}
        )
    constant = constant_row(cfg, evaluator)
    if constant is not None:
        yield constant


def constant_row(cfg: DictConfig, evaluator: Evaluator) -> ClassRow | None:
    """What the constant answer with the best mean Dice scores; None if there is none."""
    baseline = find_baseline(cfg, evaluator)
    if "dice" not in baseline:
        return None
    answer = baseline["dice"][1]
    scores = constant_scores(true_counts(evaluator.images), answer, has_background(cfg))
    shown = {name: scores[name] for name in COLUMNS if not np.isnan(scores[name])}
    return ClassRow(f"constant: {mask_class_names(cfg)[answer]}", None, shown)
