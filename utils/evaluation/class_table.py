"""One row a class: what the terminal and the report show of a split, and what a constant answer would have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from losses.bad_fit import explain_empty_masks, explain_tiny_classes
from losses.constant_answer import Answer, Scoring, answer_name, best_constant, constant_scores
from losses.learnt import dice_of_confusion, explain_low_score, explain_unfound
from losses.monitor import default_monitor
from utils.base.job_table import Row
from utils.config.class_names import has_background, mask_class_names
from utils.evaluation.case_scores import ScoredCase, score_set

if TYPE_CHECKING:
    from utils.evaluation.evaluator import Evaluator
    from utils.evaluation.split_result import SplitResult

COLUMNS = ("dice", "iou", "precision", "sensitivity")  # scores of all pixels of the set
OF_FOLDS = (*COLUMNS, "dice_per_case")


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
    """Pixels of each true class in each image, int64 `(images, classes)`; of overlapping ones first those of all."""
    confusions = np.stack([case.confusion for case in cases])
    if confusions.ndim == 3:
        return confusions.sum(2)
    return np.column_stack([confusions[:, 0].sum((1, 2)), confusions[:, 1:, 1].sum(2)])


def known_counts(cases: list[ScoredCase]) -> np.ndarray | None:
    """Pixels of which each of overlapping classes is known, int64 `(images, classes)`; None of other classes."""
    confusions = np.stack([case.confusion for case in cases])
    return None if confusions.ndim == 3 else confusions[:, 1:].sum((2, 3))


def find_baseline(cfg: DictConfig, evaluator: Evaluator) -> dict[str, tuple[float, Answer]]:
    """`losses.constant_answer.best_constant` of the images."""
    return best_constant(true_counts(evaluator.images), Scoring.from_config(cfg), known_counts(evaluator.images))


def find_bad_fits(cfg: DictConfig, evaluator: Evaluator) -> list[str]:
    """Sentences: what the size of the classes and cases without any make scores say little about."""
    cases, unit = evaluator.volumes or evaluator.images, "volume" if evaluator.volumes else "image"
    counts, first = true_counts(cases), int(has_background(cfg))
    return [
        *explain_tiny_classes(counts, mask_class_names(cfg), first, unit),
        *explain_empty_masks(counts, first, unit, cfg.EVALUATION.EMPTY_IMAGES),
    ]


def find_warnings(cfg: DictConfig, result: SplitResult) -> list[str]:
    """Sentences: all is predicted as one class, the score is that of a constant answer, classes are not found, or are
    too small for it."""
    if result.evaluator is None:
        return []
    confusion, names = result.evaluator.confusion(), mask_class_names(cfg)
    predicted = np.flatnonzero(confusion.sum(0)).tolist() if confusion.ndim == 2 else []
    dices = dice_of_confusion(confusion)
    if len(predicted) == 1 and set(dices) - set(predicted):
        return [f"every pixel is predicted as {names[predicted[0]]}: the network has learnt nothing yet."]
    name = default_monitor(cfg).name
    constant = find_baseline(cfg, result.evaluator).get(name, (None,))[0]
    low = explain_low_score(name, result.scores.get(name, np.nan), constant)
    unfound = explain_unfound(dices, names)
    # The median of one case is that case.
    bad_fits = find_bad_fits(cfg, result.evaluator) if len(result.evaluator.images) > 1 else []
    return [*(sentence for sentence in (low, unfound) if sentence), *bad_fits]


def region_labels(cfg: DictConfig, regions: Iterable[str]) -> dict[str, str]:
    """`{region: what readers call it}`: the name of its class, as everywhere."""
    names = mask_class_names(cfg)
    return {
        name: "all foreground" if name == "foreground" else names[int(name.removeprefix("class"))] for name in regions
    }


def class_rows(cfg: DictConfig, summary: dict[str, Any], evaluator: Evaluator) -> Iterator[ClassRow]:
    """The rows of a split: classes in their order, all foreground, their mean, the best constant answer.

    Args:
        summary: of `Evaluator.result`.
    """
    names, classes = region_labels(cfg, summary["regions"]), []
    for region, found in summary["regions"].items():
        dice = found.get("dice")
        row = ClassRow(
            names[region],
            region,
            {score: found[score]["value"] for score in COLUMNS if score in found},
            dice and dice["low"],
            dice and dice["high"],
            dice["cases"] if dice else 0,
        )
        classes += [row] if region != "foreground" else []
        yield row
    if len(classes) > 1:
        means = class_means(summary["regions"], COLUMNS)
        yield ClassRow("mean of classes", None, {name: mean for name, mean in means.items() if mean is not None})
    constant = constant_row(cfg, evaluator)
    if constant is not None:
        yield constant


def constant_row(cfg: DictConfig, evaluator: Evaluator) -> ClassRow | None:
    """What the constant answer with the best mean Dice scores; None if there is none."""
    baseline = find_baseline(cfg, evaluator)
    if "dice" not in baseline:
        return None
    answer = baseline["dice"][1]
    counts = true_counts(evaluator.images), known_counts(evaluator.images)
    scores = constant_scores(counts[0], answer, Scoring.from_config(cfg), counts[1])
    shown = {name: scores[name] for name in COLUMNS if not np.isnan(scores[name])}
    return ClassRow(f"constant: {answer_name(answer, mask_class_names(cfg))}", None, shown)


def class_means(regions: dict[str, dict[str, Any]], names: Sequence[str] = OF_FOLDS) -> dict[str, float | None]:
    """Scores, each the mean over the classes for which it is defined; None where it is for none.

    Args:
        regions: of `utils.evaluation.case_scores.score_set`.
        names: of the scores.
    """
    classes = [found for region, found in regions.items() if region != "foreground"]
    values = {name: [found[name]["value"] for found in classes if name in found] for name in names}
    return {name: float(np.mean(found)) if found else None for name, found in values.items()}


def score_folds(evaluator: Evaluator) -> list[dict[str, Any]]:
    """`{"fold": number, "images": int, "cases": int, "regions": of score_set}` of each fold; empty without folds.

    Args:
        evaluator: after its `result`.
    """
    cases, images = evaluator.volumes or evaluator.images, Counter(case.fold for case in evaluator.images)
    entries = []
    for fold, count in images.items():
        if fold is not None:
            own = [case for case in cases if case.fold == fold]
            regions = score_set(own, evaluator.regions, bootstrap=0, seed=0)
            entries.append({"fold": fold, "images": count, "cases": len(own), "regions": regions})
    return entries


def fold_rows(evaluator: Evaluator, names: Sequence[str] = OF_FOLDS) -> list[Row]:
    """`(fold, its scores of these names)` for the table of the folds, means over the classes; empty without folds."""
    return [
        (f"fold {entry['fold']}", list(class_means(entry["regions"], names).values()))
        for entry in score_folds(evaluator)
    ]


def constant_of_folds(cfg: DictConfig, evaluator: Evaluator, names: Sequence[str] = OF_FOLDS) -> list[Row]:
    """What the constant answer with the best mean Dice has, of all images together, as a row of the table of folds."""
    row = constant_row(cfg, evaluator)
    return [(row.name, [row.scores.get(name) for name in names])] if row else []
