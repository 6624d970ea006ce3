"""Scores of cases and of a set, from counted pixels, with the cases that a mean leaves out and confidence intervals.

A case is a volume, or an image where names carry no volumes. A region is a class, or all foreground classes together
(`foreground`, if there are several: the "liver" of the LiTS challenge, of which tumours are part). Dice per case and
global Dice are those of Bilic et al. 2023, "The Liver Tumor Segmentation Benchmark (LiTS)",
https://arxiv.org/abs/1901.04056.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from losses.whole_images import Part
from utils.evaluation.score_table import STATES, SURFACE_SCORES, in_order

Regions = Mapping[str, Sequence[int]]  # {name: class indices}


@dataclass
class ScoredCase:
    """The pixels of an image or of a volume, counted.

    Attributes:
        name: file name, or name of the volume.
        confusion: int64 `(n, n)`, rows truth, columns prediction; of overlapping classes `(n, 2, 2)`, a table of
            absent and present for each, the first of all of them together.
        volume, slice: the volume it is or belongs to, and which slice of it; None where there are no volumes.
        images: how many images it consists of.
        voxel_ml: volume of a voxel, None if the spacing is unknown.
        fold: of the network that predicted it; None unless folds are evaluated together.
        surface: {region: scores of `losses.surface`, None where the region is absent}, or None if not computed.
        image_scores: {region: {score: (sum over its images, how many define it)}} of `losses.whole_images`.
    """

    name: str
    confusion: np.ndarray
    volume: str | None = None
    slice: int | None = None
    images: int = 1
    voxel_ml: float | None = None
    fold: int | None = None
    surface: dict[str, dict[str, float] | None] | None = None
    image_scores: dict[str, dict[str, Part]] = field(default_factory=dict)

    def join(self, other: ScoredCase) -> None:
        """Take the pixels and images of another case of the same volume."""
        self.confusion = self.confusion + other.confusion
        self.images += other.images
        for region, scores in other.image_scores.items():
            own = self.image_scores.setdefault(region, {})
            for score, (top, bottom) in scores.items():
                own[score] = (own.get(score, (0, 0))[0] + top, own.get(score, (0, 0))[1] + bottom)


def find_regions(classes: int, background: bool = True) -> dict[str, list[int]]:
    """`{name: class indices}`: each foreground class, and all of them together if there are several.

    Args:
        classes: with class 0.
        background: whether class 0 is the background; else it is a region like the others, and nothing is foreground.

    >>> find_regions(3)
    {'class1': [1], 'class2': [2], 'foreground': [1, 2]}
    """
    if not background:
        return {f"class{index}": [index] for index in range(classes)}
    regions = {f"class{index}": [index] for index in range(1, max(classes, 2))}
    return {**regions, "foreground": list(range(1, classes))} if len(regions) > 1 else regions


def score_region(confusion: np.ndarray, region: Sequence[int]) -> dict[str, Any]:
    """`{"true", "predicted", "common": pixels, "state", "dice", "iou"}` of a region of one case.

    Dice and IoU are None if the region is absent in truth and prediction.

    >>> score_region(np.array([[86, 4], [2, 6]]), [1])["iou"]
    0.5
    >>> score_region(np.array([[[80, 0], [0, 18]], [[86, 4], [2, 6]]]), [1])["iou"]
    0.5
    """
    if confusion.ndim == 3:
        confusion, region = confusion[region[0] if len(region) == 1 else 0], [1]
    common = int(confusion[np.ix_(region, region)].sum())
    true, predicted = int(confusion[region].sum()), int(confusion[:, region].sum())
    absent = true + predicted == 0
    return {
        "true": true,
        "predicted": predicted,
        "common": common,
        "state": {(1, 1): "found", (1, 0): "missed", (0, 1): "false_positive", (0, 0): "absent"}[
            int(true > 0), int(predicted > 0)
        ],
        "dice": None if absent else 2 * common / (true + predicted),
        "iou": None if absent else common / (true + predicted - common),
    }


def mean_dice(case: ScoredCase, regions: Regions) -> float | None:
    """Mean Dice of the foreground classes that occur in truth or prediction; None if none does."""
    dices = [score_region(case.confusion, region)["dice"] for name, region in regions.items() if name != "foreground"]
    dices = [dice for dice in dices if dice is not None]
    return sum(dices) / len(dices) if dices else None


def join_volumes(images: Iterable[ScoredCase]) -> list[ScoredCase]:
    """Cases of slices -> one case per volume, in the order of first appearance."""
    volumes: dict[str | None, ScoredCase] = {}
    for image in images:
        found = volumes.get(image.volume)
        if found is None:
            name, none = str(image.volume), np.zeros_like(image.confusion)
            found = ScoredCase(name, none, image.volume, images=0, voxel_ml=image.voxel_ml, fold=image.fold)
            volumes[image.volume] = found
        found.join(image)
    return list(volumes.values())


def score_set(cases: Sequence[ScoredCase], regions: Regions, bootstrap: int, seed: int) -> dict[str, dict[str, Any]]:
    """Scores of a set of cases.

    Args:
        cases: all cases of the set.
        regions: of `find_regions`.
        bootstrap: resamples of the cases; 0 for no intervals.
        seed: of the resampling.

    Returns:
        `{region: {"states": {state: cases}, score: {"value", "low", "high": float or None, "cases": int}}}`; low and
        high are the 95% percentile bootstrap interval (Efron 1979) over cases, None with fewer than 2 cases.
        A score that no case defines is left out.

    >>> summary = score_set([ScoredCase("a", np.array([[86, 4], [2, 6]]))], find_regions(2), bootstrap=0, seed=0)
    >>> round(summary["class1"]["dice"]["value"], 3)
    0.667
    """
    summary: dict[str, dict[str, Any]] = {}
    for name, region in regions.items():
        states = [score_region(case.confusion, region)["state"] for case in cases]
        summary[name] = {"states": {state: states.count(state) for state in STATES}}
    keys, table = score_table(cases, regions)
    if not keys:
        return summary
    sums, (low, high) = table.sum(0), bootstrap_interval(table, bootstrap, seed)
    for number, (name, score) in enumerate(keys):
        value, count = float(sums[number, 0] / sums[number, 1]), int(np.count_nonzero(table[:, number, 1]))
        summary[name][score] = {"value": value, "low": low[number], "high": high[number], "cases": count}
    return summary


def score_table(cases: Sequence[ScoredCase], regions: Regions) -> tuple[list[tuple[str, str]], np.ndarray]:
    """The (region, score) pairs that some case defines, and `(case, score, numerator and denominator)`."""
    columns, keys = [], []
    for name, region in regions.items():
        parts = [fractions(case, name, score_region(case.confusion, region)) for case in cases]
        for score in in_order(score for part in parts for score in part):
            column = np.array([part.get(score, (0, 0)) for part in parts], float)
            if column[:, 1].any():
                columns.append(column)
                keys.append((name, score))
    return keys, np.stack(columns, axis=1) if columns else np.empty((len(cases), 0, 2))


def fractions(case: ScoredCase, name: str, row: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """`{score: (numerator, denominator)}` of a case: every score of a set is sum / sum over the cases.

    Args:
        case: the case.
        name: of the region.
        row: of `score_region`.
    """
    true, predicted, common = row["true"], row["predicted"], row["common"]
    parts: dict[str, tuple[float, float]] = {
        "dice": (2 * common, true + predicted),
        "iou": (common, true + predicted - common),
        "sensitivity": (common, true),
        "precision": (common, predicted),
        "dice_per_case_lits": (1 if row["dice"] is None else row["dice"], 1),
    }
    if row["dice"] is not None:
        parts["dice_per_case"], parts["iou_per_case"] = (row["dice"], 1), (row["iou"], 1)
    if case.volume is not None and true:
        parts["volume_error"] = ((predicted - true) / true, 1)
        parts["volume_error_abs"] = (abs(predicted - true) / true, 1)
    if case.volume is not None and case.voxel_ml is not None:
        parts["volume_error_ml"] = ((predicted - true) * case.voxel_ml, 1)
    for score, value in ((case.surface or {}).get(name) or {}).items():
        parts[score] = (value, 1)
    return parts | case.image_scores.get(name, {})


def bootstrap_interval(
    table: np.ndarray, bootstrap: int, seed: int
) -> tuple[list[float] | list[None], list[float] | list[None]]:
    """Lists `(low, high)` of the 95% percentile bootstrap of `sum(numerators) / sum(denominators)` over the cases.

    Args:
        table: `(case, score, 2)`, numerators and denominators.
        bootstrap: resamples; 0 gives None for every score, as do fewer than 2 cases.
        seed: of the resampling.
    """
    cases, scores, _ = table.shape
    if not bootstrap or cases < 2:
        return [None] * scores, [None] * scores
    low, high = np.nanpercentile(resample(table, bootstrap, seed), (2.5, 97.5), axis=0)
    return low.tolist(), high.tolist()


def resample(table: np.ndarray, bootstrap: int, seed: int) -> np.ndarray:
    """`sum(numerators) / sum(denominators)` of each resample of the cases, `(bootstrap, score)`; NaN if undefined."""
    cases, scores, _ = table.shape
    random = np.random.default_rng(seed)
    flat, resampled = table.reshape(cases, -1), np.empty((bootstrap, scores))
    for index in range(bootstrap):
        # How often each case was drawn; the cases themselves are not copied.
        drawn = np.bincount(random.integers(cases, size=cases), minlength=cases)
        top, bottom = (drawn @ flat).reshape(scores, 2).T
        with np.errstate(invalid="ignore", divide="ignore"):
            resampled[index] = top / bottom  # NaN where no drawn case defines it
    return resampled


def case_columns(case: ScoredCase, regions: Regions) -> dict[str, Any]:
    """`{column: value}` of a case, as the CSV tables hold it; "" for a score that is not defined."""
    is_volume = case.volume is not None and case.slice is None
    columns: dict[str, Any] = {"volume": case.volume, "images": case.images} if is_volume else {"image": case.name}
    if case.fold is not None:
        columns = {"fold": case.fold, **columns}
    if case.slice is not None:
        columns |= {"volume": case.volume, "slice": case.slice}
    for name, region in regions.items():
        row = score_region(case.confusion, region)
        columns |= {f"{key}_{name}": "" if value is None else value for key, value in row.items()}
        if is_volume:
            error = row["predicted"] - row["true"]
            columns[f"volume_error_{name}"] = error / row["true"] if row["true"] else ""
            if case.voxel_ml is not None:
                columns[f"true_ml_{name}"] = row["true"] * case.voxel_ml
                columns[f"volume_error_ml_{name}"] = error * case.voxel_ml
        if case.surface is not None:
            scores = case.surface.get(name) or {}
            names = dict.fromkeys([*SURFACE_SCORES, *scores])
            columns |= {f"{score}_{name}": scores.get(score, "") for score in names}
        for score, (top, bottom) in case.image_scores.get(name, {}).items():
            columns[f"{score}_{name}"] = top / bottom if bottom else ""
    return columns
